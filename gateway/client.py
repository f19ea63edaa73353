"""The client: submits tasks to any gateway of a cluster, and waits for what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack, overload

from gateway.caller import PATIENCE_SECONDS, Caller
from gateway.client_pages import Pages
from gateway.client_queues import Queues
from gateway.client_work import Work
from gateway.handles import Handle
from gateway.submissions import Submission, SubmitOptions, Submittable, submission_of

_MINIMAL = {"prefer": "return=minimal"}  # A handle is made of the id alone.

P = ParamSpec("P")
R = TypeVar("R")


class Client(Pages, Queues, Work):
    """A session with a cluster. Use it as an async context manager, or call `close`."""

    def __init__(
        self,
        urls: str | Iterable[str],
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        traceparent: Callable[[], str | None] | None = None,
    ) -> None:
        """Make a client of the cluster that has nodes at *urls*; nothing is connected yet.

        A call is tried on one node after the other for *patience_seconds*. *traceparent* is asked
        at each submission for the caller's W3C trace, which the worker's context then has.
        """
        super().__init__(Caller(urls, patience_seconds=patience_seconds))
        self._traceparent = traceparent

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        await self._caller.close()

    @overload
    async def submit(
        self, task: Submittable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[R]: ...

    @overload
    async def submit(
        self, task: str, data: object = None, /, **options: Unpack[SubmitOptions]
    ) -> Handle[Any]: ...

    async def submit(
        self, task: Submittable[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> Handle[Any]:
        """Submit a task: a handler with its arguments, or a type with its data and options.

        Returns once a majority of the nodes holds it.

        Raises:
            InvalidRequest: the cluster does not take it so; `errors` names each wrong field.
            ClusterFull: there was no room, as long as the client was patient.
            NoQuorum: it did not happen.
            OutcomeUnknown: it may have happened. With an `id` or an `idempotency_key` of your own,
                submit it again and it is one task.
            TypeError, ValueError, OverflowError: the data is no value that can be sent.
        """
        submission = submission_of(task, *args, **kwargs)
        extras = self._extras() | _MINIMAL
        answer = await self._caller.call("submit", submission.body(), extras=extras)
        task_id, is_duplicate = answer.value["task_id"], "duplicate" in answer.value
        return Handle(self, task_id, is_duplicate=is_duplicate, known_index=answer.index)

    async def submit_many(self, submissions: Iterable[Submission[R]]) -> list[Handle[R]]:
        """Submit up to 1,000 tasks, all or none; the handles are in their order.

        Raises:
            InvalidRequest: as `submit`; `errors` names the item, such as `tasks[9].priority`.
        """
        tasks = [submission.body() for submission in submissions]
        if not tasks:
            return []
        body = {"tasks": tasks}
        answer = await self._caller.call("submit_batch", body, extras=self._extras())
        task_ids = answer.value["task_ids"]
        return [Handle(self, task_id, known_index=answer.index) for task_id in task_ids]

    def _extras(self) -> dict[str, str]:
        trace = self._traceparent() if self._traceparent is not None else None
        return {} if trace is None else {"traceparent": trace}

    @overload
    def handle(self, task_id: str) -> Handle[Any]: ...

    @overload
    def handle(self, task_id: str, task: Submittable[..., R]) -> Handle[R]: ...

    def handle(self, task_id: str, task: Submittable[..., Any] | None = None) -> Handle[Any]:  # noqa: ARG002 - *task* tells the result's type.
        """A handle of a task that was submitted earlier; nothing is asked yet."""
        return Handle(self, task_id)
