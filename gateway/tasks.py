"""The calls on tasks: list, look, cancel, retry, and what their workers say of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from cluster.answers import Answered, Committed
from cluster.core.commands import Cancel, Command, Refused, Retry, Settled
from cluster.core.queries import GetTask, TaskView, Timeline
from cluster.errors import QuorateError
from gateway import queries, render, schema
from gateway.calls import Call, Reply
from gateway.outcomes import read_headers, write_headers
from gateway.paging import page
from gateway.problems import Problem
from gateway.queries import Reading


async def list_tasks(call: Call) -> Reply:
    """`GET /tasks`: one page, newest first."""
    query, reading = queries.listing(call.query)
    answered = await page(
        call.service, lambda limit: replace(query, limit=limit), query.limit, reading
    )
    tasks = [render.task(view) for view in answered.value.tasks]
    listed = {
        "tasks": tasks,
        "count": len(tasks),
        "next": queries.cursor_text(queries.TASKS, answered.value.next),
    }
    return Reply(listed, headers=read_headers(answered, reading))


async def get_task(call: Call) -> Reply:
    """`GET /tasks/{id}`: the task, once it has ended if `wait` allows so long."""
    wait_seconds, reading = queries.task_reading(call.query)
    task_id = call.path_id("task_unknown")
    answered = await _task_when_ended(call, task_id, wait_seconds, reading)
    headers = read_headers(answered, reading)
    if answered.value is None:
        raise Problem("task_unknown", f"there is no task {task_id}", headers=headers)
    return Reply(render.task(answered.value), headers=headers)


async def list_events(call: Call) -> Reply:
    """`GET /tasks/{id}/events`: its timeline, the oldest first."""
    reading = queries.reading(call.query)
    task_id = call.path_id("task_unknown")
    answered = await call.service.read(Timeline(task_id), reading)
    headers = read_headers(answered, reading)
    if answered.value is None:
        raise Problem("task_unknown", f"there is no task {task_id}", headers=headers)
    events = render.timeline(answered.value, call.service.mark)
    timeline = {"events": events, "count": len(events), "dropped": answered.value.dropped}
    return Reply(timeline, headers=headers)


async def cancel(call: Call) -> Reply:
    """`DELETE /tasks/{id}`: a waiting task ends at once, a running one when its worker heeds it."""
    return await moved(call, Cancel(call.path_id("task_unknown")))


async def retry(call: Call) -> Reply:
    """`POST /tasks/{id}/retry`: a failed, cancelled or expired task starts over."""
    await call.parse(lambda body: schema.nothing(body.value), empty={})
    return await moved(call, Retry(call.path_id("task_unknown")))


async def complete(call: Call) -> Reply:
    """`POST /tasks/{id}/complete`: a repeat is told the result that stands."""
    queries.nothing(call.query)
    task_id = call.path_id("task_unknown")
    command = await call.parse(
        lambda body: schema.complete(body.value, task_id=task_id, written_in=body.written_in)
    )
    committed = await call.service.propose(command)
    reply = _settled(committed)
    if committed.reply.is_duplicate:
        task = await task_after(call, committed.index, task_id, committed.reply.status)
        reply = reply._replace(value=_members(committed) | {"result": task.get("result")})
    return reply


async def fail(call: Call) -> Reply:
    """`POST /tasks/{id}/fail`: the attempt failed; whether another follows, `status` tells."""
    queries.nothing(call.query)
    task_id = call.path_id("task_unknown")
    command = await call.parse(lambda body: schema.fail(body.value, task_id=task_id))
    return _settled(await call.service.propose(command))


async def release(call: Call) -> Reply:
    """`POST /tasks/{id}/release`: back to its old place, at no cost to its attempts."""
    queries.nothing(call.query)
    task_id = call.path_id("task_unknown")
    command = await call.parse(lambda body: schema.release(body.value, task_id=task_id))
    return _settled(await call.service.propose(command))


async def report(call: Call) -> Reply:
    """`POST /tasks/{id}/progress`: how far the run is."""
    queries.nothing(call.query)
    task_id = call.path_id("task_unknown")
    command = await call.parse(
        lambda body: schema.report(body.value, task_id=task_id, written_in=body.written_in)
    )
    return _settled(await call.service.propose(command))


async def moved(call: Call, command: Command[Settled | Refused]) -> Reply:
    queries.nothing(call.query)
    committed = await call.service.propose(command)
    task = await task_after(call, committed.index, committed.reply.task_id, committed.reply.status)
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


async def task_after(call: Call, index: int, task_id: str, status: str) -> dict[str, object]:
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
        # Also when nothing rang: the answer shows how far the task is now. What this node has by
        # now is no older than the first answer, which was as fresh as was asked for.
        return await call.service.read_after(GetTask(task_id), max(answered.index, bell.index))
