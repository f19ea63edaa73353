"""Connections to the other nodes: one for each pair, dialled by the lower id, greeted, kept alive.

A node that was away does not know whoever was added since, so it cannot dial them, lower id or not.
Therefore the higher id dials too, once it has missed the other for PATIENCE_SECONDS, and a greeter
that names this very cluster is taken even by one who does not know it: it may be the leader.

Bytes are handed over as they arrive and written as they are given; what they mean is not known
here. A link that says nothing for SILENCE_SECONDS is dropped and dialled again, because TCP's own
retransmission would sleep through the end of a partition (RFC 6298: the timeout doubles each time).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
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

SILENCE_SECONDS = 2.0
PING_SECONDS = 0.5
DIAL_TIMEOUT_SECONDS = 1.0
REDIAL_SECONDS = 0.1
PATIENCE_SECONDS = 1.0  # How long the lower id is left to dial.
WRITE_BUFFER_BYTES_MAX = 8 * 1024 * 1024  # Beyond it a peer gets signs of life only.

_PING = pack_frame(Channel.PING, None)


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


def split_address(address: str) -> tuple[str, int]:
    """`host:port` as a pair; an IPv6 host stands in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


class Mesh:
    """This node's links to every other member."""

    def __init__(
        self,
        *,
        greeting: Greeting,
        bind: str,
        receiver: Receiver,
        security: Security,
        nonce: Callable[[], str],
    ) -> None:
        self._greeting = greeting
        self.security = security
        self._nonce = nonce
        self.receiver = receiver
        self.cluster_id = ""  # Empty until this node belongs to a cluster that has formed.
        self.links: dict[str, Link] = {}
        self._peers: dict[str, str] = {}
        self._bind = bind
        self._diallers: dict[str, asyncio.Task[None]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._strangers: dict[Link, None] = {}  # Not yet greeted, in the order they came.
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Bind, then see to it that there is a link to every peer.

        Raises:
            OSError: the address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        host, port = split_address(self._bind)
        self._server = await loop.create_server(
            lambda: Link(self, expects=None), host, port, ssl=self.security.server_tls
        )
        self._keeper = loop.create_task(self._keep_alive())
        self.set_peers(self._peers)

    async def stop(self) -> None:
        """Close every link and the listener."""
        tasks = [*self._diallers.values(), *([self._keeper] if self._keeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for link in [*self.links.values(), *self._strangers]:
            link.close()

    def set_peers(self, peers: Mapping[str, str]) -> None:
        """Keep links to these ids, at these addresses, and to no others."""
        me = self._greeting.node_id
        changed = {peer for peer in self._peers if peers.get(peer) != self._peers[peer]}
        self._peers = {peer: address for peer, address in peers.items() if peer != me}
        for peer in sorted(changed):
            if peer in self._diallers:
                self._diallers.pop(peer).cancel()
            if peer not in self._peers and peer in self.links:
                self.links[peer].abort()
        if self._keeper is None:
            return  # Not started yet.
        for peer in sorted(self._peers):
            if peer not in self._diallers:
                task = asyncio.get_running_loop().create_task(self._keep_dialling(peer))
                self._diallers[peer] = task

    def greeting(self) -> Greeting:
        """What this node says of itself on a new connection."""
        return self._greeting._replace(cluster_id=self.cluster_id, nonce=self._nonce())

    def check_stranger(self, greeting: Greeting) -> None:
        """Let in whoever this node knows, and whoever belongs to its cluster without its knowing.

        Raises:
            WireError: it is neither, or of another cluster.
        """
        peer, theirs, ours = greeting.node_id, greeting.cluster_id, self.cluster_id
        if theirs and ours and theirs != ours:
            raise WireError(f"{peer} is of cluster {theirs}, not {ours}")
        is_ours = bool(ours) and theirs == ours and peer != self._greeting.node_id
        if peer not in self._peers and not is_ours:
            raise WireError(f"{peer!r} is not a member of this cluster")

    def check_need(self, peer: str, *, is_dialler: bool) -> None:
        """Of two links at once, both sides keep the one that the lower id dialled.

        Raises:
            WireError: the higher id dialled, and there is a link already.
        """
        is_lower = self._greeting.node_id < peer
        if peer in self.links and is_dialler is not is_lower:
            raise WireError(f"there is a link to {peer} already")

    def greeted(self, link: Link) -> None:
        """Take *link* as the one to its peer, in the place of an older one."""
        self._strangers.pop(link, None)
        older = self.links.get(link.peer)
        if older is not None:
            older.abort()
            self._lost(older)
        reach("transport.before_link_up")
        self.links[link.peer] = link
        self.receiver.link_up(link)

    def opened(self, link: Link) -> None:
        """Remember a link that has yet to greet."""
        self._strangers[link] = None

    def closed(self, link: Link) -> None:
        """Forget *link*."""
        self._strangers.pop(link, None)
        self._lost(link)

    def _lost(self, link: Link) -> None:
        if self.links.get(link.peer) is link:
            reach("transport.before_link_down")
            del self.links[link.peer]
            self.receiver.link_down(link)

    async def _keep_dialling(self, peer: str) -> None:
        loop = asyncio.get_running_loop()
        is_lower = self._greeting.node_id < peer
        pause = REDIAL_SECONDS if is_lower else PATIENCE_SECONDS
        await asyncio.sleep(0 if is_lower else pause)
        while True:
            while peer in self.links:
                await self.links[peer].wait_closed()
                await asyncio.sleep(pause)
            try:
                host, port = split_address(self._peers[peer])
                async with asyncio.timeout(DIAL_TIMEOUT_SECONDS):
                    _, link = await loop.create_connection(
                        lambda: Link(self, expects=peer),
                        host,
                        port,
                        ssl=self.security.client_tls,
                        server_hostname=peer if self.security.client_tls else None,
                    )
                await link.wait_closed()
            except (OSError, TimeoutError) as error:
                logger.debug("cannot reach %s at %s: %s", peer, self._peers[peer], error)
            await asyncio.sleep(pause)

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PING_SECONDS)
            now = loop.time()
            for link in [*self.links.values(), *self._strangers]:
                if now - link.heard_at > SILENCE_SECONDS:
                    logger.info("link to %s is silent; dropping it", link.peer or "a stranger")
                    link.abort()
                elif link.peer:
                    reach("transport.before_ping")
                    link.write(_PING)


class Link(asyncio.Protocol):
    """One connection. It belongs to `peer` once both sides have greeted and proved themselves.

    The dialler greets; the acceptor greets and proves; the dialler proves. Whoever has checked the
    other's proof takes the link as up.
    """

    def __init__(self, mesh: Mesh, *, expects: str | None) -> None:
        self.peer = ""
        self.greeting: Greeting | None = None
        self.heard_at = 0.0
        self._mesh = mesh
        self._expects = expects  # Whom we dialled; None when they dialled us.
        self._mine = mesh.greeting()
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
        self.heard_at = self._loop.time()
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._mesh.opened(self)
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
        self._mesh.closed(self)

    def _take(self, channel: Channel, content: Any) -> None:
        if self.peer:
            if channel is not Channel.PING:
                self._mesh.receiver.frame_received(self, channel, content)
        elif self.greeting is None:
            self._take_greeting(channel, content)
        else:
            self._take_proof(channel, content)

    def _take_greeting(self, channel: Channel, content: Any) -> None:
        if channel is not Channel.GREETING:
            raise WireError(f"a frame of channel {channel.name} came before the greeting")
        greeting = parse_greeting(content)
        self._mesh.check_stranger(greeting)
        if self._expects not in (None, greeting.node_id):
            raise WireError(f"dialled {self._expects}, but {greeting.node_id} answered")
        assert self._transport is not None
        certificate = self._transport.get_extra_info("peercert")
        self._mesh.security.check_name(certificate, greeting.node_id)
        self.greeting = greeting
        if self._expects is None:
            self.write(pack_greeting(self._mine))
            self._prove(b"acceptor")

    def _take_proof(self, channel: Channel, content: Any) -> None:
        if channel is not Channel.PROOF or not isinstance(content, bytes):
            raise WireError(f"a frame of channel {channel.name} came before the proof")
        is_dialler = self._expects is not None
        side = b"acceptor" if is_dialler else b"dialler"
        self._mesh.security.check(content, side, *self._greetings())
        if is_dialler:
            self._prove(b"dialler")
        assert self.greeting is not None
        self._mesh.check_need(self.greeting.node_id, is_dialler=is_dialler)
        self._reader.bytes_max = FRAME_BYTES_MAX
        self.peer = self.greeting.node_id
        self._mesh.greeted(self)

    def _prove(self, side: bytes) -> None:
        reach("transport.before_proof")
        proof = self._mesh.security.proof(side, *self._greetings())
        self.write(pack_frame(Channel.PROOF, proof))

    def _greetings(self) -> tuple[bytes, bytes]:
        """The dialler's and the acceptor's, as they were sent."""
        assert self.greeting is not None
        mine, theirs = pack_greeting(self._mine), pack_greeting(self.greeting)
        return (mine, theirs) if self._expects is not None else (theirs, mine)
