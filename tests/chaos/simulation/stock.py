"""pysyncobj 0.3.17 as its README uses it, on the simulator's clock and network, before its judge.

Its own journal keeps everything in memory-mapped files, so that a killed process loses nothing;
here it is a list that outlives the process. Only the sockets are other ones than its own.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pysyncobj.syncobj
from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf
from pysyncobj.journal import Journal, MemoryJournal
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from chaos.simulation.dice import Dice, dice
from chaos.simulation.judge import Judge
from chaos.simulation.loop import SimulatedLoop
from chaos.simulation.network import Link, Network
from chaos.simulation.world import World
from cluster.raft.membership import unformed

PORT = 4321
TICK_SECONDS = 0.01
_LENGTH = struct.Struct(">I")


class Peer(Node):
    """A node whose hash is the same in every process."""

    def __hash__(self) -> int:
        return int(self.id[-1])


class KeptJournal(MemoryJournal):
    """What outlives the process, the commit index included, as in the file beside the journal."""

    def __init__(self) -> None:
        super().__init__()
        self.commit = 1
        self.term = 0
        self.voted: str | None = None

    def setRaftCommitIndex(self, index: int) -> None:  # noqa: N802 - pysyncobj's name
        self.commit = index

    def getRaftCommitIndex(self) -> int:  # noqa: N802 - pysyncobj's name
        return self.commit

    def setCurrentTerm(self, term: int, voted: str | None) -> None:  # noqa: N802 - pysyncobj's name
        self.term, self.voted = term, voted

    def getCurrentTerm(self) -> int:  # noqa: N802 - pysyncobj's name
        return self.term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802 - pysyncobj's name
        return self.voted

    def lose_tail(self, count: int) -> None:
        """What a power cut does to a journal that is never synced."""
        last = len(self)
        self.deleteEntriesFrom(last - count)


class Wire(asyncio.Protocol):
    """One connection: pickles with a length before them, the first of them a name."""

    def __init__(self, owner: Wires, expects: str | None) -> None:
        self._owner = owner
        self._expects = expects
        self._buffer = b""
        self._transport: Any = None
        self.peer = ""
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if self._expects is not None:
            self.write(self._owner.name)
            self._greet(self._expects)

    def write(self, content: Any) -> None:
        body = pickle.dumps(content)
        self._transport.write(_LENGTH.pack(len(body)) + body)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if len(self._buffer) < _LENGTH.size + length:
                return
            content = pickle.loads(self._buffer[_LENGTH.size : _LENGTH.size + length])  # noqa: S301
            self._buffer = self._buffer[_LENGTH.size + length :]
            if self.peer:
                self._owner.received(self.peer, content)
            else:
                self._greet(content)

    def _greet(self, name: str) -> None:
        self.peer = name
        self._owner.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if not self.ended.done():
            self.ended.set_result(None)
        self._owner.disconnected(self)


class Wires(Transport):  # type: ignore[misc]  # pysyncobj ships no types.
    """pysyncobj's network, over the simulated one."""

    def __init__(self, name: str, peers: dict[str, Peer]) -> None:
        super().__init__(None, None, [])
        self.name = name
        self.tick: Callable[[], None] = lambda: None
        self._peers = peers
        self._wires: dict[str, Wire] = {}
        self._dialling: list[asyncio.Task[None]] = []

    async def serve(self) -> None:
        """Listen, and dial whoever has a higher name."""
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: Wire(self, None), self.name, PORT)
        for peer in self._peers:
            if self.name < peer:
                self._dialling.append(loop.create_task(self._dial(peer)))

    async def _dial(self, peer: str) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(1):
                    _, wire = await loop.create_connection(lambda: Wire(self, peer), peer, PORT)
                await wire.ended
            except (OSError, TimeoutError):
                pass
            await asyncio.sleep(0.1)

    def send(self, node: Peer, message: Any) -> bool:
        wire = self._wires.get(node.id)
        if wire is not None:
            wire.write(message)
        return wire is not None

    def connected(self, wire: Wire) -> None:
        self._wires[wire.peer] = wire
        self._onNodeConnected(self._peers[wire.peer])

    def disconnected(self, wire: Wire) -> None:
        if self._wires.get(wire.peer) is wire:
            del self._wires[wire.peer]
            self._onNodeDisconnected(self._peers[wire.peer])

    def received(self, peer: str, message: Any) -> None:
        self._onMessageReceived(self._peers[peer], message)
        self.tick()


class StockEngine(SyncObj):  # type: ignore[misc]  # As above.
    """pysyncobj untouched; what it applies is kept and shown to the judge."""

    is_member = True
    incarnation = ""  # It knows of none.

    def __init__(self, node: StockNode, wires: Wires, peers: dict[str, Peer], conf: Any) -> None:
        self.node = node
        super().__init__(Peer(node.name), list(peers.values()), conf, transport=wires)
        self.items: list[bytes] = []
        self.configuration = unformed({name: name for name in (node.name, *peers)}).formed()

    @property
    def log(self) -> Any:
        return self._SyncObj__raftLog

    @property
    def term(self) -> int:
        return int(self._SyncObj__raftCurrentTerm)

    @property
    def is_leader(self) -> bool:
        return bool(self._isLeader())

    @property
    def is_serving(self) -> bool:
        return self.is_leader

    @property
    def commit_index(self) -> int:
        return int(self._SyncObj__raftCommitIndex)

    @property
    def applied_index(self) -> int:
        return int(self._SyncObj__raftLastApplied)

    def _SyncObj__doApplyCommand(self, command: bytes) -> int:  # noqa: N802 - pysyncobj's name
        index = self.applied_index + 1
        term = self.log[index - self.log[0][1]][2]
        self.items.append(command)
        digest = blake2b(b"".join(self.items), digest_size=16).digest()
        self.node.judge.applied(self.node, index, term, command, digest)  # type: ignore[arg-type]
        return index


class StockNode:
    """One member, as the judge knows members."""

    is_serving = False  # Its calm is not judged, its promises are.
    refuses_to_start = None

    def __init__(self, name: str, defence: StockCluster) -> None:
        self.name = name
        self.judge = defence.judge
        self.journal = KeptJournal()
        self.process: SimulatedLoop | None = None
        self.engine: StockEngine | None = None
        self._defence = defence

    @property
    def replica(self) -> StockNode | None:
        """What has an engine."""
        return self if self.engine is not None else None

    def start(self) -> None:
        cluster = self._defence
        self.process = SimulatedLoop(cluster.world, self.name, sockets=cluster.network)
        self.process.start(self._main(self.process))

    async def _main(self, loop: SimulatedLoop) -> None:
        peers = {name: Peer(name) for name in self._defence.names if name != self.name}
        wires = Wires(self.name, peers)
        conf = SyncObjConf(
            autoTick=False,
            journalFile=self.journal,
            raftMinTimeout=0.4,
            raftMaxTimeout=0.8,
            appendEntriesPeriod=0.05,
            **self._defence.settings(self.name),
        )
        engine = self.engine = StockEngine(self, wires, peers, conf)
        engine._poller = _NoPoller()

        def tick() -> None:
            engine.doTick(0)
            self.judge.moved(self)  # type: ignore[arg-type]

        def tick_on() -> None:
            tick()
            loop.call_later(TICK_SECONDS, tick_on)

        wires.tick = tick
        await wires.serve()
        tick_on()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self._defence.network.process_died(self.process)
        self.engine = None
        self.judge.ended(self, "kill")  # type: ignore[arg-type]

    def submit(self, payload: bytes, told: Callable[[bool], None]) -> None:
        """Apply *payload* here, if this node leads; *told* hears whether it succeeded."""
        assert self.engine is not None
        self.engine._applyCommand(
            payload,
            lambda _result, error: told(error == FAIL_REASON.SUCCESS),
            pysyncobj.syncobj._COMMAND_TYPE.REGULAR,
        )


class StockCluster:
    """Three members, directed by hand."""

    def __init__(
        self, seed: int, *, dumps: Path | None = None, latency: tuple[float, float], **conf: Any
    ) -> None:
        self.world = World()
        self.network = Network(self.world, dice(seed, "network"), Link(latency))
        self.judge = Judge(self.world, self.network)
        self.names = ["node1", "node2", "node3"]
        self.acknowledged: list[bytes] = []
        self._dumps = dumps
        self._conf = conf
        self.dice: Dice = dice(seed, "faults")
        pysyncobj.syncobj.monotonicTime = self.world.read_clock
        pysyncobj.syncobj.random = dice(seed, "elections")
        self.nodes = [StockNode(name, self) for name in self.names]
        for node in self.nodes:
            node.start()

    def settings(self, name: str) -> dict[str, Any]:
        dump = None if self._dumps is None else str(self._dumps / name)
        return {"fullDumpFile": dump, "useFork": False, **self._conf}

    def run(self, seconds: float) -> None:
        self.world.run(self.world.now + seconds)

    def until(self, holds: Callable[[], Any], seconds: float = 30.0) -> bool:
        """Run until *holds*, for so long at most; a violation stands still the world."""
        deadline = self.world.now + seconds
        while self.world.now < deadline and not holds() and not self.judge.violations:
            self.run(0.005)
        return bool(holds())

    @property
    def leader(self) -> StockNode | None:
        leading = [node for node in self.nodes if node.engine and node.engine.is_leader]
        return max(leading, key=lambda node: node.engine.term, default=None)  # type: ignore[union-attr]

    def elect(self) -> StockNode:
        assert self.until(lambda: self.leader), "no leader"
        self.run(1)
        assert self.leader is not None
        return self.leader

    def others(self, node: StockNode) -> list[StockNode]:
        return [other for other in self.nodes if other is not node]

    def submit(self, node: StockNode, payload: bytes) -> None:
        node.submit(payload, lambda ok: self.acknowledged.append(payload) if ok else None)

    def cut(self, node: StockNode) -> list[tuple[str, str]]:
        ways = [way for other in self.others(node) for way in _both_ways(node.name, other.name)]
        self.network.cut(ways)
        return ways

    def lost(self) -> list[bytes]:
        """What was acknowledged and is in no machine."""
        held = {item[1:] for node in self.nodes if node.engine for item in node.engine.items}
        return [payload for payload in self.acknowledged if payload not in held]


class _NoPoller:
    def poll(self, timeout: float) -> None:
        """Nothing to wait for."""


def _both_ways(here: str, there: str) -> list[tuple[str, str]]:
    return [(here, there), (there, here)]


@contextmanager
def own_journals() -> Iterator[None]:
    """Let a configuration carry a journal instead of its file's name."""
    usual = pysyncobj.syncobj.createJournal
    pysyncobj.syncobj.createJournal = lambda given: (
        given if isinstance(given, Journal) else usual(given)
    )
    try:
        yield
    finally:
        pysyncobj.syncobj.createJournal = usual
