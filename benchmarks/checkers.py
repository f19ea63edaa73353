"""Measure the checkers: seconds that each takes for a history of a million operations.

    python benchmarks/checkers.py --json

The history is staged, not run: tasks that are submitted, read, completed and read again, by twenty
clients at once. JSON is all that stdout gets; exit status 0 if together they take at most 30 s.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from chaos.checkers import CHECKERS, Evidence
from chaos.checkers.evidence import Fault
from chaos.history import Row, Type
from cluster.core.model import Event

BAR_SECONDS = 30.0
PER_TASK = 4  # Operations.
CLIENTS = 20


def staged(operations: int) -> Evidence:
    """A history of so many operations, and the events that go with them."""
    rows: list[Row] = []
    events: list[Event] = []
    final: dict[str, str | None] = {}
    for number in range(operations // PER_TASK):
        id_, token, index = f"{number:032x}", number + 1, 3 * number
        client, at = f"client{number % CLIENTS}", number * 0.001
        asked = {"id": id_, "type": "noop", "queue": "default", "priority": 4}
        settled = {"id": id_, "lease_token": token, "result": "r"}
        told = {"id": id_, "status": "pending", "duplicate": False}
        ended = {"id": id_, "status": "completed", "duplicate": False, "result": "r"}
        for f, args, value, step in (
            ("submit", asked, told, 1),
            ("task", {"id": id_}, {"status": "processing", "result": None}, 2),
            ("complete", settled, ended, 3),
            ("task", {"id": id_}, ended, 3),
        ):
            begun = at + len(rows) % PER_TASK * 0.01
            process, done = f"{client}-{number}", begun + 0.02
            rows.append(Row(process, f, args, "", begun, done, Type.OK, value, "n1", index + step))
        for offset, (kind, status) in enumerate(
            (("submitted", "pending"), ("leased", "processing"), ("completed", "completed")), 1
        ):
            lease = token if kind != "submitted" else None
            events.append(
                Event(index + offset, 0, 1, number, kind, id_, "default", status, "w", lease)
            )
        final[id_] = "completed"
    fault = Fault("kill", "n1", 0.0, float("inf"), {"processes_ended": 1})
    return Evidence(rows=rows, events=events, final=final, faults=[fault])


def main() -> int:
    """Measure, print, and say whether the bar was met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line, for programs")
    parser.add_argument("--operations", type=int, default=1_000_000)
    options = parser.parse_args()
    evidence = staged(options.operations)
    results = {}
    for checker in CHECKERS:
        started = time.process_time()
        verdict = checker.check(evidence)
        seconds = time.process_time() - started
        results[checker.name] = {"seconds": round(seconds, 2), "status": verdict.status.word}
    total = sum(result["seconds"] for result in results.values())
    answer = {"operations": options.operations, "seconds": round(total, 2), "bar": BAR_SECONDS}
    answer |= {"met": total <= BAR_SECONDS, "checkers": results}
    print(json.dumps(answer, indent=None if options.json else 2))
    return 0 if total <= BAR_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
