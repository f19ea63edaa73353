"""The calls on tasks: submit, list, look, cancel, retry, and what their workers say of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from cluster.answers import Answered, Committed
from cluster.core.commands import (
    Cancel,
    Command,
    Refusal,
    Refused,
    Retry,
    Settled,
    Submit,
    Submitted,
)
from cluster.core.model import NewTask
from cluster.core.queries import GetTask, ListTasks, TaskPage, TaskView
from cluster.errors import QuorateError
from gateway import queries, render, schema
from gateway.calls import Call, Reply
from gateway.encoding import decode_stored, is_same
from gateway.outcomes import read_headers, write_headers
from gateway.problems import Problem
from gateway.queries import STALE, Reading

GONE = "gone"  # The status of a task that its key outlived.
PAGE_BYTES_MAX = 8 << 20  # Of payloads; a page of larger tasks ends early, its cursor goes on.


async def submit(call: Call) -> Reply:
    """`POST /tasks`: 201, or 200 when its id or key was seen already, with the same body."""
    queries.nothing(call.query)
    headers, defaults = call.headers, call.service.defaults
    new = await call.parse(
        lambda body: schema.new_task(body.value, headers, defaults, body.written_in)
    )
    committed = await _submitted(call, new)
    submitted = committed.reply.tasks[0]
    status = submitted.status or GONE
    answer = await _task_after(call, committed.index, submitted.task_id, status)
    answer |= {"success": True, "task_id": submitted.task_id}
    if submitted.is_duplicate:
        answer["duplicate"] = True
    return Reply(
        answer,
        200 if submitted.is_duplicate else 201,
        write_headers(committed) | {"Location": f"/tasks/{submitted.task_id}"},
    )


async def list_tasks(call: Call) -> Reply:
    """`GET /tasks`: one page, newest first."""
    query, reading = queries.listing(call.query)
    answered = await _page(call, query, reading)
    tasks = [render.task(view) for view in answered.value.tasks]
    page = {
        "tasks": tasks,
        "count": len(tasks),
        "next": queries.cursor_text(queries.TASKS, answered.value.next),
    }
    return Reply(page, headers=read_headers(answered, reading))


async def get_task(call: Call) -> Reply:
    """`GET /tasks/{id}`: the task, once it has ended if `wait` allows so long."""
    wait_seconds, reading = queries.task_reading(call.query)
    task_id = call.path_id("task_unknown")
    answered = await _task_when_ended(call, task_id, wait_seconds, reading)
    headers = read_headers(answered, reading)
    if answered.value is None:
        raise Problem("task_unknown", f"there is no task {task_id}", headers=headers)
    return Reply(render.task(answered.value), headers=headers)


async def cancel(call: Call) -> Reply:
    """`DELETE /tasks/{id}`: a waiting task ends at once, a running one when its worker heeds it."""
    return await _moved(call, Cancel(call.path_id("task_unknown")))


async def retry(call: Call) -> Reply:
    """`POST /tasks/{id}/retry`: a failed, cancelled or expired task starts over."""
    await call.parse(lambda body: schema.nothing(body.value), empty={})
    return await _moved(call, Retry(call.path_id("task_unknown")))


async def complete(call: Call) -> Reply:
    """`POST /tasks/{id}/complete`: a repeat is told the result that stands."""
    task_id = call.path_id("task_unknown")
    command = await call.parse(
        lambda body: schema.complete(body.value, task_id=task_id, written_in=body.written_in)
    )
    committed = await call.service.propose(command)
    reply = _settled(committed)
    if committed.reply.is_duplicate:
        task = await _task_after(call, committed.index, task_id, committed.reply.status)
        reply = reply._replace(value=_members(committed) | {"result": task.get("result")})
    return reply


async def fail(call: Call) -> Reply:
    """`POST /tasks/{id}/fail`: the attempt failed; whether another follows, `status` tells."""
    task_id = call.path_id("task_unknown")
    command = await call.parse(lambda body: schema.fail(body.value, task_id=task_id))
    return _settled(await call.service.propose(command))


async def release(call: Call) -> Reply:
    """`POST /tasks/{id}/release`: back to its old place, at no cost to its attempts."""
    task_id = call.path_id("task_unknown")
    command = await call.parse(lambda body: schema.release(body.value, task_id=task_id))
    return _settled(await call.service.propose(command))


async def report(call: Call) -> Reply:
    """`POST /tasks/{id}/progress`: how far the run is."""
    task_id = call.path_id("task_unknown")
    command = await call.parse(
        lambda body: schema.report(body.value, task_id=task_id, written_in=body.written_in)
    )
    return _settled(await call.service.propose(command))


async def _submitted(call: Call, new: NewTask) -> Committed[Submitted]:
    """Submit *new*; data that differs from a known task's only in how it is written is the same."""
    try:
        return await call.service.propose(Submit((new,)))
    except Problem as problem:
        if problem.code != Refusal.ID_CONFLICT:
            raise
        known = (await call.service.read(GetTask(new.id), STALE)).value
        if known is None or not _is_same_data(known, new):
            raise
    # The machine compares bytes, and all the rest of the body: so give it the bytes that it knows.
    same = new._replace(
        payload=known.payload, kind=new.kind._replace(content_type=known.content_type)
    )
    return await call.service.propose(Submit((same,)))


def _is_same_data(known: TaskView, new: NewTask) -> bool:
    return is_same(
        decode_stored(known.payload, known.content_type),
        decode_stored(new.payload, new.kind.content_type),
    )


async def _moved(call: Call, command: Command[Settled | Refused]) -> Reply:
    queries.nothing(call.query)
    committed = await call.service.propose(command)
    task = await _task_after(call, committed.index, committed.reply.task_id, committed.reply.status)
    return Reply(task, 202, write_headers(committed))


def _settled(committed: Committed[Settled]) -> Reply:
    return Reply(_members(committed), headers=write_headers(committed))


def _members(committed: Committed[Settled]) -> dict[str, object]:
    settled = committed.reply
    members: dict[str, object] = {
        "success": True,
        "task_id": settled.task_id,
        "status": settled.status.value,
    }
    if settled.is_duplicate:
        members["duplicate"] = True
    return members


async def _task_after(call: Call, index: int, task_id: str, status: str) -> dict[str, object]:
    """The task as this node has it after the write; if it cannot say, what the reply said.

    The write has happened: no trouble in reading it back may make the answer an error.
    """
    try:
        view = (await call.service.read_after(GetTask(task_id), index)).value
    except QuorateError:
        view = None
    return {"id": task_id, "status": str(status)} if view is None else render.task(view)


async def _task_when_ended(
    call: Call, task_id: str, wait_seconds: float, reading: Reading
) -> Answered[TaskView | None]:
    until = asyncio.get_running_loop().time() + wait_seconds
    with call.service.watching.task_ending(task_id) as bell:
        answered = await call.service.read(GetTask(task_id), reading)
        if wait_seconds == 0 or answered.value is None or answered.value.status.is_final:
            return answered
        await bell.wait(until)
        # Also when nothing rang: the answer shows how far the task is now.
        seen = max(reading.min_index, bell.index)
        return await call.service.read(GetTask(task_id), reading._replace(min_index=seen))


async def _page(call: Call, query: ListTasks, reading: Reading) -> Answered[TaskPage]:
    """The page, or the beginning of it when all of it would be too large to answer."""
    answered = await call.service.read(query, reading)
    total = 0
    for count, view in enumerate(answered.value.tasks):
        total += len(view.payload) + len(view.result or b"") + len(view.progress or b"")
        if total > PAGE_BYTES_MAX and count > 0:
            return await call.service.read(replace(query, limit=count), reading)
    return answered
