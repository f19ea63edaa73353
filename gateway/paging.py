"""Pages of tasks: as many as were asked for, unless they are too large for one answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cluster.answers import Answered, Consistency
from cluster.core.queries import Query, Span, TaskPage
from cluster.core.queue_queries import DeadPage
from gateway.queries import Reading
from gateway.service import Service
from gateway.sizes import ANSWER_BYTES_MAX, tasks_fitting

LIMIT_SMALL = 100  # Larger pages are made one after the other: thirty at once would take a second.

P = TypeVar("P", TaskPage, DeadPage)


async def page(
    service: Service, ask: Callable[[int], Query[P]], limit: int, reading: Reading
) -> Answered[P]:
    """What *ask* asks for with *limit*, or its beginning when all would be too large to answer."""
    if limit <= LIMIT_SMALL:
        return await _page(service, ask, limit, reading)
    readable = await service.read(Span(), reading)  # Waited for while others make their pages.
    async with service.large_pages:
        return await _page(service, ask, limit, Reading(Consistency.STALE, readable.index))


async def _page(
    service: Service, ask: Callable[[int], Query[P]], limit: int, reading: Reading
) -> Answered[P]:
    answered = await service.read(ask(limit), reading)
    tasks = answered.value.tasks
    count = tasks_fitting(tasks, ANSWER_BYTES_MAX)
    return answered if count == len(tasks) else await service.read(ask(count), reading)
