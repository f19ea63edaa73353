"""Every error that Quorate raises, in one tree.

QuorateError
├── NotCommitted            it did not and will not happen; safe to repeat
│   ├── NoQuorum            no leader could be reached in time
│   └── Overloaded          a bounded queue is full
├── ChangeRefused           members or leadership cannot be changed so, now; says why
│   └── MemberUnknown       there is no member of that id
├── OutcomeUnknown          it may have happened; repeat it only with the same id
├── NotCaughtUp             this node has not applied the asked-for index in time
├── EntriesGone             entries of the log that were asked for are no longer kept
├── EventsLost              events that a reader has not seen are no longer kept; says from where
├── StorageError            the data directory cannot be used
│   ├── StorageDamaged      a file's content is wrong: which, where, and how to mend it
│   └── StorageMismatch     the directory belongs to another node, cluster or version
├── WireError               a peer sent what the protocol does not allow
├── BrokenPromise           what must never be was seen: the node stops rather than go on
├── UnsupportedVersion      a log, snapshot or peer is newer than this program
└── ConfigurationError      an option is wrong; says which and how to mend it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.core.model import Position


class QuorateError(Exception):
    """The root: catch it to catch everything that Quorate raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Copied, and carried between processes, as it is: what `__init__` asks for is not kept.
        return Exception.__new__, (type(self), *self.args), self.__dict__


class NotCommitted(QuorateError):
    """The command did not and will not happen. It is safe to repeat it."""


class NoQuorum(NotCommitted):
    """No leader with a majority behind it could be reached before the time was up."""


class Overloaded(NotCommitted):
    """A bounded queue is full. It is safe to repeat, later."""


class ChangeRefused(QuorateError):
    """Members or leadership cannot be changed so, now. The message says why."""


class MemberUnknown(ChangeRefused):
    """There is no member of that id."""


class OutcomeUnknown(QuorateError):
    """The command may have happened. Repeat it only with the same id (Raft dissertation, §6.3)."""


class NotCaughtUp(QuorateError):
    """This node did not reach the index that the reader asked for in time."""


class EntriesGone(QuorateError):
    """Entries of the log that are asked for are no longer kept: a snapshot stands for them."""

    def __init__(self, message: str, first: int) -> None:
        super().__init__(message)
        self.first = first  # The log begins here.


class EventsLost(QuorateError):
    """Events that the reader has not seen are no longer kept: it must look at the state instead."""

    def __init__(self, message: str, oldest: Position) -> None:
        super().__init__(message)
        self.oldest = oldest  # Readers that stopped here or later miss nothing.


class StorageError(QuorateError):
    """The data directory cannot be used."""


class StorageDamaged(StorageError):
    """A file holds what was never written there. Says which file and where."""


class StorageMismatch(StorageError):
    """The data directory belongs to another node, another cluster or another version."""


class WireError(QuorateError):
    """A peer sent what the protocol does not allow; its connection is dropped."""


class BrokenPromise(QuorateError):
    """What must never be was seen. The node stops rather than go on from it."""


class UnsupportedVersion(QuorateError):
    """A log, a snapshot or a peer speaks a version that this program does not know."""


class ConfigurationError(QuorateError, ValueError):
    """An option is wrong or missing. The message says which one and how to mend it."""
