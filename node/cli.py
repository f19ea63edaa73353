"""Where `quorate` begins: it makes sure that our packages are ours, then hands over.

Imports nothing of ours at its top but what has no imports itself: `cluster` and `gateway` are also
other people's names, and one of theirs on the path would break us with a riddle for a message.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

from node.lifeline import hold_on_to_parent

SIBLINGS = ("cluster", "gateway")
INTERRUPTED = 130  # 128 + SIGINT, as shells have it.


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        hold_on_to_parent()
        _put_working_directory_last()
        _refuse_foreign_siblings()
        sys.exit(importlib.import_module("node.commands").run())
    except KeyboardInterrupt:  # Even while it still loads what it needs.
        sys.exit(INTERRUPTED)


def _put_working_directory_last() -> None:
    # A worker's modules are found there, but never before ours or an installed one.
    here = str(Path.cwd())
    sys.path[:] = [*(entry for entry in sys.path if entry not in {"", here}), here]


def _refuse_foreign_siblings() -> None:
    home = Path(__file__).resolve().parent.parent
    for name in SIBLINGS:
        spec = importlib.util.find_spec(name)
        origin = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        if origin is None or origin.parent.parent != home:
            found = "is not there" if origin is None else f"is another's, {origin}"
            sys.stderr.write(
                f"quorate: the package {name!r} {found}; it should stand beside {home / 'node'}:"
                " install quorate into an environment of its own\n"
            )
            sys.exit(1)
