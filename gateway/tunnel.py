"""A WebSocket through the proxy: messages pass both ways, and one side's end is the other's."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web
from yarl import URL

from gateway.bodies import Arriving
from gateway.frames import MESSAGE_BYTES_MAX, PATH
from gateway.listening import arriving, can_upgrade, receive
from gateway.problems import Problem
from gateway.upstreams import Upstream, Upstreams, target_of

ALIVE_SECONDS = 20.0  # Between pings, on either side.
_UNSENDABLE = frozenset({1005, 1006, 1015})  # They say that no code came (RFC 6455, §7.4.1).
_SAID = (WSMsgType.BINARY, WSMsgType.TEXT)

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
    if not can_upgrade(request, web.WebSocketResponse(protocols=_offered(request))):
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
        autoping=False,
    )
    await client.prepare(request)
    with arriving(request) as counted:
        passing = asyncio.create_task(_pass_on(client, node, counted))
        refusing = asyncio.create_task(_refuse(client, counted))
        try:
            async with upstream.lent(is_stream=True):
                await _pass_back(node, client)
        except TimeoutError:
            gone = b"the node is gone: connect again"
            await client.close(code=WSCloseCode.GOING_AWAY, message=gone)
        finally:
            passing.cancel()
            refusing.cancel()
            await asyncio.gather(passing, refusing, return_exceptions=True)
    return client


async def _refuse(client: web.WebSocketResponse, counted: Arriving) -> None:
    """Close once no more of what arrives can be taken."""
    problem = await counted.refused
    code = WSCloseCode.TRY_AGAIN_LATER
    await client.close(code=code, message=problem.detail.encode(), drain=False)


async def _pass_on(
    client: web.WebSocketResponse, node: aiohttp.ClientWebSocketResponse, counted: Arriving
) -> None:
    """Pass what the client says until it ends; the node then hears the same end."""
    message = await receive(client, counted)
    while message.type in _SAID:
        size = counted.size
        await _send(node, message)
        counted.taken(size)
        message = await receive(client, counted)
    await _end(client, node, message)


async def _pass_back(node: aiohttp.ClientWebSocketResponse, client: web.WebSocketResponse) -> None:
    """Pass what the node says until it ends; the client then hears the same end."""
    while (message := await node.receive()).type in _SAID:
        await _send(client, message)
    await _end(node, client, message)


async def _send(target: Socket, message: aiohttp.WSMessage) -> None:
    if message.type is WSMsgType.BINARY:
        await target.send_bytes(message.data)
    else:
        await target.send_str(message.data)


async def _end(source: Socket, target: Socket, message: aiohttp.WSMessage) -> None:
    code = source.close_code
    if code is None or code in _UNSENDABLE:
        code = WSCloseCode.GOING_AWAY
    reason = message.extra if message.type is WSMsgType.CLOSE and message.extra else ""
    await target.close(code=code, message=reason.encode()[:123])
