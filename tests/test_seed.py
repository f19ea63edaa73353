"""What the first task queue's README promised its readers, on the ports of `quorate up`."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STRESS = Path(__file__).with_name("stress_test.py")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
SECONDS_MAX = 60

Curl = Callable[[str], Any]

# As they stand there, but for the port.
SUBMIT = """curl -X POST http://localhost:5000/tasks \\
  -H "Content-Type: application/json" \\
  -d '{"type": "process", "data": "Hello World"}'"""


@pytest.fixture
def curl(small_cluster: list[str]) -> Curl:
    """Run one of its commands as a reader would paste it, against a cluster of ours."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    port = small_cluster[0].rpartition(":")[2]

    def run(command: str) -> Any:
        quiet = command.replace("curl ", "curl --silent --show-error ", 1)
        done = subprocess.run(
            ["sh", "-c", quiet.replace(":5000/", f":{port}/")],
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=True,
        )
        return json.loads(done.stdout)

    return run


def submitted(curl: Curl, kind: str, data: object, **fields: object) -> str:
    """Submit and return the id, by the member that the first clients read."""
    body = json.dumps({"type": kind, "data": data, **fields})
    answer = curl(
        "curl -X POST http://localhost:5000/tasks -H 'Content-Type: application/json'"
        f" -d {shlex.quote(body)}"
    )
    assert answer["success"] is True
    return str(answer["task_id"])


def ended(curl: Curl, task_id: str) -> dict[str, Any]:
    task: dict[str, Any] = curl(f"curl http://localhost:5000/tasks/{task_id}?wait=60")
    assert task["status"] == "completed", task
    return task


def test_the_readmes_commands_work_as_written(curl: Curl) -> None:
    answer = curl(SUBMIT)
    assert answer["success"] is True
    task_id = answer["task_id"]

    health = curl("curl http://localhost:5000/health")
    tasks = curl("curl http://localhost:5000/tasks")
    task = curl(f"curl http://localhost:5000/tasks/{task_id}")
    workers = curl("curl http://localhost:5000/workers")

    assert health["status"] == "healthy"
    assert {"gateway", "workers", "pending_tasks", "completed_tasks", "timestamp"} <= health.keys()
    assert tasks["count"] == len(tasks["tasks"]) >= 1
    assert task_id in {each["id"] for each in tasks["tasks"]}
    assert (task["type"], task["data"]) == ("process", "Hello World")
    assert workers["count"] == len(workers["workers"]) == 1
    assert workers["workers"][0]["status"] == "active"


def test_process_answers_with_the_members_that_it_always_had(curl: Curl) -> None:
    result = ended(curl, submitted(curl, "process", "Hello World"))["result"]

    assert TIMESTAMP.fullmatch(result.pop("timestamp"))
    assert result == {"processed": "Hello World", "length": 11, "uppercase": "HELLO WORLD"}


@pytest.mark.parametrize(("number", "twice"), [(21, 42), (0, 0), (-1.5, -3.0)])
def test_calculate_doubles_its_number(curl: Curl, number: float, twice: float) -> None:
    result = ended(curl, submitted(curl, "calculate", number))["result"]

    assert TIMESTAMP.fullmatch(result.pop("timestamp"))
    assert result == {"input": number, "result": twice}


def test_high_goes_before_normal(curl: Curl) -> None:
    curl("curl -X POST http://localhost:5000/queues/default/pause")
    normal = [submitted(curl, "noop", n) for n in range(5)]
    high = [submitted(curl, "noop", n, priority="high") for n in range(5)]
    curl("curl -X POST http://localhost:5000/queues/default/resume")

    for task_id in (*normal, *high):
        ended(curl, task_id)
    # Tokens are given in the order in which tasks are handed out.
    tokens = {
        task_id: curl(f"curl http://localhost:5000/tasks/{task_id}")["lease_token"]
        for task_id in (*normal, *high)
    }
    assert sorted(tokens, key=lambda task_id: tokens[task_id]) == high + normal


def test_the_stress_test_submits_a_thousand_tasks_by_twenty_threads(
    small_cluster: list[str],
) -> None:
    done = subprocess.run(
        [sys.executable, str(STRESS), "--url", small_cluster[0]],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Submitted          1000 tasks" in done.stdout
    assert "Ended              1000 completed" in done.stdout
    assert re.search(r"Submit throughput  \d+ tasks/s", done.stdout)
    assert re.search(r"Total throughput   \d+ completed tasks/s", done.stdout)
    assert "Errors             0" in done.stdout
