"""`quorate queues`, `dlq`, `task`, `submit --batch` and their like, against a real node."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.frames import FRAME_BYTES_MAX
from gateway.ids import new_id
from node.commands.batches import BATCH_BYTES_MAX, batches
from tests.conftest import CommandLine


class Quorate:
    """The command line, on a cluster and a queue that are given."""

    def __init__(self, command_line: CommandLine, url: str) -> None:
        self._command_line = command_line
        self._url = url

    def run(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is."""
        return subprocess.run(
            self._command_line.command(*arguments),
            env=self._command_line.environment | {"QUORATE_URL": self._url},
            input=given or "",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def told(self, *arguments: str, given: str | None = None) -> list[Any]:
        """What a command that succeeds prints with --json."""
        done = self.run(*arguments, "--json", given=given)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def quorate(command_line: CommandLine, small_cluster: list[str]) -> Quorate:
    """The command line of a cluster with one node and one worker."""
    return Quorate(command_line, small_cluster[0])


@pytest.fixture
def queue() -> str:
    """A queue that nobody serves."""
    return f"queue-{new_id()}"


def lines(*tasks: Mapping[str, object]) -> str:
    return "".join(json.dumps(task) + "\n" for task in tasks)


def test_a_file_s_tasks_are_submitted_in_order(quorate: Quorate, queue: str) -> None:
    ids = [new_id() for _ in range(3)]
    file = lines(*({"id": id_, "type": "a", "data": None, "queue": queue} for id_ in ids))

    done = quorate.run("submit", "--batch", "-", given=file)
    (told,) = quorate.told("queues", given=None) or [None]

    assert done.stdout.split() == ids
    assert (told["name"], told["depth"]["pending"]) == (queue, 3)
    assert quorate.told("queues", "purge", queue, "--yes")[0]["done"] == 3


def test_a_wrong_line_is_named_and_nothing_of_its_batch_is_taken(
    quorate: Quorate, queue: str
) -> None:
    good = {"type": "a", "data": 1, "queue": queue}

    done = quorate.run("submit", "--batch", "-", given="\n" + lines(good, good | {"priority": 99}))

    assert done.returncode == 1
    assert "line 3: priority must be one of low, normal" in done.stderr
    assert "0 tasks before it were taken" in done.stderr
    assert quorate.told("tasks", "--queue", queue) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 1002: not JSON: "),
        ('{"type": "a", "data": NaN}', "line 1002: "),
        ('{"$bytes": ""}', 'line 1002 is no object, but {"$bytes": ""}'),
        (json.dumps({"type": "a", "data": "x" * BATCH_BYTES_MAX}), "line 1002: "),
        (json.dumps({"type": "a", "data": "x" * FRAME_BYTES_MAX}), "line 1002: "),
    ],
)
def test_a_line_that_is_no_task_tells_how_many_before_it_were_taken(
    quorate: Quorate, queue: str, line: str, told: str
) -> None:
    good = {"type": "a", "data": 1, "queue": queue}

    done = quorate.run("submit", "--batch", "-", given=lines(*[good] * 1_001) + line + "\n")

    assert done.returncode == 1
    assert told in done.stderr
    taken = len(done.stdout.split())
    assert f"({taken} tasks before it were taken)" in done.stderr
    assert quorate.told("queues", "purge", queue, "--yes")[0]["done"] == taken >= 1_000


def test_a_paused_queue_is_shown_as_such_until_it_is_resumed(quorate: Quorate, queue: str) -> None:
    assert quorate.told("queues", "pause", queue)[0]["paused"] is True

    shown = quorate.run("queues").stdout.splitlines()

    assert shown[0].split()[:4] == ["name", "paused", "pending", "scheduled"]
    assert any(line.startswith(f"{queue}  true") for line in shown)
    assert quorate.told("queues", "resume", queue)[0]["paused"] is False


def test_a_purge_asks_first(quorate: Quorate, queue: str) -> None:
    quorate.told("submit", "a", "1", "--queue", queue)

    done = quorate.run("queues", "purge", queue)

    assert done.returncode == 130
    assert "Remove all tasks that wait in" in done.stderr
    assert len(quorate.told("tasks", "--queue", queue)) == 1
    assert quorate.run("queues", "purge", queue, given="y\n").stdout == "1 task removed\n"


def test_dead_letters_are_listed_put_back_and_removed(quorate: Quorate) -> None:
    submit = ("submit", "fail", '"broken"', "--max-attempts", "1", "--wait")
    for _ in range(2):
        assert quorate.run(*submit).returncode == 1
    first, second = (task["id"] for task in quorate.told("dlq"))

    table = quorate.run("dlq", "--limit", "1")
    assert table.stdout.split("\n")[0].split() == [
        *("id", "type", "queue", "attempts", "finished", "at", "error")
    ]
    assert table.stderr == "quorate: 1 of 2 shown; --limit shows more\n"

    assert quorate.run("dlq", "delete", first).stdout == f"{first}  removed\n"
    assert quorate.told("queues", "pause", "default")
    (operation,) = quorate.told("dlq", "retry", "--all", "--type", "fail")
    assert (operation["done"], operation["finished"]) == (1, True)
    assert quorate.told("task", second)[0]["status"] == "pending"
    assert quorate.run("cancel", second).stdout == f"{second}  cancelled\n"
    assert quorate.told("retry", second)[0]["status"] == "pending"
    assert quorate.told("queues", "resume", "default")


def test_one_that_is_refused_does_not_keep_the_others(quorate: Quorate, queue: str) -> None:
    (task,) = quorate.told("submit", "a", "1", "--queue", queue)

    done = quorate.run("cancel", "nobody", task["id"])

    assert done.returncode == 1
    assert done.stdout == f"{task['id']}  cancelled\n"
    assert "'nobody' is no id" in done.stderr


def test_a_timeline_is_a_line_a_transition(quorate: Quorate) -> None:
    (task,) = quorate.told("submit", "echo", "1", "--wait")

    shown = quorate.run("task", task["id"], "--events").stdout.splitlines()

    assert shown[0].split() == [
        *("time", "kind", "status", "worker", "id", "lease", "token", "attempt", "error")
    ]
    assert [line.split()[1] for line in shown[1:]] == ["submitted", "leased", "completed"]
    assert (
        quorate.told("tasks", "--worker", task["worker_id"], "--limit", "1")[0]["id"] == task["id"]
    )


def test_a_drained_worker_is_no_active_one(quorate: Quorate) -> None:
    (worker,) = quorate.told("workers", "--active")

    assert quorate.told("workers", "drain", worker["id"])[0]["current_tasks"] == []
    assert quorate.told("workers", "--active") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", "a", "--batch", "-"),
        ("submit", "--batch", "-", "--queue", "q"),
        ("dlq", "retry"),
        ("dlq", "retry", "x", "--all"),
        ("dlq", "retry", "x", "--queue", "q"),
        ("queues", "purge"),
        ("cancel",),
    ],
)
def test_misuse_is_2(command_line: CommandLine, arguments: tuple[str, ...]) -> None:
    assert command_line.run(*arguments).returncode == 2


def test_batches_are_as_large_as_one_call_may_be() -> None:
    small = b'{"type": "a", "data": 1}\n'
    large = b'{"type": "a", "data": "' + b"x" * (BATCH_BYTES_MAX // 2) + b'"}\n'

    counts = [len(batch.tasks) for batch in batches([*[small] * 2_001, *[large] * 3])]

    assert counts == [1_000, 1_000, 2, 1, 1]


def test_every_task_of_a_file_can_be_repeated() -> None:
    (batch,) = batches([b'{"type": "a", "data": 1}\n', b"\n", b'{"type": "b", "data": 1}'])

    assert len({task["id"] for task in batch.tasks}) == 2
    assert batch.lines == [1, 3]
