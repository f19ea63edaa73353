"""What can be asked of queues and dead letters: commands like those of `commands.py`.

What may touch more tasks than one entry of the log has time for is an operation: it has an id made
at the edge, is answered at once, and is advanced by this entry and the next ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from cluster.core.commands import Command, Refused
from cluster.core.model import DEFAULT_NAMESPACE


class Steered(NamedTuple):
    """The queue is as it was asked to be, by this command or already before it."""

    queue: str
    is_paused: bool
    is_duplicate: bool


@dataclass(frozen=True, slots=True)
class PauseQueue(Command[Steered | Refused]):
    """Let a queue's tasks wait, whoever has room for them. What runs goes on.

    The queue need not have tasks yet.
    """

    op: ClassVar[str] = "pause_queue"
    queue: str
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class ResumeQueue(Command[Steered | Refused]):
    """Let a paused queue's tasks be leased again."""

    op: ClassVar[str] = "resume_queue"
    queue: str
    namespace: str = DEFAULT_NAMESPACE


class Started(NamedTuple):
    """The operation stands, begun by this command or already before it; `GetOperation` says how
    far it is."""

    operation_id: str
    is_duplicate: bool


@dataclass(frozen=True, slots=True)
class PurgeQueue(Command[Started | Refused]):
    """Remove the tasks that wait in a queue: scheduled, blocked, pending and retrying ones.

    Tasks submitted later are not meant, and what runs when the purge comes to it stays.
    """

    op: ClassVar[str] = "purge_queue"
    operation_id: str
    queue: str
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class RetryDead(Command[Started | Refused]):
    """Put dead letters back as `Retry` does: all of them, or those of a type, a queue, or both.

    Tasks that fail for good later are not meant.
    """

    op: ClassVar[str] = "retry_dead"
    operation_id: str
    queue: str | None = None
    type: str | None = None
    namespace: str = DEFAULT_NAMESPACE


class Removed(NamedTuple):
    """The task is gone."""

    task_id: str


@dataclass(frozen=True, slots=True)
class RemoveDead(Command[Removed | Refused]):
    """Remove one dead letter for good."""

    op: ClassVar[str] = "remove_dead"
    task_id: str
    namespace: str = DEFAULT_NAMESPACE
