"""This node's own pages: they tell what it knows itself and never need a quorum."""

from __future__ import annotations

from cluster.core.model import TaskStatus
from cluster.core.queries import Count
from gateway import instants, queries, render
from gateway.aside import aside
from gateway.calls import Call, Reply
from gateway.ids import wall_ms
from gateway.problems import RETRY_LATER
from gateway.queries import STALE


async def health(call: Call) -> Reply:
    """`GET /health`: for people and the simplest clients. 503 without a quorum."""
    status = call.service.replica.status()
    counts = (await call.service.read(Count(), STALE)).value
    page = {
        "status": "healthy" if status.has_quorum else "unhealthy",
        "gateway": status.node_id,
        "workers": counts.workers_active,
        "pending_tasks": dict(counts.by_status)[TaskStatus.PENDING],
        "completed_tasks": counts.completed_ever,
        "timestamp": instants.written(wall_ms()),
        "leader": status.leader,
        "term": status.term,
    }
    return Reply(page) if status.has_quorum else Reply(page, 503, RETRY_LATER)


async def cluster(call: Call) -> Reply:
    """`GET /cluster`: the members and the log, as this node sees them."""
    return Reply(render.cluster(call.service.replica.status()))


async def cluster_log(call: Call) -> Reply:
    """`GET /cluster/log`: the log as far as this node has applied it, payloads and secrets cut."""
    from_index, limit = queries.log_page(call.query)
    raw = call.service.replica.entries(from_index, limit=limit)
    entries = await aside(raw.views)
    shown = [render.log_entry(entry) for entry in entries]
    return Reply({"entries": shown, "first": raw.first, "last": raw.last})


async def livez(_call: Call) -> Reply:
    """`GET /livez`: the process answers; nothing else is asked of it."""
    return Reply({"status": "alive"})


async def readyz(call: Call) -> Reply:
    """`GET /readyz`: whether a write sent here now would find a quorum."""
    status = call.service.replica.status()
    if status.has_quorum:
        return Reply({"status": "ready"})
    page = {"status": "not ready", "reason": "no leader with a quorum is known"}
    return Reply(page, 503, RETRY_LATER)
