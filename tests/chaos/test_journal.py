"""What a killed run leaves: its journal says it, and healing undoes that and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.journal import STATE_VARIABLE, Journal, Left, all_journals, read
from chaos.processes import Identity, identity_of, is_stopped
from chaos.targets import local
from chaos.targets.local import SCRATCH
from tests.conftest import CommandLine


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tests' own state directory."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing, and ends with the test."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def begin(**about: object) -> Journal:
    return Journal.begin("local", at_exit=lambda _left: None, **about)


def left_of(journal: Journal) -> Left:
    left = read(journal.path)
    assert left is not None
    return left


def test_what_is_undone_is_not_left() -> None:
    journal = begin(data="/nowhere")
    journal.note("frozen node1")
    journal.note("killed node2", pid=7)

    journal.forget("frozen node1")

    left = left_of(journal)
    assert set(left.faults) == {"killed node2"}
    assert left.faults["killed node2"]["pid"] == 7
    assert left.runner == identity_of(os.getpid())


def test_a_line_that_was_being_written_when_the_run_was_killed_is_passed_over() -> None:
    journal = begin(data="/nowhere")
    journal.note("frozen node1")
    with journal.path.open("a") as file:
        file.write('{"fault": "froz')

    assert set(left_of(journal).faults) == {"frozen node1"}


def test_a_run_that_ended_in_good_order_leaves_nothing() -> None:
    journal = begin(data="/nowhere")

    journal.end()

    assert not list(all_journals())


def test_a_frozen_process_of_a_killed_run_is_ended(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    sleeper.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
    assert is_stopped(sleeper.pid)
    journal = begin(data=str(tmp_path))
    journal.note("process node1", **identity_of(sleeper.pid)._asdict())

    told = local.heal(left_of(journal))

    assert sleeper.wait(timeout=10) == -signal.SIGTERM
    assert told == [f"node1 was ended (process {sleeper.pid})"]
    assert not journal.path.exists()


def test_a_process_that_was_given_the_same_number_later_is_not_touched(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    ours = identity_of(sleeper.pid)
    journal = begin(data=str(tmp_path))
    journal.note("process node1", pid=ours.pid, started=ours.started - 1)

    assert local.heal(left_of(journal)) == []

    assert sleeper.poll() is None
    assert not Identity(ours.pid, ours.started - 1).signal(signal.SIGTERM)


def test_a_killed_runs_temporary_data_goes_and_other_data_stays(tmp_path: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=SCRATCH))
    for data in (temporary, tmp_path):
        (data / "node1").mkdir()
        local.heal(left_of(begin(data=str(data))))

    assert not temporary.exists()
    assert (tmp_path / "node1").is_dir()


def test_heal_says_what_it_did_for_a_run_that_is_no_more(
    command_line: CommandLine, sleeper: subprocess.Popen[bytes], state: Path
) -> None:
    state.mkdir()
    ours = identity_of(sleeper.pid)
    lines = [
        {"target": "local", "runner": [os.getpid(), 1], "data": "/nowhere"},
        {"fault": "process node1", "pid": ours.pid, "started": ours.started},
    ]
    (state / "1-1-0.journal").write_text("".join(json.dumps(line) + "\n" for line in lines))

    done = command_line.run("chaos", "heal", QUORATE_CHAOS_STATE=str(state))

    assert done.returncode == 0, done.stderr
    assert f"node1 was ended (process {ours.pid})" in done.stdout
    assert sleeper.wait(timeout=10) == -signal.SIGTERM


def test_heal_leaves_a_run_alone_that_goes_on(
    command_line: CommandLine, sleeper: subprocess.Popen[bytes], state: Path
) -> None:
    journal = begin(data="/nowhere")
    journal.note("process node1", **identity_of(sleeper.pid)._asdict())

    done = command_line.run("chaos", "heal", QUORATE_CHAOS_STATE=str(state))

    assert f"process {os.getpid()} still runs its target" in done.stdout
    assert sleeper.poll() is None
    assert journal.path.exists()
