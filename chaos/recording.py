"""Clients that write down what they ask and what they are told: one HTTP request, one row.

They repeat nothing by themselves, so that each row says what one node answered. What happened is
`ok`, what certainly did not `fail`; whatever was sent and not answered may have happened, `info`,
and whoever asked it asks no more: another process goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp

from chaos.history import Recorder, Row, Type, successor

# A node gives up after 5 s and says whether it happened; a client waits longer than that.
ANSWER_SECONDS = 8.0
CONNECT_SECONDS = 2.0
INDEX_HEADER = "Quorate-Applied-Index"
UNREACHED = "unreached"
_CERTAINLY_NOT = frozenset({429, 503})


class Request(NamedTuple):
    """What goes over the wire."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] | None = None


@dataclass(slots=True)
class Process:
    """One session: it never wants to be shown what is older than what it has seen."""

    name: str
    index: int = 0

    def retire(self) -> None:
        """Go on as another, who has seen nothing."""
        self.name, self.index = successor(self.name), 0


class RecordingClient:
    """Asks any node, and records. Share one among many processes."""

    def __init__(
        self, recorder: Recorder, urls: Mapping[str, str], session: aiohttp.ClientSession
    ) -> None:
        self._recorder = recorder
        self._urls = urls
        self._session = session
        self._count = 0

    async def ask(self, process: Process, f: str, args: Mapping[str, Any], *, node: str) -> Row:
        """Ask *node* for *f*, and return the row that was recorded."""
        request = _REQUESTS[f](args)
        self._count += 1
        number = self._recorder.invoke(
            process.name, f, {**args, "node": node}, request_id=f"{process.name}-{self._count}"
        )
        type_, value, index = await self._answer(request, f, args, process, self._urls[node])
        row = self._recorder.end(number, type_, value, node=node, index=index)
        if type_ is Type.INFO:
            process.retire()
        elif not args.get("stale"):
            process.index = max(process.index, index)
        return row

    async def _answer(
        self, request: Request, f: str, args: Mapping[str, Any], process: Process, url: str
    ) -> tuple[Type, Any, int]:
        query = dict(request.query or {})
        if request.method == "GET" and process.index and not args.get("stale"):
            query["min_index"] = str(process.index)
        unsure = Type.FAIL if request.method == "GET" else Type.INFO
        try:
            async with self._session.request(
                request.method,
                url + request.path,
                json=request.body,
                params=query,
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS),
            ) as answer:
                status, headers = answer.status, answer.headers
                body = json.loads(await answer.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return Type.FAIL, UNREACHED, 0
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            return unsure, type(error).__name__, 0
        index = int(headers.get(INDEX_HEADER, 0))
        if status < 300:
            return Type.OK, _ANSWERS.get(f, _status)(body, args), index
        if status == 404 and f == "task":
            return Type.OK, {"status": None}, index
        is_certain = status < 500 or status in _CERTAINLY_NOT
        return (Type.FAIL if is_certain else unsure), body.get("code", str(status)), index


def _submit(args: Mapping[str, Any]) -> Request:
    return Request("POST", "/tasks", {name: args[name] for name in _SUBMITTED if name in args})


_SUBMITTED = (
    *("id", "type", "data", "queue", "priority", "idempotency_key", "requires", "max_attempts"),
    *("delay", "timeout", "ttl", "retention"),
)


def _task(args: Mapping[str, Any]) -> Request:
    query = {"consistency": "stale"} if args.get("stale") else None
    return Request("GET", _path(args), query=query)


def _settling(verb: str, *members: str) -> Callable[[Mapping[str, Any]], Request]:
    def request(args: Mapping[str, Any]) -> Request:
        body = {name: args[name] for name in ("lease_token", *members)}
        return Request("POST", f"{_path(args)}/{verb}", body)

    return request


def _path(args: Mapping[str, Any]) -> str:
    return f"/tasks/{quote(args['id'])}"


_REQUESTS: Mapping[str, Callable[[Mapping[str, Any]], Request]] = {
    "submit": _submit,
    "task": _task,
    "cancel": lambda args: Request("DELETE", _path(args)),
    "retry": lambda args: Request("POST", f"{_path(args)}/retry"),
    "complete": _settling("complete", "result"),
    "fail": _settling("fail", "error", "retry"),
    "release": _settling("release"),
    # What a worker asks on its own behalf; `worker` is its session.
    "register": lambda args: Request("POST", "/workers", {"queues": list(args["queues"])}),
    "lease": lambda args: _working(args, "lease", "max", "wait", "request_id"),
    "heartbeat": lambda args: _working(args, "heartbeat", "lease_tokens"),
}


def _working(args: Mapping[str, Any], verb: str, *members: str) -> Request:
    body = {name: args[name] for name in members}
    return Request("POST", f"/workers/{quote(args['worker'])}/{verb}", body)


def _submitted(body: Mapping[str, Any], _args: Mapping[str, Any]) -> dict[str, Any]:
    is_duplicate = body.get("duplicate", False)
    return {"id": body["task_id"], "status": body["status"], "duplicate": is_duplicate}


def _status(body: Mapping[str, Any], args: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": args["id"],
        "status": body["status"],
        "duplicate": body.get("duplicate", False),
        "result": body.get("result", args.get("result")),
    }


def _leased(body: Mapping[str, Any], _args: Mapping[str, Any]) -> dict[str, Any]:
    return {"leases": [[task["id"], task["lease_token"]] for task in body["tasks"]]}


def _told(*members: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]:
    return lambda body, _args: {name: body[name] for name in members}


_ANSWERS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]] = {
    "submit": _submitted,
    "register": _told("worker_id", "heartbeat_seconds"),
    "lease": _leased,
    "heartbeat": _told("cancel", "lost"),
}
