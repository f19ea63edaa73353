"""`GET /events`: every transition as it happens, in server-sent events (HTML standard, §9.2).

A reader goes on where it stopped, on any node: `id:` is a position in the log. It is this node's
own view and needs no quorum. What one reader holds of the node is bounded: one that takes nothing
is hung up on, and one that is slower than what happens is told where it lost the thread.
"""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from cluster.core.model import Event, Position
from cluster.core.queries import Span
from cluster.errors import EventsLost
from cluster.watching import From, Watch
from gateway import accepting, positions, streaming
from gateway.event_queries import asked
from gateway.event_views import Wanted, frame, position_frame
from gateway.exchange import HttpCall
from gateway.positions import Place
from gateway.problems import Problem
from gateway.queries import STALE
from gateway.service import Service

MEDIA_TYPE = "text/event-stream"
READERS_MAX = 100  # On one node; what happens is told to each.
KEEP_ALIVE_SECONDS = 15.0  # Proxies hang up on what is silent for longer, mostly after 30.
RETRY_MS = 1_000  # How long a client waits before it comes again.
BATCH_MAX = 2_000  # Events that are told in one turn of the loop, which takes some 15 ms.
PACE_SECONDS = 0.05  # Between two batches: what happens meanwhile goes out together.

_HEADERS = {
    "Content-Type": f"{MEDIA_TYPE}; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would collect 4 KiB before it passes any of it on.
}


async def follow(request: web.Request, service: Service) -> web.StreamResponse:
    """Tell what happens until the client hangs up or the node stops."""
    after, wanted = asked(HttpCall(service, request).query, request.headers)
    header = accepting.header_of(request)
    if header.strip() and not accepting.weight(header, MEDIA_TYPE):
        raise Problem("not_acceptable", f"Accept: {header[:100]!r} does not match {MEDIA_TYPE}")
    if len(service.readers) >= READERS_MAX:
        raise Problem("overloaded", f"{READERS_MAX} readers follow this node: ask another")
    with service.readers.reading(await _opened(service, after)) as watch:
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        if request.method != "HEAD":
            await _Telling(request, response, watch, wanted, service).run()
        await response.write_eof()
    return response


class _Telling:
    """One reader's stream."""

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        watch: Watch,
        wanted: Wanted,
        service: Service,
    ) -> None:
        self._request = request
        self._response = response
        self._watch = watch
        self._wanted = wanted
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._reached = watch.start  # All up to here was told or left out.
        self._silent_until = 0.0

    async def run(self) -> None:
        # Its place first: a client that is cut off before the first event misses none either.
        await self._write(f"retry: {RETRY_MS}\n".encode() + self._place())
        while not self._service.readers.is_closed:
            if self._loop.time() >= self._silent_until:  # However much there is that it leaves out.
                await self._write(b": alive\n" + self._place())
            try:
                async with asyncio.timeout_at(self._silent_until):
                    events = await self._watch.batch(BATCH_MAX)
            except TimeoutError:
                continue
            except EventsLost as lost:
                await self._write(_lost_frame(lost, self._service.mark))
                return
            if events:
                await self._tell(events)
                await asyncio.sleep(PACE_SECONDS)

    async def _tell(self, events: list[Event]) -> None:
        self._reached = events[-1].position
        mark = self._service.mark
        frames = [frame(event, mark) for event in events if self._wanted.has(event)]
        if frames:
            await self._write(b"".join(frames))

    def _place(self) -> bytes:
        return position_frame(self._reached, self._service.mark)

    async def _write(self, frames: bytes) -> None:
        await streaming.send(self._request, self._response, frames)
        self._silent_until = self._loop.time() + KEEP_ALIVE_SECONDS


async def _opened(service: Service, after: Place | From) -> Watch:
    """A watch of what comes after that place.

    Raises:
        Problem: 410, what comes next after it is no longer kept, or was never this cluster's.
    """
    if isinstance(after, Place) and not after.is_of(service.mark):
        span = (await service.read(Span(), STALE)).value
        raise _gone("the position is of another cluster's events", span.oldest, service.mark)
    try:
        return service.replica.watch(after.position if isinstance(after, Place) else after)
    except EventsLost as lost:
        raise _lost(lost, service.mark) from None


def _lost(lost: EventsLost, mark: str) -> Problem:
    return _gone("the events that were asked for are no longer kept", lost.oldest, mark)


def _gone(what: str, oldest: Position, mark: str) -> Problem:
    place = positions.written(oldest, mark)
    return Problem(
        "events_gone", f"{what}; those after {place} are here", members={"oldest": place}
    )


def _lost_frame(lost: EventsLost, mark: str) -> bytes:
    """Tell a reader that was too slow; when it comes again it is told the same with 410."""
    told = json.dumps(_lost(lost, mark).body(), ensure_ascii=False, separators=(",", ":"))
    return f"event: lost\ndata: {told}\n\n".encode()
