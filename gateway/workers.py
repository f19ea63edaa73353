"""The calls of workers: come, take tasks, stay, go; and the calls that look at them."""

from __future__ import annotations

from cluster.core.commands import Drain, Leave
from cluster.core.queries import GetWorker, WorkerProgress
from gateway import queries, render, schema
from gateway.calls import Call, Reply
from gateway.outcomes import read_headers, write_headers
from gateway.problems import Problem

HEARTBEATS_PER_LEASE = 3  # Two may be lost on the way without harm.


async def list_workers(call: Call) -> Reply:
    """`GET /workers`: a page of the sessions, the lost ones that are still remembered included."""
    query, reading = queries.roster(call.query)
    answered = await call.service.read(query, reading)
    workers = [render.worker(view) for view in answered.value.workers]
    following = queries.cursor_text(queries.WORKERS, answered.value.next)
    page = {"workers": workers, "count": len(workers), "next": following}
    return Reply(page, headers=read_headers(answered, reading))


async def get_worker(call: Call) -> Reply:
    """`GET /workers/{id}`."""
    reading = queries.reading(call.query)
    worker_id = call.path_id("worker_unknown")
    answered = await call.service.read(GetWorker(worker_id), reading)
    headers = read_headers(answered, reading)
    if answered.value is None:
        raise Problem("worker_unknown", f"there is no worker {worker_id}", headers=headers)
    return Reply(render.worker(answered.value), headers=headers)


async def register(call: Call) -> Reply:
    """`POST /workers`: a session, which heartbeats keep."""
    queries.nothing(call.query)
    node = call.service.node_id
    command = await call.parse(lambda body: schema.register(body.value, node=node), empty={})
    committed = await call.service.propose(command)
    lease_ms = round(call.service.lease_seconds * 1000)
    session = {
        "worker_id": committed.reply.worker_id,
        "lease_seconds": render.number(lease_ms),
        "heartbeat_seconds": render.number(lease_ms // HEARTBEATS_PER_LEASE),
    }
    headers = write_headers(committed) | {"Location": f"/workers/{committed.reply.worker_id}"}
    return Reply(session, 201, headers)


async def lease(call: Call) -> Reply:
    """`POST /workers/{id}/lease`: tasks, waited for; an empty list when none came."""
    queries.nothing(call.query)
    worker_id = call.path_id("worker_unknown")
    wanted = await call.parse(lambda body: schema.wanted(body.value), empty={})
    committed = await call.service.polls.lease(worker_id, wanted)
    if not committed.reply:
        return Reply({"tasks": []}, headers=write_headers(committed))
    progress = await call.service.read_after(WorkerProgress(worker_id), committed.index)
    tasks = render.leases(committed.reply, progress.value)
    return Reply({"tasks": tasks}, headers=write_headers(committed))


async def heartbeat(call: Call) -> Reply:
    """`POST /workers/{id}/heartbeat`: the session goes on; what the worker must know comes back."""
    queries.nothing(call.query)
    worker_id = call.path_id("worker_unknown")
    node = call.service.node_id
    command = await call.parse(
        lambda body: schema.heartbeat(body.value, worker_id=worker_id, node=node), empty={}
    )
    committed = await call.service.propose(command)
    renewed = committed.reply
    orders = {"cancel": list(renewed.cancel), "lost": list(renewed.lost), "drain": renewed.drain}
    return Reply(orders, headers=write_headers(committed))


async def drain(call: Call) -> Reply:
    """`POST /workers/{id}/drain`: it is given nothing more; these tasks it finishes."""
    queries.nothing(call.query)
    worker_id = call.path_id("worker_unknown")
    await call.parse(lambda body: schema.nothing(body.value), empty={})
    committed = await call.service.propose(Drain(worker_id))
    draining = {"success": True, "current_tasks": list(committed.reply.task_ids)}
    return Reply(draining, headers=write_headers(committed))


async def leave(call: Call) -> Reply:
    """`DELETE /workers/{id}`: the session ends now, its tasks go back."""
    queries.nothing(call.query)
    committed = await call.service.propose(Leave(call.path_id("worker_unknown")))
    return Reply({"success": True}, headers=write_headers(committed))
