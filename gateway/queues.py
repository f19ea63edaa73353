"""The calls on queues: look, pause, resume, purge. A queue needs no making: any name is one."""

from __future__ import annotations

from cluster.core.commands import Command, Refused
from cluster.core.model import TaskStatus
from cluster.core.queue_commands import PauseQueue, PurgeQueue, ResumeQueue, Steered
from cluster.core.queue_queries import GetQueue, QueueView
from gateway import queries, render, schema
from gateway.calls import Call, Reply
from gateway.checks import Invalid
from gateway.ids import new_id
from gateway.operations import started
from gateway.outcomes import read_headers, write_headers
from gateway.problems import FieldError, invalid
from gateway.shapes import check_name


async def list_queues(call: Call) -> Reply:
    """`GET /queues`: a page of those that have tasks or are paused, by name."""
    query, reading = queries.queue_listing(call.query)
    answered = await call.service.read(query, reading)
    now_ms = call.service.replica.cluster_now_ms()
    queues = [render.queue(view, now_ms) for view in answered.value.queues]
    following = queries.cursor_text(queries.QUEUES, answered.value.next)
    page = {"queues": queues, "count": len(queues), "next": following}
    return Reply(page, headers=read_headers(answered, reading))


async def get_queue(call: Call) -> Reply:
    """`GET /queues/{name}`: one, which may be empty."""
    reading = queries.reading(call.query)
    name = _name(call)
    answered = await call.service.read(GetQueue(name), reading)
    view = answered.value or _empty(name)
    queue = render.queue(view, call.service.replica.cluster_now_ms())
    return Reply(queue, headers=read_headers(answered, reading))


async def pause(call: Call) -> Reply:
    """`POST /queues/{name}/pause`: nothing of it is leased any more; what runs goes on."""
    return await _steered(call, PauseQueue(_name(call)))


async def resume(call: Call) -> Reply:
    """`POST /queues/{name}/resume`: its tasks are leased again."""
    return await _steered(call, ResumeQueue(_name(call)))


async def purge(call: Call) -> Reply:
    """`DELETE /queues/{name}/tasks`: an operation that removes what waits in it."""
    queries.nothing(call.query)
    return await started(call, PurgeQueue(new_id(), _name(call)))


async def _steered(call: Call, command: Command[Steered | Refused]) -> Reply:
    queries.nothing(call.query)
    await call.parse(lambda body: schema.nothing(body.value), empty={})
    committed = await call.service.propose(command)
    return Reply({"success": True}, headers=write_headers(committed))


def _name(call: Call) -> str:
    try:
        return check_name(call.path["name"])
    except Invalid as error:
        raise invalid([FieldError("name", message) for _, message in error.errors]) from None


def _empty(name: str) -> QueueView:
    return QueueView(name, False, tuple((status, 0) for status in TaskStatus), None)
