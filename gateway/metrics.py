"""`GET /metrics`: this node in numbers, as Prometheus reads them.

What is told is taken from the state and from the node's own measures at the moment of the scrape;
it is written down on a thread. How many series there are is bounded, whatever names clients use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isinf

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, exposition
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from cluster.core.queries import Count
from cluster.core.queue_queries import ListQueues, QueueView
from cluster.distribution import Distribution
from cluster.status import ClusterStatus, Role
from gateway import accepting, queries
from gateway.aside import aside
from gateway.exchange import HttpCall
from gateway.measures import OTHER, Measures
from gateway.queries import STALE
from gateway.service import Service

QUEUES_MAX = 100  # With labels of their own; the others are told together.


async def scrape(request: web.Request, service: Service) -> web.StreamResponse:
    """All numbers, in the text format that the scraper asks for."""
    queries.nothing(HttpCall(service, request).query)
    families = [
        *_of_the_node(service),
        *await _of_the_state(service),
        *_of_the_gateway(service),
    ]
    encode, content_type = exposition.choose_encoder(accepting.header_of(request))
    body = await aside(lambda: encode(_registry(families)))
    return web.Response(body=body, headers={"Content-Type": content_type})


def _registry(families: Iterable[Metric]) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Taken(families))
    ProcessCollector(registry=registry)
    return registry


class _Taken(Collector):
    """Families that were taken already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_the_node(service: Service) -> Iterator[Metric]:
    """Raft and the disk, as this node sees them."""
    status, usage = service.replica.status(), service.replica.usage()
    node = GaugeMetricFamily("quorate_node_info", "The node.", labels=["node_id", "version"])
    node.add_metric([status.node_id, status.version], 1)
    yield node
    yield _gauge("is_leader", "Whether this node leads.", status.role is Role.LEADER)
    yield _gauge("has_quorum", "Whether a write sent here would find one.", status.has_quorum)
    yield _gauge("term", "The term of this node.", status.term)
    yield _gauge("commit_index", "How far the log is known to be committed.", status.commit_index)
    yield _gauge("applied_index", "How far this node has applied it.", status.applied_index)
    yield _gauge("log_first_index", "The oldest entry in the log.", usage.log_first)
    yield _gauge("log_last_index", "The newest entry in the log.", usage.log_last)
    yield _gauge("log_bytes", "What the log's files take.", usage.log_bytes)
    yield _gauge("snapshot_bytes", "What the snapshots' files take.", usage.snapshot_bytes)
    yield _gauge("state_bytes", "What the state takes, by its own count.", usage.state_bytes)
    if usage.state_bytes_max is not None:
        yield _gauge("state_bytes_max", "What it may take.", usage.state_bytes_max)
    yield _gauge(
        "leader_silence_seconds", "Since this node heard its leader.", status.staleness_seconds
    )
    yield from _of_the_members(status)
    yield _histogram(
        "log_sync_duration_seconds", "How long fdatasync took.", service.replica.sync_seconds
    )


def _of_the_members(status: ClusterStatus) -> Iterator[Metric]:
    reachable = GaugeMetricFamily(
        "quorate_member_reachable", "Whether this node is linked to the member.", labels=["member"]
    )
    matched = GaugeMetricFamily(
        "quorate_member_match_index", "How much of the log a member holds.", labels=["member"]
    )
    for member in status.members:
        reachable.add_metric([member.id], member.is_reachable)
        if member.match_index is not None:
            matched.add_metric([member.id], member.match_index)
    yield reachable
    yield matched


async def _of_the_state(service: Service) -> list[Metric]:
    """The tasks, queues and workers, as far as this node has applied."""
    counts = (await service.read(Count(), STALE)).value
    queues = (await service.read(ListQueues(limit=QUEUES_MAX), STALE)).value.queues
    by_status = {status.value: count for status, count in counts.by_status}
    tasks = GaugeMetricFamily("quorate_tasks", "Tasks by status.", labels=["status"])
    for status, count in by_status.items():
        tasks.add_metric([status], count)
    return [
        tasks,
        _counter("tasks_submitted", "Tasks ever submitted.", counts.submitted_ever),
        _counter("tasks_completed", "Tasks ever completed.", counts.completed_ever),
        _gauge("workers_active", "Workers that are here.", counts.workers_active),
        *_of_the_queues(queues, by_status, service.replica.cluster_now_ms()),
    ]


def _of_the_queues(
    queues: Iterable[QueueView], by_status: dict[str, int], now_ms: int
) -> Iterator[Metric]:
    tasks = GaugeMetricFamily(
        "quorate_queue_tasks", "Tasks by queue and status.", labels=["queue", "status"]
    )
    oldest = GaugeMetricFamily(
        "quorate_queue_oldest_seconds", "How long the oldest task waits.", labels=["queue"]
    )
    paused = GaugeMetricFamily("quorate_queue_paused", "Whether it is paused.", labels=["queue"])
    left = dict(by_status)
    for queue in queues:
        paused.add_metric([queue.name], queue.is_paused)
        since_ms = queue.pending_since_ms
        oldest.add_metric([queue.name], 0 if since_ms is None else (now_ms - since_ms) / 1000)
        for status, count in queue.by_status:
            tasks.add_metric([queue.name, status.value], count)
            left[status.value] -= count
    for status_name, count in left.items():
        tasks.add_metric([OTHER, status_name], count)
    yield from (tasks, oldest, paused)


def _of_the_gateway(service: Service) -> Iterator[Metric]:
    """What this node told and answered since its start."""
    measures = service.measures
    told = CounterMetricFamily("quorate_events", "Events that this node told.", labels=["kind"])
    for kind, count in service.watching.told.items():
        told.add_metric([kind], count)
    yield told
    yield _gauge("event_readers", "Who reads /events now.", len(service.readers))
    yield from _of_the_answers(measures)
    yield _histogram(
        "commit_duration_seconds",
        "From a command's proposal here to its reply.",
        measures.commit_seconds,
    )
    yield _histogram(
        "loop_lag_seconds", "How late the loop comes to what is due.", measures.lag_seconds
    )


def _of_the_answers(measures: Measures) -> Iterator[Metric]:
    requests = HistogramMetricFamily(
        "quorate_http_request_duration_seconds",
        "How long HTTP answers took.",
        labels=["method", "route", "status"],
    )
    for (method, route, status), seconds in measures.requests.items():
        requests.add_metric([method, route, str(status)], _buckets(seconds), seconds.sum_seconds)
    yield requests
    calls = HistogramMetricFamily(
        "quorate_call_duration_seconds",
        "How long calls over /connect took.",
        labels=["operation"],
    )
    for name, seconds in measures.calls.items():
        calls.add_metric([name], _buckets(seconds), seconds.sum_seconds)
    yield calls
    problems = CounterMetricFamily(
        "quorate_problems", "Answers that were no, over HTTP and /connect.", labels=["code"]
    )
    for code, count in measures.problems.items():
        problems.add_metric([code], count)
    yield problems


def _gauge(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(f"quorate_{name}", says, value=value)


def _counter(name: str, says: str, value: float) -> Metric:
    return CounterMetricFamily(f"quorate_{name}", says, value=value)


def _histogram(name: str, says: str, measured: Distribution) -> Metric:
    return HistogramMetricFamily(
        f"quorate_{name}", says, buckets=_buckets(measured), sum_value=measured.sum_seconds
    )


def _buckets(measured: Distribution) -> list[tuple[str, float]]:
    return [("+Inf" if isinf(bound) else str(bound), count) for bound, count in measured.up_to()]
