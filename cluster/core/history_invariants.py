"""What must hold of what is kept to look things up: listings, timelines, the newest events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from cluster.core import ring, timelines
from cluster.core.listing import PAGE_BITS, Page
from cluster.core.state import State


def check(state: State) -> Iterator[str]:
    """Every broken one, in a sentence."""
    for space in state.spaces.values():
        for page in space.listing.pages():
            yield from _page(page)
    yield from _timelines(state)
    yield from _ring(state)


def _page(page: Page) -> Iterator[str]:
    """A page has the tasks of its numbers, and counts them."""
    if any(task.number >> PAGE_BITS != page.number for task in page.tasks):
        yield f"page {page.number} of the listing has a task of another"
    if (
        +Counter(page.statuses) != Counter(task.status for task in page.tasks)
        or page.queues != Counter(task.kind.queue for task in page.tasks)
        or page.types != Counter(task.kind.type for task in page.tasks)
    ):
        yield f"page {page.number} of the listing counts other tasks than it has"


def _timelines(state: State) -> Iterator[str]:
    """Each timeline is within its bound, in order, and ends with the task's status."""
    for task in (task for space in state.spaces.values() for task in space.listing):
        if task.run is None:
            continue
        entries = list(timelines.entries(task.run.timeline))
        if len(entries) >= timelines.ENTRIES_MAX:
            yield f"the timeline of task {task.id} has {len(entries)} entries"
        places = [task.created.index, *(entry.index for entry in entries), state.now.index]
        if places != sorted(places):
            yield f"the timeline of task {task.id} is not in order"
        if entries and entries[-1].status is not task.status:
            yield f"the timeline of task {task.id}, {task.status}, ends with {entries[-1].kind}"


def _ring(state: State) -> Iterator[str]:
    """The newest events are kept in order, within their bounds."""
    kept = list(state.ring)
    if len(kept) > ring.EVENTS_MAX or state.ring.bytes_used > ring.BYTES_MAX:
        yield f"{len(kept)} events of {state.ring.bytes_used} bytes are kept"
    if state.ring.bytes_used != sum(map(ring.bytes_of, kept)):
        yield f"the events kept are counted as {state.ring.bytes_used} bytes"
    places = [state.ring.dropped, *(event.position for event in kept)]
    if any(before >= after for before, after in pairwise(places)):
        yield "the events kept are not in order"
    if places[-1].index > state.now.index:
        yield f"an event of entry {places[-1].index} is kept, {state.now.index} is the newest"
