"""Calls over plain HTTP, one request each."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import aiohttp
import msgpack

from gateway.encoding import Format
from gateway.routes import ROUTES

CONNECT_SECONDS = 3.0
UNREACHED = 0
LOST = 504

_ROUTES = {route.name: route for route in ROUTES}


class HttpCalls:
    """The requests of one client."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(
        self, url: str, name: str, body: Mapping[str, object], *, answer_seconds: float
    ) -> tuple[int, dict[str, Any]]:
        """One try's status and object; 0 when nobody was reached, 504 when the answer was lost."""
        method, path, options = _request(name, body)
        timeout = aiohttp.ClientTimeout(total=answer_seconds, sock_connect=CONNECT_SECONDS)
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"Accept": Format.MSGPACK.value})
        try:
            async with self._session.request(
                method, url + path, timeout=timeout, **options
            ) as answer:
                return answer.status, _read(answer.content_type, await answer.read())
        except aiohttp.ClientConnectorError as error:
            return UNREACHED, {"detail": str(error)}
        except aiohttp.ConnectionTimeoutError:
            return UNREACHED, {"detail": f"no connection in {CONNECT_SECONDS:g} seconds"}
        except (aiohttp.ClientError, TimeoutError) as error:
            return LOST, {"detail": f"the answer was lost: {type(error).__name__} {error}"}


def _request(name: str, body: Mapping[str, object]) -> tuple[str, str, dict[str, Any]]:
    route = _ROUTES[name]
    left = dict(body)
    path = re.sub(r"\{(\w+)\}", lambda member: quote(str(left.pop(member[1])), safe=""), route.path)
    if route.method == "POST":
        content = io.BytesIO(msgpack.packb(left))
        return "POST", path, {"data": content, "headers": {"Content-Type": Format.MSGPACK.value}}
    return route.method, path, {"params": {name: str(value) for name, value in left.items()}}


def _read(content_type: str, content: bytes) -> dict[str, Any]:
    """An answer's object; what is no object (a proxy's page) reads as an empty one."""
    try:
        value = msgpack.unpackb(content) if content_type == Format.MSGPACK else json.loads(content)
    except (ValueError, msgpack.UnpackException):
        return {}
    return value if isinstance(value, dict) else {}
