"""The blocking client: `Client` for programs that have no event loop.

Every call is the async client's own, run on the loop of a thread that all callers share: calls made
by many threads at one time travel together.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from functools import wraps
from types import TracebackType
from typing import (
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    Unpack,
    overload,
)

from gateway.caller import PATIENCE_SECONDS
from gateway.client import Client
from gateway.handles import Handle
from gateway.portal import Portal
from gateway.submissions import Submission, SubmitOptions, Submittable

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class _Twin(Protocol):
    """What blocks for an async object of the same methods."""

    @property
    def _original(self) -> Any: ...

    @property
    def _portal(self) -> Portal: ...


def _blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[_Twin, P], T]:
    """The method that runs the original's, and waits for it."""

    @wraps(method)
    def call(twin: _Twin, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return twin._portal.run(method(twin._original, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[Any, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[_Twin, P], Iterator[T]]:
    """The method that iterates over the original's, item by item."""

    @wraps(method)
    def call(twin: _Twin, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return twin._portal.iterate(method(twin._original, *args, **kwargs))

    return call


class BlockingHandle(Generic[R]):
    """`Handle`, whose methods wait."""

    __slots__ = ("_client", "_original")

    def __init__(self, original: Handle[R], client: BlockingClient) -> None:
        self._original = original
        self._client = client  # It lives as long as what it made is in use.

    def __repr__(self) -> str:
        return repr(self._original)

    @property
    def _portal(self) -> Portal:
        return self._client._portal

    @property
    def id(self) -> str:
        """The task's id."""
        return self._original.id

    @property
    def is_duplicate(self) -> bool:
        """Whether its id or key had been seen: nothing new was made."""
        return self._original.is_duplicate

    def result(self, *, timeout: float | None = None) -> R:
        """Wait for its end and return the result, as `Handle.result` does."""
        return self._portal.run(self._original.result(timeout=timeout))

    ended = _blocking(Handle.ended)
    task = _blocking(Handle.task)
    status = _blocking(Handle.status)
    cancel = _blocking(Handle.cancel)
    retry = _blocking(Handle.retry)


class BlockingClient:
    """`Client`, whose methods wait. Threads may share one; a forked process needs its own.

    In an async program it would hold up the loop: use `Client` there.
    """

    def __init__(
        self,
        urls: str | Iterable[str],
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        traceparent: Callable[[], str | None] | None = None,
    ) -> None:
        """Make a client of the cluster that has nodes at *urls*, as `Client` does.

        *traceparent* is asked in the context of the thread that submits, though on another one.
        """
        self._original = Client(urls, patience_seconds=patience_seconds, traceparent=traceparent)
        self._portal = Portal("quorate-client")
        # Also when it is forgotten, or the program ends.
        self._end = weakref.finalize(self, _end, self._original, self._portal)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread.

        Calls that follow, and those that other threads wait in, raise RuntimeError.
        """
        self._end()

    @overload
    def submit(
        self, task: Submittable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> BlockingHandle[R]: ...

    @overload
    def submit(
        self, task: str, data: object = None, /, **options: Unpack[SubmitOptions]
    ) -> BlockingHandle[Any]: ...

    def submit(
        self, task: Submittable[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> BlockingHandle[Any]:
        """Submit a task, as `Client.submit` does."""
        return self._held(self._portal.run(self._original.submit(task, *args, **kwargs)))

    def submit_many(self, submissions: Iterable[Submission[R]]) -> list[BlockingHandle[R]]:
        """Submit up to 1,000 tasks, all or none, as `Client.submit_many` does."""
        handles = self._portal.run(self._original.submit_many(submissions))
        return [self._held(handle) for handle in handles]

    @overload
    def handle(self, task_id: str) -> BlockingHandle[Any]: ...

    @overload
    def handle(self, task_id: str, task: Submittable[..., R]) -> BlockingHandle[R]: ...

    def handle(
        self,
        task_id: str,
        task: Submittable[..., Any] | None = None,  # noqa: ARG002 - It tells the result's type.
    ) -> BlockingHandle[Any]:
        """A handle of a task that was submitted earlier; nothing is asked yet."""
        return self._held(Handle(self._original, task_id))

    call = _blocking(Client.call)
    task = _blocking(Client.task)
    tasks = _iterating(Client.tasks)
    tasks_page = _blocking(Client.tasks_page)
    task_events = _blocking(Client.task_events)
    cancel = _blocking(Client.cancel)
    retry = _blocking(Client.retry)
    workers = _blocking(Client.workers)
    worker = _blocking(Client.worker)
    health = _blocking(Client.health)
    cluster = _blocking(Client.cluster)
    events = _iterating(Client.events)
    drain = _blocking(Client.drain)
    queues = _blocking(Client.queues)
    queue = _blocking(Client.queue)
    pause_queue = _blocking(Client.pause_queue)
    resume_queue = _blocking(Client.resume_queue)
    purge_queue = _blocking(Client.purge_queue)
    dead_letters_page = _blocking(Client.dead_letters_page)
    dead_letters = _iterating(Client.dead_letters)
    retry_dead_letter = _blocking(Client.retry_dead_letter)
    delete_dead_letter = _blocking(Client.delete_dead_letter)
    retry_dead_letters = _blocking(Client.retry_dead_letters)
    operation = _blocking(Client.operation)
    register = _blocking(Client.register)
    lease = _blocking(Client.lease)
    heartbeat = _blocking(Client.heartbeat)
    complete = _blocking(Client.complete)
    fail = _blocking(Client.fail)
    release = _blocking(Client.release)
    progress = _blocking(Client.progress)
    leave = _blocking(Client.leave)

    def _held(self, handle: Handle[R]) -> BlockingHandle[R]:
        return BlockingHandle(handle, self)


def _end(client: Client, portal: Portal) -> None:
    portal.close(client.close())
