"""Pages of tasks, against a real node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from cluster.answers import Consistency
from cluster.core.commands import Submit
from cluster.core.model import NewTask
from cluster.core.queries import ListTasks
from cluster.replica import Replica
from gateway import paging
from gateway.defaults import SubmitDefaults
from gateway.ids import new_id
from gateway.paging import LIMIT_SMALL, page
from gateway.queries import FRESH, Reading
from gateway.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def service(replica: Replica) -> Service:
    """A service of the node."""
    return Service(replica=replica, defaults=SubmitDefaults(), lease_seconds=15)


def limited(query: ListTasks) -> Callable[[int], ListTasks]:
    """*query*, of as many as it is called with."""
    return lambda limit: replace(query, limit=limit)


async def test_a_large_page_that_waits_holds_up_no_other(service: Service) -> None:
    far = Reading(Consistency.STALE, 1 << 60)
    ask = limited(ListTasks(limit=1_000))
    waiting = asyncio.create_task(page(service, ask, 1_000, far))
    await asyncio.sleep(0)

    async with asyncio.timeout(2):
        await page(service, ask, 1_000, FRESH)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def most_at_once(service: Service, limit: int) -> int:
    """How many of twenty pages, all asked for together, are ever made at the same time."""
    made, most = 0, 0

    def ask(limit: int) -> ListTasks:
        nonlocal made, most
        made += 1
        most = max(most, made)
        return ListTasks(limit=limit)

    async def one() -> None:
        nonlocal made
        await page(service, ask, limit, FRESH)
        made -= 1

    await asyncio.gather(*(one() for _ in range(20)))
    return most


async def test_large_pages_are_made_one_after_the_other(service: Service) -> None:
    assert await most_at_once(service, LIMIT_SMALL + 1) == 1
    assert await most_at_once(service, LIMIT_SMALL) == 20


@pytest.mark.parametrize(("payload", "note"), [(b"x" * 2_500, ""), (b"", "x" * 2_500)])
async def test_a_page_of_large_tasks_ends_early_and_its_cursor_goes_on(
    service: Service, queue: str, monkeypatch: pytest.MonkeyPatch, payload: bytes, note: str
) -> None:
    monkeypatch.setattr(paging, "ANSWER_BYTES_MAX", 10_000)
    meta = (("note", note),)
    tasks = tuple(NewTask.of(new_id(), "a", payload, "", queue=queue, meta=meta) for _ in range(5))
    await service.propose(Submit(tasks))

    sizes, cursor, is_more = [], None, True
    while is_more:
        query = ListTasks(queue=queue, cursor=cursor)
        found = (await page(service, limited(query), 100, FRESH)).value
        sizes.append(len(found.tasks))
        cursor = found.next
        is_more = cursor is not None

    assert sizes == [2, 2, 1]
