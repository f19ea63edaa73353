"""The calls on dead letters: the tasks that failed and will not be tried again by themselves."""

from __future__ import annotations

from dataclasses import replace

from cluster.core.model import TaskStatus
from cluster.core.queries import GetTask
from cluster.core.queue_commands import RemoveDead
from gateway import queries, render, schema, tasks
from gateway.calls import Call, Reply
from gateway.ids import new_id
from gateway.operations import started
from gateway.outcomes import read_headers, write_headers
from gateway.paging import page
from gateway.problems import Problem
from gateway.queries import FRESH


async def list_dead(call: Call) -> Reply:
    """`GET /dlq/failed-tasks`: a page, those that died first before the others."""
    query, reading = queries.dead_listing(call.query)
    answered = await page(
        call.service, lambda limit: replace(query, limit=limit), query.limit, reading
    )
    dead = [render.task(view) for view in answered.value.tasks]
    listed = {
        "total": answered.value.total,
        "tasks": dead,
        "count": len(dead),
        "next": queries.cursor_text(queries.DEAD, answered.value.next),
    }
    return Reply(listed, headers=read_headers(answered, reading))


async def retry(call: Call) -> Reply:
    """`POST /dlq/failed-tasks/{id}/retry`: as `POST /tasks/{id}/retry`, for a dead letter alone."""
    task_id = call.path_id("task_unknown")
    task = (await call.service.read(GetTask(task_id), FRESH)).value
    if task is not None and task.status is not TaskStatus.FAILED:
        detail = f"task {task_id} is {task.status}: it is no dead letter"
        raise Problem("not_retryable", detail)
    return await tasks.retry(call)


async def remove(call: Call) -> Reply:
    """`DELETE /dlq/failed-tasks/{id}`: for good."""
    queries.nothing(call.query)
    committed = await call.service.propose(RemoveDead(call.path_id("task_unknown")))
    return Reply({"success": True}, headers=write_headers(committed))


async def retry_all(call: Call) -> Reply:
    """`POST /dlq/retry`: an operation that puts them back, all or those of a type or a queue."""
    queries.nothing(call.query)
    command = await call.parse(
        lambda body: schema.retry_dead(body.value, operation_id=new_id()), empty={}
    )
    return await started(call, command)
