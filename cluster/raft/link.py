"""One connection between two nodes: greeted, proved, then frames both ways.

Bytes are handed over as they arrive and written as they are given; what they mean is not known
here, nor which connections there should be: that is the mesh's (`transport.py`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any, Protocol, cast

from cluster.crashpoints import reach
from cluster.errors import QuorateError, WireError
from cluster.raft.security import Security
from cluster.raft.wire import (
    FRAME_BYTES_MAX,
    Channel,
    FrameReader,
    Greeting,
    pack_frame,
    pack_greeting,
    parse_greeting,
)

logger = logging.getLogger(__name__)

WRITE_BUFFER_BYTES_MAX = 8 * 1024 * 1024  # Beyond it a peer gets signs of life only.


class Receiver(Protocol):
    """Whoever is told of what happens on the links. Called on the loop."""

    def link_up(self, link: Link) -> None:
        """Both sides have greeted; the peer can be written to."""

    def link_down(self, link: Link) -> None:
        """The link is gone, with whatever was in flight on it."""

    def frame_received(self, link: Link, channel: Channel, content: Any) -> None:
        """One whole frame, in the order it was sent.

        Raises:
            WireError: it makes no sense; the link is dropped.
        """


class Owner(Protocol):
    """Whose a link is: who says whether its peer is wanted, and is told what becomes of it."""

    security: Security
    receiver: Receiver

    def greeting(self) -> Greeting:
        """What this node says of itself on a new connection."""

    def opened(self, link: Link) -> None:
        """The connection is there; nobody has greeted yet."""

    def check_stranger(self, greeting: Greeting) -> None:
        """Let in whom the owner may want to talk to.

        Raises:
            WireError: this is nobody of those.
        """

    def check_need(self, peer: str, *, is_dialler: bool) -> None:
        """See whether one more link to *peer* is of use.

        Raises:
            WireError: it is not.
        """

    def greeted(self, link: Link) -> None:
        """Both sides have greeted and proved themselves."""

    def closed(self, link: Link) -> None:
        """The connection is gone."""


class Link(asyncio.Protocol):
    """One connection. It belongs to `peer` once both sides have greeted and proved themselves.

    The dialler greets; the acceptor greets and proves; the dialler proves. Whoever has checked the
    other's proof takes the link as up.
    """

    def __init__(self, owner: Owner, *, expects: str | None) -> None:
        self.peer = ""
        self.greeting: Greeting | None = None
        self.opened_at = self.heard_at = 0.0
        self._owner = owner
        self._expects = expects  # Whom we dialled; None when they dialled us.
        self._mine = owner.greeting()
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()

    # What the owner does.

    def write(self, frame: bytes) -> None:
        """Send *frame* after all that was written before; into nothing if the link is gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    @property
    def is_dialled(self) -> bool:
        """Whether this node began it."""
        return self._expects is not None

    @property
    def is_open(self) -> bool:
        """Whether what is written now may still arrive."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_congested(self) -> bool:
        """Whether the peer takes less than it is given."""
        transport = self._transport
        return transport is None or transport.get_write_buffer_size() > WRITE_BUFFER_BYTES_MAX

    def close(self) -> None:
        """Close once what was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        await asyncio.shield(self._closed)

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.opened_at = self.heard_at = self._loop.time()
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._owner.opened(self)
        if self._expects is not None:
            reach("transport.before_greeting")
            self.write(pack_greeting(self._mine))

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        try:
            for channel, content in self._reader.feed(data):
                self._take(channel, content)
        except QuorateError as error:
            logger.warning("dropping the link to %s: %s", self.peer or "a stranger", error)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if not self._closed.done():
            self._closed.set_result(None)
        self._owner.closed(self)

    def _take(self, channel: Channel, content: Any) -> None:
        if self.peer:
            if channel is not Channel.PING:
                self._owner.receiver.frame_received(self, channel, content)
        elif self.greeting is None:
            self._take_greeting(channel, content)
        else:
            self._take_proof(channel, content)

    def _take_greeting(self, channel: Channel, content: Any) -> None:
        if channel is not Channel.GREETING:
            raise WireError(f"a frame of channel {channel.name} came before the greeting")
        greeting = parse_greeting(content)
        self._owner.check_stranger(greeting)
        if self._expects not in (None, greeting.node_id):
            raise WireError(f"dialled {self._expects}, but {greeting.node_id} answered")
        assert self._transport is not None
        certificate = self._transport.get_extra_info("peercert")
        self._owner.security.check_name(certificate, greeting.node_id)
        self.greeting = greeting
        if self._expects is None:
            self.write(pack_greeting(self._mine))
            self._prove(b"acceptor")

    def _take_proof(self, channel: Channel, content: Any) -> None:
        if channel is not Channel.PROOF or not isinstance(content, bytes):
            raise WireError(f"a frame of channel {channel.name} came before the proof")
        is_dialler = self._expects is not None
        side = b"acceptor" if is_dialler else b"dialler"
        self._owner.security.check(content, side, *self._greetings())
        if is_dialler:
            self._prove(b"dialler")
        assert self.greeting is not None
        self._owner.check_need(self.greeting.node_id, is_dialler=is_dialler)
        self._reader.bytes_max = FRAME_BYTES_MAX
        self.peer = self.greeting.node_id
        self._owner.greeted(self)

    def _prove(self, side: bytes) -> None:
        reach("transport.before_proof")
        proof = self._owner.security.proof(side, *self._greetings())
        self.write(pack_frame(Channel.PROOF, proof))

    def _greetings(self) -> tuple[bytes, bytes]:
        """The dialler's and the acceptor's, as they were sent."""
        assert self.greeting is not None
        mine, theirs = pack_greeting(self._mine), pack_greeting(self.greeting)
        return (mine, theirs) if self._expects is not None else (theirs, mine)
