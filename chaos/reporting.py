"""Where a command leaves its report, and that it can be left there, before anything runs."""

from __future__ import annotations

from pathlib import Path

import click

from chaos.report import Record, page

FILE = click.Path(dir_okay=False, path_type=Path)


def place_for(report: Path | None, *, usual: str) -> Path:
    """*report* if one was named, else *usual* in the working directory; it can be written.

    Raises:
        UsageError: it cannot; says how to name another place.
    """
    file = report or Path(usual)
    is_new = not file.exists()
    try:
        with file.open("a", encoding="utf-8"):
            pass
        if is_new:
            file.unlink()
    except OSError as error:
        raise click.UsageError(
            f"{file} cannot be written ({error.strerror}): say where the report goes with --report"
        ) from None
    return file


def write(record: Record, file: Path) -> None:
    """Leave the page there."""
    file.write_text(page(record), encoding="utf-8")
