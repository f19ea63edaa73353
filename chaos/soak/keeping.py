"""Keeping what a soak left, when it did not hold: all that its verdicts were read from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chaos.history import write_rows
from chaos.soak.running import Soaked


def keep(soaked: Soaked, folder: Path) -> None:
    """Write history, events, views, faults, schedule, story, verdicts and logs to *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    evidence = soaked.evidence
    with (folder / "history.jsonl").open("w", encoding="utf-8") as file:
        write_rows(evidence.rows, file)
    lists: dict[str, Iterable[Any]] = {
        "events": evidence.events,
        "sights": evidence.sights,
        "faults": evidence.faults,
        "schedule": soaked.schedule,
        "story": soaked.story,
    }
    for name, members in lists.items():
        _write_lines(folder / f"{name}.jsonl", members)
    (folder / "summary.json").write_text(json.dumps(soaked.summary(), indent=2) + "\n")
    verdicts = {name: [verdict.why, *map(repr, verdict.witness)] for name, verdict in
                soaked.verdicts.items()}  # fmt: skip
    (folder / "witnesses.json").write_text(json.dumps(verdicts, indent=2) + "\n")
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    for name, text in soaked.logs.items():
        (logs / f"{name}.log").write_text(text, encoding="utf-8", errors="replace")


def _write_lines(file: Path, members: Iterable[Any]) -> None:
    with file.open("w", encoding="utf-8") as opened:
        for member in members:
            opened.write(json.dumps(member._asdict(), default=str) + "\n")
