"""Submitting: one task, or many of which all or none are taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from cluster.answers import Committed
from cluster.core.commands import Refusal, Submit, Submitted
from cluster.core.model import NewTask
from cluster.core.queries import GetTask, TaskView
from gateway import queries, schema
from gateway.aside import aside
from gateway.calls import Call, Reply
from gateway.encoding import decode_stored, is_same
from gateway.outcomes import write_headers
from gateway.problems import Problem
from gateway.queries import STALE
from gateway.service import Service
from gateway.shapes import TASKS
from gateway.tasks import task_after

GONE = "gone"  # The status of a task that its key outlived.
MINIMAL = "return=minimal"  # RFC 7240, §4.2: whoever submits much need not read it all back.


class _Data(NamedTuple):
    """A task's data as it is written."""

    payload: bytes
    content_type: str


async def submit(call: Call) -> Reply:
    """`POST /tasks`: 201, or 200 when its id or key was seen already, with the same body."""
    queries.nothing(call.query)
    headers, defaults = call.headers, call.service.defaults
    new = await call.parse(
        lambda body: schema.new_task(body.value, headers, defaults, body.written_in)
    )
    committed = await _submitted(call.service, (new,))
    submitted = committed.reply.tasks[0]
    status = submitted.status or GONE
    outcome = write_headers(committed) | {"Location": f"/tasks/{submitted.task_id}"}
    answer: dict[str, object]
    if MINIMAL in headers.get("prefer", ""):
        outcome["Preference-Applied"] = MINIMAL
        answer = {"id": submitted.task_id, "status": str(status)}
    else:
        answer = await task_after(call, committed.index, submitted.task_id, status)
    answer |= {"success": True, "task_id": submitted.task_id}
    if submitted.is_duplicate:
        answer["duplicate"] = True
    return Reply(answer, 200 if submitted.is_duplicate else 201, outcome)


async def submit_batch(call: Call) -> Reply:
    """`POST /tasks/batch`: the ids in the order given; what was seen already gives its task's."""
    queries.nothing(call.query)
    headers, defaults = call.headers, call.service.defaults
    tasks = await call.parse(
        lambda body: schema.new_tasks(body.value, headers, defaults, body.written_in),
        many=TASKS.name,
    )
    committed = await _submitted(call.service, tasks)
    task_ids = [submitted.task_id for submitted in committed.reply.tasks]
    return Reply({"task_ids": task_ids, "count": len(task_ids)}, 201, write_headers(committed))


async def _submitted(service: Service, tasks: tuple[NewTask, ...]) -> Committed[Submitted]:
    """Submit; data that differs from a known task's only in how it is written is the same."""
    try:
        return await service.propose(Submit(tasks))
    except Problem as problem:
        if problem.code != Refusal.ID_CONFLICT:
            raise
        known = [(await service.read(GetTask(new.id), STALE)).value for new in tasks]
        as_known = await aside(_as_known, tasks, known)
        if as_known == tasks:
            raise
    return await service.propose(Submit(as_known))


def _as_known(tasks: Iterable[NewTask], known: Iterable[TaskView | None]) -> tuple[NewTask, ...]:
    """The tasks, with the bytes of the first of their ids where the content is the same.

    The machine compares bytes, and all the rest of the body: so it is given those that it knows, or
    meets first.
    """
    first = {view.id: _Data(view.payload, view.content_type) for view in known if view is not None}
    return tuple(_as_first(new, first) for new in tasks)


def _as_first(new: NewTask, first: dict[str, _Data]) -> NewTask:
    own = _Data(new.payload, new.kind.content_type)
    data = first.setdefault(new.id, own)
    if data == own or not is_same(decode_stored(*data), decode_stored(*own)):
        return new
    kind = new.kind._replace(content_type=data.content_type)
    return new._replace(payload=data.payload, kind=kind)
