"""A run that is asked to end undoes first what it did."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.healing import run_to_the_end
from tests.conftest import CommandLine

STARTED = "steady state"  # What the experiment says once its cluster serves.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_experiment_that_is_asked_to_end_leaves_nothing(
    command_line: CommandLine, tmp_path: Path, number: signal.Signals
) -> None:
    state = tmp_path / "state"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    variables = {"QUORATE_CHAOS_STATE": str(state), "TMPDIR": str(scratch)}
    with subprocess.Popen(
        command_line.command("chaos", "run", "one-way-cut"),
        env=command_line.environment | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = ""
        while STARTED not in told:
            line = process.stdout.readline()
            assert line, told
            told += line
        assert list(state.iterdir())

        process.send_signal(number)
        told += process.communicate(timeout=60)[0]

    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert not list(state.iterdir())
    assert not list(scratch.iterdir())


def test_what_is_not_waited_for_is_healed_at_the_exit(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from chaos.journal import Journal\n"
        "journal = Journal.begin('local', at_exit=lambda left: print(*left.faults), data='')\n"
        "journal.note('frozen node1')\n"
        "sys.exit(3)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"QUORATE_CHAOS_STATE": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (3, "frozen node1\n"), done.stderr


def test_a_result_is_passed_on_and_an_error_as_well() -> None:
    async def seven() -> int:
        return 7

    async def wrong() -> None:
        await asyncio.sleep(0)
        raise ValueError("wrong")

    assert run_to_the_end(seven()) == 7
    with pytest.raises(ValueError, match="wrong"):
        run_to_the_end(wrong())
