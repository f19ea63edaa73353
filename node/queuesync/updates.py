"""Status updates, for a person who watches the program's output."""

from __future__ import annotations

import sys


class Updates:
    """Displayed, or not."""

    def __init__(self, are_displayed: bool) -> None:
        self._are_displayed = are_displayed

    def say(self, text: str) -> None:
        """Display one line, whole: several threads speak."""
        if self._are_displayed:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
