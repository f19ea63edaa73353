"""Operations: what may take more than one entry of the log is answered at once, and asked after."""

from __future__ import annotations

from cluster.core.commands import Command, Refused
from cluster.core.queue_commands import Started
from cluster.core.queue_queries import GetOperation
from gateway import queries, render
from gateway.calls import Call, Reply
from gateway.outcomes import read_headers, write_headers
from gateway.problems import Problem


async def get_operation(call: Call) -> Reply:
    """`GET /operations/{id}`: how far it is; for an hour after its end."""
    reading = queries.reading(call.query)
    operation_id = call.path_id("operation_unknown")
    answered = await call.service.read(GetOperation(operation_id), reading)
    headers = read_headers(answered, reading)
    if answered.value is None:
        detail = f"there is no operation {operation_id}, or it finished long ago"
        raise Problem("operation_unknown", detail, headers=headers)
    return Reply(render.operation(answered.value), headers=headers)


async def started(call: Call, command: Command[Started | Refused]) -> Reply:
    """The answer to what begins an operation: its id."""
    committed = await call.service.propose(command)
    operation_id = committed.reply.operation_id
    headers = write_headers(committed) | {"Location": f"/operations/{operation_id}"}
    return Reply({"operation": operation_id}, 202, headers)
