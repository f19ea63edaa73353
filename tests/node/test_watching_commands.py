"""`quorate events`, `monitor`, `keys`, on real processes and on plain objects."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from node.commands.watching import command_line as line_of
from node.commands.watching import event_line
from tests.conftest import CommandLine

EVENT = {
    "position": "1-5b2e9c-1f4-3",
    "index": 500,
    "term": 2,
    "time": 81_250,
    "kind": "failed",
    "task_id": "t",
    "queue": "images",
    "status": "failed",
    "worker_id": "w",
    "lease_token": 41,
    "attempt": 1,
    "error": "no\nroom",
    "node": None,
}
ENTRY = {"index": 500, "term": 2, "time": 81_250, "wall_time": "2026-11-22T09:20:01.123Z"}


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """What a command prints, as it prints it."""
    assert process.stdout is not None
    yield from process.stdout


def interrupted(process: subprocess.Popen[str]) -> int:
    """The exit status after Ctrl-C."""
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    return process.returncode


def test_events_are_followed_until_ctrl_c(
    command_line: CommandLine, small_cluster: list[str]
) -> None:
    url = ("--url", small_cluster[0])
    with command_line.running("events", "--from-start", "--json", *url) as process:
        told = map(json.loads, lines(process))
        next(told)  # A worker came, before: it follows by now.
        task_id = command_line.run("submit", "echo", "1", *url).stdout.strip()
        of_task = (event for event in told if event["task_id"] == task_id)
        kinds = [next(of_task)["kind"] for _ in range(3)]
        line = first_line_of(command_line, url, task_id)

        assert kinds == ["submitted", "leased", "completed"]
        assert interrupted(process) == 0
    assert f"submitted         task_id={task_id} queue=default" in line


def first_line_of(command_line: CommandLine, url: tuple[str, str], task_id: str) -> str:
    """What a person is told first of a task."""
    with command_line.running("events", "--from-start", "--task", task_id, *url) as process:
        return next(lines(process))


def test_the_log_is_followed_command_by_command_until_ctrl_c(
    command_line: CommandLine, small_cluster: list[str]
) -> None:
    url = ("--url", small_cluster[0])
    with command_line.running("monitor", "--from-start", *url) as process:
        told = lines(process)
        next(told)  # It follows by now.
        task_id = command_line.run("submit", "echo", '"a secret"', *url).stdout.strip()
        of_task = (line for line in told if task_id in line)
        submitted, completed = next(of_task), next(of_task)

        assert f'submit id={task_id} payload="9 bytes" type=echo queue=default' in submitted
        assert f"complete task_id={task_id}" in completed
        assert "secret" not in submitted + completed
        assert interrupted(process) == 0


def test_machines_are_given_the_commands_whole(
    command_line: CommandLine, small_cluster: list[str]
) -> None:
    url = ("--url", small_cluster[0])
    with command_line.running("monitor", "--from-start", "--json", *url) as process:
        command = json.loads(next(lines(process)))

    assert {"index", "term", "time", "wall_time", "op"} <= command.keys()


def test_a_wrong_filter_is_one_sentence_and_2(
    command_line: CommandLine, small_cluster: list[str]
) -> None:
    done = command_line.run("events", "--kind", "explosion", "--url", small_cluster[0])

    assert done.returncode == 2
    assert done.stderr.startswith("quorate: kind: 'explosion' is no kind of event; these are: ")


@pytest.mark.parametrize(
    "arguments", [("events", "--after", "1-2-3-4"), ("monitor", "--from", "3")]
)
def test_two_places_to_begin_at_are_misuse(
    command_line: CommandLine, arguments: tuple[str, ...]
) -> None:
    done = command_line.run(*arguments, "--from-start", "--url", "http://127.0.0.1:1")

    assert done.returncode == 2
    assert "two places to begin at" in done.stderr


@pytest.mark.parametrize("command", ["events", "monitor", "keys"])
def test_no_cluster_is_one_sentence_and_1(
    command_line: CommandLine, free_port: int, command: str
) -> None:
    url = f"http://127.0.0.1:{free_port}"
    done = command_line.run(command, "--url", url, "--patience", "0.2")

    assert done.returncode == 1
    assert url in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_keys_tells_how_many_there_are_of_what(
    command_line: CommandLine, small_cluster: list[str]
) -> None:
    url = ("--url", small_cluster[0])
    task_id = command_line.run("submit", "nobody", "--queue", "elsewhere", *url).stdout.strip()

    table = command_line.run("keys", *url).stdout
    rows = command_line.run("keys", "tasks:p*", "--json", *url).stdout.splitlines()

    assert [line.split()[0] for line in table.splitlines()][-3:] == [
        *("queues", "workers:active", "nodes"),
    ]
    assert json.loads(rows[0]) == {"key": "tasks:pending", "count": 1, "some": [task_id]}


def test_keys_tells_people_that_there_are_more_and_machines_names_alone(
    command_line: CommandLine, small_cluster: list[str]
) -> None:
    url = ("--url", small_cluster[0])
    for _ in range(4):
        command_line.run("submit", "nobody", "--queue", "elsewhere", *url)

    (_header, line) = command_line.run("keys", "tasks:pending", *url).stdout.splitlines()
    row = json.loads(command_line.run("keys", "tasks:pending", "--json", *url).stdout)

    assert line.endswith(", …")
    assert len(row["some"]) == 3
    assert "…" not in row["some"]


def test_an_event_is_one_line_whatever_its_error() -> None:
    assert event_line(EVENT) == (
        "    81.250  failed            task_id=t queue=images worker_id=w attempt=1 "
        'lease_token=41 error="no\\nroom"'
    )


def test_a_submission_of_many_is_one_line() -> None:
    tasks = [{"id": str(n), "type": f"t{n % 2}", "queue": "q"} for n in range(3)]
    command = {"op": "submit", "origin": "node1/0190", "tasks": tasks}

    assert line_of(ENTRY, command) == (
        "2026-11-22T09:20:01.123Z [500 node1] submit tasks=3 type=t0,t1 queue=q"
    )


def test_what_the_cluster_does_itself_has_no_time_and_no_node() -> None:
    entry = ENTRY | {"wall_time": None}

    assert line_of(entry, {"op": "no_op"}) == f"{'':24} [500] no_op"
