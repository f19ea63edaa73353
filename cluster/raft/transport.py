"""Connections to the other nodes: one for each pair, dialled by the lower id, greeted, kept alive.

A node that was away does not know whoever was added since, so it cannot dial them, lower id or not.
Therefore the higher id dials too, once it has missed the other for PATIENCE_SECONDS, and a greeter
that names this very cluster is taken even by one who does not know it: it may be the leader.

A link that says nothing for SILENCE_SECONDS is dropped and dialled again, because TCP's own
retransmission would sleep through the end of a partition (RFC 6298: the timeout doubles each time).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from cluster.crashpoints import reach
from cluster.errors import WireError
from cluster.raft.link import Link, Receiver
from cluster.raft.security import Security
from cluster.raft.wire import Channel, Greeting, pack_frame

logger = logging.getLogger(__name__)

SILENCE_SECONDS = 2.0
PING_SECONDS = 0.5
DIAL_TIMEOUT_SECONDS = 1.0
REDIAL_SECONDS = 0.1
PATIENCE_SECONDS = 1.0  # How long the lower id is left to dial.
GREETING_SECONDS = 5.0  # How long a stranger may take to say who it is, a TLS handshake apart.
STRANGERS_MAX = 256  # More of them at once, and the oldest is dropped: descriptors are few.

_PING = pack_frame(Channel.PING, None)


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
            lambda: Link(self, expects=None),
            host,
            port,
            ssl=self.security.server_tls,
            ssl_handshake_timeout=GREETING_SECONDS if self.security.server_tls else None,
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
        """Remember a link that has yet to greet, and drop the oldest if they are too many."""
        self._strangers[link] = None
        if len(self._strangers) > STRANGERS_MAX:
            came = (stranger for stranger in self._strangers if not stranger.is_dialled)
            oldest = next(came, link)
            self._strangers.pop(oldest)
            oldest.abort()

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
            except (OSError, TimeoutError, ValueError) as error:  # The last: no name of a host.
                logger.debug("cannot reach %s at %s: %s", peer, self._peers[peer], error)
            await asyncio.sleep(pause)

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PING_SECONDS)
            now = loop.time()
            for stranger in list(self._strangers):
                if now - stranger.opened_at > GREETING_SECONDS:
                    logger.info("a stranger takes too long to greet; dropping it")
                    stranger.abort()
            for link in [*self.links.values(), *self._strangers]:
                if now - link.heard_at > SILENCE_SECONDS:
                    logger.info("link to %s is silent; dropping it", link.peer or "a stranger")
                    link.abort()
                elif link.peer:
                    reach("transport.before_ping")
                    link.write(_PING)
