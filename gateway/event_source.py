"""A reader of `/events` that goes on where it stopped, on whichever node answers.

Nothing is missed and nothing told twice while the nodes keep the events that it has not seen.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import aiohttp

from cluster.errors import NoQuorum
from gateway.client_errors import refusal
from gateway.connection import why_not

Object = dict[str, Any]

# Three times what a node lets pass without a sign of life: it is frozen, or the way to it is cut.
SILENCE_SECONDS = 45.0
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0  # Until the headers: a node that is frozen takes connections all the same.
PATIENCE_SECONDS = 30.0  # Once a stream has ended or fallen silent.
PAUSE_SECONDS = 0.2  # Between rounds of all nodes.
LAST_SEEN = "Last-Event-ID"
LOST = "lost"  # The event by which a node says that it could not keep up for this reader.


class Block(NamedTuple):
    """What stood between two empty lines of a stream."""

    id: str | None
    event: str
    data: str


class Blocks:
    """Parts an event stream into its blocks (HTML standard, §9.2.6). Knows no connection."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, content: bytes) -> Iterator[Block]:
        """The blocks that are whole once *content* has come as well."""
        *whole, self._rest = (self._rest + content).replace(b"\r\n", b"\n").split(b"\n\n")
        yield from (_block(lines.decode("utf-8", "replace").split("\n")) for lines in whole)


class EventSource:
    """Events as plain objects, until the iteration is left.

    *filters* are those of `GET /events`; *after* is the position of the last event that was seen.
    Without one it begins now, or with the oldest event that is kept.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        after: str | None = None,
        from_oldest: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
        **filters: str,
    ) -> None:
        self._urls = urls
        self._query: Mapping[str, str] = filters | ({"from": "start"} if from_oldest else {})
        self._patience_seconds = patience_seconds
        self.position = after  # All up to here was told.

    async def __aiter__(self) -> AsyncGenerator[Object, None]:
        """Every event in order.

        Raises:
            EventsGone: some that were not told yet are no longer kept; says from where they are.
            RequestRefused: the filters or the position make no sense.
            NoQuorum: no node was reached for too long, though each was asked.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience_seconds
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
        )
        async with aiohttp.ClientSession(timeout=timeout) as session:
            in_vain = 0  # How many in a row told nothing.
            for tries in itertools.count(1):
                url = self._urls[(tries - 1) % len(self._urls)]
                trouble = "it ended"
                in_vain += 1
                try:
                    async for event in self._read(session, url):
                        in_vain = 0
                        if event is not None:
                            yield event
                except aiohttp.ConnectionTimeoutError as error:
                    trouble = why_not(error, seconds=CONNECT_SECONDS)
                except aiohttp.SocketTimeoutError as error:
                    trouble = why_not(error, seconds=SILENCE_SECONDS)
                except (aiohttp.ClientError, TimeoutError) as error:
                    trouble = why_not(error, seconds=ANSWER_SECONDS)
                if in_vain == 0:  # Its silence alone may have outlasted all patience.
                    until = loop.time() + self._patience_seconds
                elif in_vain >= len(self._urls) and loop.time() >= until:
                    raise NoQuorum(f"no gateway tells events; the last was {url}: {trouble}")
                if tries % len(self._urls) == 0:
                    await asyncio.sleep(PAUSE_SECONDS)

    async def _read(self, session: aiohttp.ClientSession, url: str) -> AsyncIterator[Object | None]:
        """One node's events, and None for what is none, until it ends the stream."""
        seen = {} if self.position is None else {LAST_SEEN: self.position}
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await session.get(f"{url}/events", params=self._query, headers=seen)
        async with answer:
            if answer.status >= 500 or answer.status == 429:
                answer.raise_for_status()
            if answer.status >= 400:
                # Callers know the header as `after`.
                content = (await answer.read()).replace(LAST_SEEN.encode(), b"after")
                raise refusal(answer.status, _problem(content))
            blocks = Blocks()
            async for content in answer.content.iter_any():
                for block in blocks.feed(content):
                    yield self._taken(block)

    def _taken(self, block: Block) -> Object | None:
        if block.event == LOST:
            raise refusal(410, json.loads(block.data))
        self.position = block.id or self.position
        return json.loads(block.data) if block.data else None


def _problem(content: bytes) -> Object:
    """A refusal's members; none when it is not a node's, but another server's page."""
    try:
        problem = json.loads(content)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _block(lines: Sequence[str]) -> Block:
    id_: str | None = None
    event = ""
    data: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            id_ = value
        elif name == "event":
            event = value
        elif name == "data":
            data.append(value)
    return Block(id_, event, "\n".join(data))
