"""The client: calls any gateway of a cluster, and another one when that fails.

Every call may be repeated safely: what it makes has an id before the first try, and what it changes
is named by a lease token. So a lost answer is asked for again, on another node, and never makes two
of one. Objects are plain dicts, as the API's pages describe them; bytes are bytes.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import aiohttp
import msgpack

from cluster.core.commands import Refusal
from cluster.errors import NoQuorum, OutcomeUnknown, QuorateError
from gateway.client_errors import ClusterFull, WorkerUnknown, refusal
from gateway.encoding import Format
from gateway.ids import new_id

Object = dict[str, Any]

PATIENCE_SECONDS = 30.0  # An election, a restart and a slow disk together take less.
ANSWER_SECONDS = 10.0  # A node gives up on its own after 5 and says whether it happened.
CONNECT_SECONDS = 3.0
_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)  # Between rounds of all URLs; the last one stays.
_UNREACHED = 0
_LOST = 504
_UNKNOWN = frozenset({502, 504})
_FULL = 429
_TRIED_AGAIN = frozenset({_UNREACHED, _FULL, 503, *_UNKNOWN})


class _Request(NamedTuple):
    """What every node is asked alike."""

    method: str
    path: str
    body: Mapping[str, object] | None
    query: Mapping[str, str] | None
    answer_seconds: float

    def options(self) -> dict[str, Any]:
        """The session's keyword arguments."""
        timeout = aiohttp.ClientTimeout(total=self.answer_seconds, sock_connect=CONNECT_SECONDS)
        options: dict[str, Any] = {"params": self.query, "timeout": timeout}
        if self.body is not None:
            options["data"] = io.BytesIO(msgpack.packb(self.body))
            options["headers"] = {"Content-Type": Format.MSGPACK.value}
        return options


class Client:
    """A session with a cluster. Use it as an async context manager, or call `close`."""

    def __init__(
        self, urls: str | Iterable[str], *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        given = urls.split(",") if isinstance(urls, str) else urls
        self._urls = [url.strip().rstrip("/") for url in given]
        self._patience_seconds = patience_seconds
        self._current = 0  # The URL that answered last is asked first.
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # Tasks.

    async def submit(self, type_: str, data: object = None, **options: object) -> Object:
        """Submit a task and return it as it stands; *options* are the API's own fields."""
        body = {"id": new_id(), "type": type_, "data": data, **options}
        return await self._call("POST", "/tasks", body)

    async def task(self, task_id: str, *, wait: float = 0) -> Object:
        """One task; with *wait*, in seconds, once it has ended or the time is up."""
        query = {"wait": f"{wait:.3f}"} if wait else {}
        return await self._call("GET", f"/tasks/{quote(task_id)}", query=query, wait=wait)

    async def tasks(self, **filters: str | int) -> Object:
        """A page of tasks, newest first; pass its `next` as *cursor* for the one after it."""
        query = {name: str(value) for name, value in filters.items()}
        return await self._call("GET", "/tasks", query=query)

    async def cancel(self, task_id: str) -> Object:
        """Cancel a task that waits, or ask its worker to."""
        return await self._call("DELETE", f"/tasks/{quote(task_id)}")

    async def workers(self) -> list[Object]:
        """Every worker's session."""
        listed: list[Object] = []
        query: dict[str, str] = {}
        while True:
            page = await self._call("GET", "/workers", query=query)
            listed += page["workers"]
            if page["next"] is None:
                return listed
            query = {"cursor": page["next"]}

    async def health(self) -> Object:
        """One node's health page; `status` says "unhealthy" when it has no quorum."""
        return await self._call("GET", "/health", accepts_503=True)

    async def cluster(self) -> Object:
        """One node's view of the cluster."""
        return await self._call("GET", "/cluster")

    # A worker's calls.

    async def register(self, **session: object) -> Object:
        """Begin a session; *session* may name queues, types, tags, slots and a name."""
        return await self._call("POST", "/workers", {"id": new_id(), **session})

    async def lease(self, worker_id: str, *, slots: int = 1, wait: float = 0) -> list[Object]:
        """Up to *slots* tasks, waited for; none when the time, in seconds, is up."""
        body = {"max": slots, "wait": wait, "request_id": new_id()}
        path = f"/workers/{quote(worker_id)}/lease"
        leased: list[Object] = (await self._call("POST", path, body, wait=wait))["tasks"]
        return leased

    async def heartbeat(self, worker_id: str, lease_tokens: Iterable[int]) -> Object:
        """Keep the session and the leases named; returns what to cancel and what was lost."""
        body = {"lease_tokens": list(lease_tokens)}
        return await self._call("POST", f"/workers/{quote(worker_id)}/heartbeat", body)

    async def complete(self, task_id: str, lease_token: int, result: object = None) -> Object:
        """Report a run's result."""
        return await self._settle(task_id, "complete", lease_token, result=result)

    async def fail(
        self, task_id: str, lease_token: int, error: str, *, retry: bool = True
    ) -> Object:
        """Report a run's failure; *retry* false makes it the last one."""
        return await self._settle(task_id, "fail", lease_token, error=error, retry=retry)

    async def release(self, task_id: str, lease_token: int) -> Object:
        """Hand a task back unfinished, at no cost to it."""
        return await self._settle(task_id, "release", lease_token)

    async def progress(self, task_id: str, lease_token: int, progress: object) -> Object:
        """Report how far a run is."""
        return await self._settle(task_id, "progress", lease_token, progress=progress)

    async def leave(self, worker_id: str) -> None:
        """End the session; a session that is over already is as good."""
        try:
            await self._call("DELETE", f"/workers/{quote(worker_id)}")
        except WorkerUnknown:
            return

    async def _settle(self, task_id: str, verb: str, lease_token: int, **members: object) -> Object:
        body = {"lease_token": lease_token, **members}
        return await self._call("POST", f"/tasks/{quote(task_id)}/{verb}", body)

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        wait: float = 0,
        accepts_503: bool = False,
    ) -> Object:
        """Ask one node after the other until one answers.

        Raises:
            RequestRefused: the answer was no.
            ClusterFull: so it was, until patience was at its end.
            NoQuorum: none answered in time, and it did not happen.
            OutcomeUnknown: none answered in time, and it may have happened.
        """
        request = _Request(method, path, body, query, wait + ANSWER_SECONDS)
        until = asyncio.get_running_loop().time() + self._patience_seconds + wait
        may_have_happened = False
        for tries in itertools.count(1):
            url = self._urls[self._current]
            status, answer = await self._ask(url, request)
            if 0 < status < 400 or (status == 503 and accepts_503):
                return answer
            if status not in _TRIED_AGAIN:
                raise refusal(status, answer)
            may_have_happened |= status in _UNKNOWN
            self._current = (self._current + 1) % len(self._urls)
            if not await self._pause(tries, until):
                trouble = f"{url}: {answer.get('detail', f'HTTP {status}')}"
                raise self._gave_up(answer, trouble, may_have_happened=may_have_happened)
        raise AssertionError("unreachable: the count has no end")

    async def _ask(self, url: str, request: _Request) -> tuple[int, Object]:
        """One try's status and object; 0 when nobody was reached, 504 when the answer was lost."""
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"Accept": Format.MSGPACK.value})
        try:
            async with self._session.request(
                request.method, url + request.path, **request.options()
            ) as answer:
                return answer.status, _read(answer.content_type, await answer.read())
        except aiohttp.ClientConnectorError as error:
            return _UNREACHED, {"detail": str(error)}
        except aiohttp.ConnectionTimeoutError:
            return _UNREACHED, {"detail": f"no connection in {CONNECT_SECONDS:g} seconds"}
        except (aiohttp.ClientError, TimeoutError) as error:
            return _LOST, {"detail": f"the answer was lost: {type(error).__name__} {error}"}

    async def _pause(self, tries: int, until: float) -> bool:
        """Wait a little after each round of all URLs; False when patience is at its end."""
        rounds, place = divmod(tries, len(self._urls))
        pause = 0.0 if place else _PAUSES_SECONDS[min(rounds, len(_PAUSES_SECONDS)) - 1]
        if asyncio.get_running_loop().time() + pause >= until:
            return False
        await asyncio.sleep(pause)
        return True

    def _gave_up(self, answer: Object, trouble: str, *, may_have_happened: bool) -> QuorateError:
        """What to raise after the last try, which brought *answer*."""
        said = f"no gateway of {', '.join(self._urls)} answered in time; the last: {trouble}"
        if may_have_happened:
            return OutcomeUnknown(said)
        if answer.get("code") == Refusal.CLUSTER_FULL:
            return ClusterFull(_FULL, answer)
        return NoQuorum(said)


def _read(content_type: str, content: bytes) -> Object:
    """An answer's object; what is no object (a proxy's page) reads as an empty one."""
    try:
        value = msgpack.unpackb(content) if content_type == Format.MSGPACK else json.loads(content)
    except (ValueError, msgpack.UnpackException):
        return {}
    return value if isinstance(value, dict) else {}
