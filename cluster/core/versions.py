"""The version of the machine's rules: which commands the log may hold, and what they do.

It is state, so that every node goes over to new rules at the same entry. The leader raises it once
every member's program supports it (`caretaking.py`); whatever a later version adds, an op, a field
or another outcome, is proposed, and done, only once the state has that version.

Version 2: what a run reported of its progress is kept for the next one (`leasing.grant`).
"""

from __future__ import annotations

from cluster.core.commands import Noted, RaiseVersion
from cluster.core.state import State

NEWEST_VERSION = 2  # What this program supports.


def raise_version(state: State, command: RaiseVersion) -> Noted:
    """Go over to the rules of a later version; never back."""
    if command.version <= state.machine_version:
        return Noted(is_news=False)
    state.machine_version = command.version
    return Noted(is_news=True)
