"""Submitting: one task, or many of which all or none are taken."""

from __future__ import annotations

from collections.abc import Iterable

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
    """The tasks, with the bytes of those of their ids where the content is the same.

    The machine compares bytes, and all the rest of the body: so it is given those that it knows.
    """
    return tuple(
        new._replace(payload=view.payload, kind=new.kind._replace(content_type=view.content_type))
        if view is not None and _is_same_data(view, new)
        else new
        for new, view in zip(tasks, known, strict=True)
    )


def _is_same_data(known: TaskView, new: NewTask) -> bool:
    known_data, new_data = (known.payload, known.content_type), (new.payload, new.kind.content_type)
    return known_data == new_data or is_same(decode_stored(*known_data), decode_stored(*new_data))
