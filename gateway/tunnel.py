"""A WebSocket through the proxy: messages pass both ways, and one side's end is the other's."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web
from yarl import URL

from gateway import listening
from gateway.bodies import Arriving
from gateway.frames import MESSAGE_BYTES_MAX, PATH
from gateway.problems import Problem
from gateway.upstreams import Upstream, Upstreams, target_of

ALIVE_SECONDS = 20.0  # Between pings, on either side.
_UNSENDABLE = frozenset({1005, 1006, 1015})  # They say that no code came (RFC 6455, §7.4.1).

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


def is_upgrade(request: web.Request) -> bool:
    """Whether the request asks for a WebSocket where there is one."""
    return request.path == PATH and request.headers.get("Upgrade", "").lower() == "websocket"


async def tunnel(
    request: web.Request, upstreams: Upstreams, session: aiohttp.ClientSession
) -> web.StreamResponse:
    """Connect to a node that takes it, and pass messages until either side ends.

    Raises:
        Problem: no node could be connected to, or none takes it.
    """
    if not listening.can_upgrade(request, web.WebSocketResponse(protocols=_offered(request))):
        raise Problem("upgrade_required", f"{PATH} speaks WebSocket, which this is not")
    for upstream in upstreams.in_turn():
        try:
            node = await _connect(request, upstream, session)
        except aiohttp.WSServerHandshakeError as refusal:
            if refusal.status == 503:
                continue  # It is starting.
            raise Problem(
                "upgrade_required", f"{upstream.url} takes no such WebSocket: {refusal.status}"
            ) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            upstream.unreached(error)
            continue
        upstreams.prefer(upstream)
        try:
            return await _bridge(request, node, upstream)
        finally:
            await node.close()
    raise Problem("no_quorum", f"no node could be connected to, of {upstreams}")


async def _connect(
    request: web.Request, upstream: Upstream, session: aiohttp.ClientSession
) -> aiohttp.ClientWebSocketResponse:
    headers = {
        name: value
        for name, value in request.headers.items()
        if name.lower() in {"authorization", "traceparent"}
    }
    async with upstream.lent():
        return await session.ws_connect(
            URL(upstream.url + target_of(request), encoded=True),
            protocols=_offered(request),
            headers=headers,
            heartbeat=ALIVE_SECONDS,
            max_msg_size=MESSAGE_BYTES_MAX,
        )


def _offered(request: web.Request) -> tuple[str, ...]:
    """The subprotocols that the client speaks."""
    header = request.headers.get("Sec-WebSocket-Protocol", "")
    return tuple(filter(None, (protocol.strip() for protocol in header.split(","))))


async def _bridge(
    request: web.Request, node: aiohttp.ClientWebSocketResponse, upstream: Upstream
) -> web.WebSocketResponse:
    client = web.WebSocketResponse(
        protocols=(node.protocol,) if node.protocol else (),
        heartbeat=ALIVE_SECONDS,
        max_msg_size=MESSAGE_BYTES_MAX,
        compress=False,
    )
    await client.prepare(request)
    with listening.arriving(request) as arriving:
        passing = asyncio.create_task(_pass(client, node, arriving))
        refusing = asyncio.create_task(_refuse(client, arriving))
        try:
            async with upstream.lent(is_stream=True):
                await _pass(node, client)
        except TimeoutError:
            gone = b"the node is gone: connect again"
            await client.close(code=WSCloseCode.GOING_AWAY, message=gone)
        finally:
            passing.cancel()
            refusing.cancel()
            await asyncio.gather(passing, refusing, return_exceptions=True)
    return client


async def _refuse(client: web.WebSocketResponse, arriving: Arriving) -> None:
    """Close once no more of what arrives can be taken."""
    problem = await arriving.refused
    code = WSCloseCode.TRY_AGAIN_LATER
    await client.close(code=code, message=problem.detail.encode(), drain=False)


async def _pass(source: Socket, target: Socket, arriving: Arriving | None = None) -> None:
    """Pass what *source* says until it ends; *target* then ends with the same words."""
    while True:
        message = await source.receive()
        if arriving is not None:
            arriving.taken(arriving.size)
        if message.type is WSMsgType.BINARY:
            await target.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await target.send_str(message.data)
        else:
            break
    code = source.close_code
    if code is None or code in _UNSENDABLE:
        code = WSCloseCode.GOING_AWAY
    reason = message.extra if message.type is WSMsgType.CLOSE and message.extra else ""
    await target.close(code=code, message=reason.encode()[:123])
