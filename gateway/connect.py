"""`GET /connect`: the WebSocket of clients and workers, many calls in flight on each.

A shell: frames come in as calls of the same handlers that HTTP's routes have, replies go out
coalesced. A peer that breaks the protocol or takes no answers is cut off; it harms nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

from aiohttp import WSCloseCode, WSMsgType, web

from gateway import bulk, frames, problems, schema
from gateway.aside import aside
from gateway.bodies import Arriving
from gateway.calls import Body, Call, Reply
from gateway.encoding import Format
from gateway.exchange import CONTENT_BYTES_MAX
from gateway.frames import (
    FRAME_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    PROTOCOL,
    Called,
    Cancelled,
    Misframed,
    Told,
    Unreadable,
)
from gateway.listening import arriving, can_upgrade, receive
from gateway.measures import OTHER
from gateway.named_calls import OPERATIONS, Asked, Operation, operation_of
from gateway.outbox import Outbox
from gateway.problems import Problem
from gateway.service import Service
from gateway.writing import INLINE_BYTES_MAX, written

T = TypeVar("T")

CALLS_MAX = 1_000  # In flight on one connection.
ALIVE_SECONDS = 20.0  # Between pings; a peer that leaves one unanswered for half of it is gone.
CALLED = frozenset({"offer", *OPERATIONS})
STALL_SECONDS = 30.0  # A peer that takes nothing for so long is cut off.
LEAVE_SECONDS = 8.0  # What calls in flight may take when the node stops.
LINGER_SECONDS = 0.5  # Then the peer may close; what it sends meanwhile is refused, not lost.
CLOSE_SECONDS = 2.0  # What the other half of a good-bye may take.
STOPPING = "the node is stopping: ask another"

_PEERS_DOING = (ConnectionError, TimeoutError)  # It hung up, or took nothing.

_TOO_MANY = Problem("overloaded", f"a connection has at most {CALLS_MAX:,} calls in flight")
_TOO_MANY_PACKED = frames.packed(_TOO_MANY.body())  # Once: whoever floods us is refused often.

_log = logging.getLogger(__name__)


class FrameCall(Call):
    """A call that came as a frame."""

    __slots__ = ("_asked", "_is_large")

    def __init__(self, service: Service, asked: Asked, *, is_large: bool) -> None:
        super().__init__(service, path=asked.path, headers=asked.headers)
        self._asked = asked
        self._is_large = is_large

    @property
    def query(self) -> Mapping[str, object]:
        return self._asked.query

    async def parse(
        self, parse: Callable[[Body], T], *, empty: object | None = None, many: str | None = None
    ) -> T:
        del many  # What a frame may hold does not depend on it.
        body = Body(self._asked.body or empty or {}, Format.MSGPACK)
        if self._is_large:
            return await aside(parse, body)
        return parse(body)


async def connect(request: web.Request, service: Service) -> web.WebSocketResponse:
    """Serve one connection until it ends."""
    socket = web.WebSocketResponse(
        protocols=(PROTOCOL,),
        heartbeat=ALIVE_SECONDS,
        max_msg_size=MESSAGE_BYTES_MAX,
        timeout=CLOSE_SECONDS,
        compress=False,  # A small message may unfold to anything.
        autoping=False,
    )
    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    if PROTOCOL not in (protocol.strip() for protocol in offered) or not (
        can_upgrade(request, socket)
    ):
        raise Problem(
            "upgrade_required", f"/connect speaks WebSocket, of its subprotocols {PROTOCOL} alone"
        )
    await socket.prepare(request)
    connection = ServedConnection(service, request, socket)
    service.peers.add(connection)
    try:
        await connection.serve()
    finally:
        service.peers.discard(connection)
    return socket


class ServedConnection:
    """One peer: its calls in flight, and what is on its way to it."""

    def __init__(
        self, service: Service, request: web.Request, socket: web.WebSocketResponse
    ) -> None:
        self._service = service
        self._request = request
        self._socket = socket
        self._outbox = Outbox()
        self._loop = asyncio.get_running_loop()
        self._in_flight: dict[int, asyncio.Task[None]] = {}
        self._taken_back: set[asyncio.Task[None]] = set()  # They end soon.
        self._is_leaving = False
        self._ended = asyncio.Event()
        self._offer = Operation(self._take_offer, ("id",), has_body=True)

    async def serve(self) -> None:
        """Take messages and answer their calls, until either end closes."""
        with arriving(self._request) as counted:
            await self._serve(counted)

    async def _serve(self, counted: Arriving) -> None:
        reading = asyncio.create_task(self._read(counted))
        writing = asyncio.create_task(self._outbox.run(self._send))
        refused = counted.refused
        try:
            await asyncio.wait((reading, writing, refused), return_when=asyncio.FIRST_COMPLETED)
            if refused.done():
                await self._refuse(refused.result())
        finally:
            self._ended.set()
            self._service.sessions.end(self._outbox)
            tasks = (reading, writing, *self._in_flight.values(), *self._taken_back)
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception) and not isinstance(ended, _PEERS_DOING):
                    _log.error("a connection failed", exc_info=ended)

    async def leave(self) -> None:
        """The node stops: let the peer go elsewhere, answer what is in flight, close."""
        self._is_leaving = True
        self._outbox.put(frames.packed_push("leaving"))
        answering = asyncio.create_task(self._answer_all())
        ended = asyncio.create_task(self._ended.wait())  # The peer may go first.
        try:
            await asyncio.wait(
                (answering, ended), timeout=LEAVE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            await asyncio.wait((ended,), timeout=LINGER_SECONDS)
        finally:
            answering.cancel()
            ended.cancel()
            await asyncio.gather(answering, ended, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._socket.close(
                    code=WSCloseCode.GOING_AWAY, message=b"the node is stopping", drain=False
                )
        except TimeoutError:
            self._abort()

    async def _answer_all(self) -> None:
        """Wait until what is in flight is answered, and the transport has the answers."""
        await asyncio.gather(*self._in_flight.values(), return_exceptions=True)
        await self._outbox.flushed()

    async def _refuse(self, problem: Problem) -> None:
        """Take no more of what arrives."""
        self._service.measures.problem(problem.code)
        code = WSCloseCode.TRY_AGAIN_LATER
        await self._socket.close(code=code, message=problem.detail.encode(), drain=False)

    async def _read(self, counted: Arriving) -> None:
        try:
            while (message := await receive(self._socket, counted)).type is WSMsgType.BINARY:
                size = counted.size
                await self._take(message.data)
                counted.taken(size)
                await self._outbox.room()
                await asyncio.sleep(0)  # One message a turn of the loop: others have theirs.
            if message.type is WSMsgType.TEXT:
                raise frames.not_binary()
        except Misframed as error:
            await self._socket.close(code=error.close_code, message=error.reason)

    async def _take(self, message: bytes) -> None:
        """Begin the calls of a message; those of a small one all in this turn of the loop."""
        if len(message) <= INLINE_BYTES_MAX:
            for called in frames.read_calls(message):
                self._begin(called)
            return
        for frame in await aside(frames.split, message):
            await self._take_frame(frame)

    async def _take_frame(self, frame: bytes) -> None:
        if len(frame) <= INLINE_BYTES_MAX:
            self._begin(frames.read_call(frame))
            return
        number = frames.call_number(frame)
        try:
            if len(frame) > CONTENT_BYTES_MAX:  # More than one task's: there may be many.
                await aside(bulk.refuse_too_many_packed, frame)
        except Problem as problem:
            self._reply_problem(number, problem)
        else:
            self._begin(await aside(frames.read_call, frame), is_large=True)

    def _begin(self, called: Told, *, is_large: bool = False) -> None:
        number = called.number
        if isinstance(called, Cancelled):
            self._take_back(number)
            return
        if isinstance(called, Unreadable):
            self._reply_problem(number, Problem("undecodable", called.reason))
            return
        if number in self._in_flight:
            raise frames.number_in_use(number)
        if self._is_leaving:
            self._reply_problem(number, Problem("stopping", STOPPING))
            return
        if len(self._in_flight) >= CALLS_MAX:
            self._service.measures.problem(_TOO_MANY.code)
            self._outbox.put(frames.packed_reply(number, _TOO_MANY.status, _TOO_MANY_PACKED, 0))
            return
        task = asyncio.create_task(self._answer(called, is_large=is_large))
        self._in_flight[number] = task

    def _take_back(self, number: int) -> None:
        """End a call that nobody waits for; it has its answer already if it is not in flight."""
        task = self._in_flight.pop(number, None)
        if task is not None:
            task.cancel()
            self._taken_back.add(task)
            task.add_done_callback(self._taken_back.discard)

    async def _answer(self, called: Called, *, is_large: bool) -> None:
        started = self._loop.time()
        try:
            self._outbox.put(await self._reply(called, is_large=is_large))
        except Exception as error:  # noqa: BLE001 - The edge is where a bug must become an answer.
            what = f"the call {called.name[:64]!r}"
            self._reply_problem(called.number, problems.of_failure(error, what, _log))
        finally:
            if self._in_flight.get(called.number) is asyncio.current_task():
                del self._in_flight[called.number]
            name = called.name if called.name in CALLED else OTHER
            self._service.measures.call(name, self._loop.time() - started)

    async def _reply(self, called: Called, *, is_large: bool) -> bytes:
        operation = self._offer if called.name == "offer" else operation_of(called.name)
        call = FrameCall(self._service, operation.asked(called), is_large=is_large)
        reply = await operation.handler(call)
        if not self._outbox.has_room:
            await self._outbox.room()
        value = await written(reply.value, Format.MSGPACK)
        if len(value) > FRAME_BYTES_MAX:
            raise Problem("too_large", f"the answer takes {len(value):,} bytes: ask for less")
        return frames.packed_reply(called.number, reply.status, value, _index(reply.headers))

    async def _take_offer(self, call: Call) -> Reply:
        """Serve a worker through this connection from now on; no route does that."""
        worker_id = call.path_id("worker_unknown")
        offering = await call.parse(lambda body: schema.offering(body.value))
        index = await self._service.sessions.offer(worker_id, offering, self._outbox)
        return Reply({"success": True}, headers={"Quorate-Applied-Index": str(index)})

    def _reply_problem(self, number: int, problem: Problem) -> None:
        self._service.measures.problem(problem.code)
        value = frames.packed(problem.body())
        self._outbox.put(
            frames.packed_reply(number, problem.status, value, _index(problem.headers))
        )

    async def _send(self, message: bytes) -> None:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._socket.send_bytes(message)
        except TimeoutError:
            self._abort()
            raise

    def _abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()


def _index(headers: Mapping[str, str]) -> int:
    return int(headers.get("Quorate-Applied-Index", 0))
