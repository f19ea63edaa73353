"""A simulated cluster that a test directs by hand: who is cut off when, what is lost on the way.

Real replicas on the simulator's clock, network and disks, looked at by its judge. `verify` holds
every scenario to the same promise: whatever was proposed has ended, what was acknowledged is there
once, what certainly did not happen is not there, and all nodes agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from itertools import combinations
from typing import Any

from chaos.simulation.cluster import Cluster
from chaos.simulation.faults import Argument, Fault
from chaos.simulation.node import SimulatedNode
from chaos.simulation.plan import draw
from chaos.simulation.workload import tag_of
from chaos.simulation.world import World
from cluster import codec
from cluster.core.commands import Submit
from cluster.core.model import NewTask
from cluster.core.queries import GetTask
from cluster.errors import NotCommitted
from cluster.raft.engine import Engine
from cluster.raft.link import Link
from cluster.raft.membership import Configuration
from cluster.raft.wire import Channel
from cluster.replica import Replica

STEP_SECONDS = 0.001
LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 60.0  # A caller's, so that only the rules end a proposal and not the clock.
FORMING_SECONDS = 10.0
SETTLING_SECONDS = 15.0

# Source, target, the message's type, its content: False loses it on arrival.
Gate = Callable[[str, str, str, Any], bool]


class Fate:
    """What became of one call to a replica."""

    def __init__(self, node: SimulatedNode, tag: str) -> None:
        self.node = node
        self.tag = tag
        self.ended_at: float | None = None
        self.value: Any = None
        self.error: BaseException | None = None
        self.is_broken = False  # The process that was asked died first.

    def __repr__(self) -> str:
        end = "open" if self.ended_at is None else f"+{self.ended_at:.3f} s"
        return f"<Fate of {self.tag}: {end} {self.error or self.value or ''}>"

    @property
    def is_ended(self) -> bool:
        return self.ended_at is not None

    @property
    def is_acknowledged(self) -> bool:
        return self.is_ended and self.error is None and not self.is_broken


class Stage:
    """The nodes, and all that a test does to them."""

    def __init__(
        self,
        seed: int = 1,
        *,
        nodes: int = 3,
        latency: tuple[float, float] = (0.0005, 0.002),
        segment_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        plan = replace(
            draw(seed, nodes=nodes),
            latency=latency,
            split=0.0,
            sync_seconds=(0.0003, 0.001),
            segment_bytes=segment_bytes,
            snapshot_bytes=1 << 40,  # Only when a test takes one.
            tail_entries=0,  # Nothing is kept before one: whoever lacks it is sent the snapshot.
            faults=(),
        )
        self.world = World()
        self.cluster = Cluster(self.world, plan)
        self.nodes = self.cluster.nodes
        self.judge = self.cluster.judge
        self.fates: list[Fate] = []
        self.gate: Gate | None = None
        self.on_turn: Callable[[SimulatedNode], None] | None = None
        self.may_fail: set[str] = set()  # Nodes that the test means to stop by themselves.
        self.failures: dict[str, BaseException] = {}
        self.may_go_wrong = False  # Whether the test plants a bug in a caller.
        self.went_wrong_with: list[BaseException | None] = []
        for node in self.nodes:
            node.witness = self

    # What happens.

    def form(self) -> SimulatedNode:
        """Start all nodes and wait until they serve; returns the leader."""
        for node in self.nodes:
            node.start()
        leader = self.wait_leader(self.nodes)
        self.wait(self._is_settled, within=FORMING_SECONDS)
        return leader

    def wait_leader(
        self, among: Iterable[SimulatedNode], *, within: float = FORMING_SECONDS
    ) -> SimulatedNode:
        """Wait until one of *among* leads and serves."""
        candidates = list(among)
        since = self.world.now
        self.wait(lambda: bool(self._serving(candidates)), within=within, since=since)
        return self._serving(candidates)[0]

    def wait(
        self, holds: Callable[[], bool], *, within: float, since: float | None = None
    ) -> float:
        """Let time pass until *holds*; returns the seconds it took."""
        since = self.world.now if since is None else since
        assert self.happens(holds, within=within), f"not within {within:g} s"
        return self.world.now - since

    def happens(self, holds: Callable[[], bool], *, within: float) -> bool:
        """Let time pass until *holds*, or for *within*; whether it came to hold."""
        until = self.world.now + within
        while not holds():
            if self.world.now >= until:
                return False
            self.run(STEP_SECONDS)
        return True

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.world.now + seconds
        while self.world.now < until:
            look_at = (self.world.now // LOOK_SECONDS + 1) * LOOK_SECONDS
            self.world.run(min(until, look_at))
            assert not self.judge.violations, [str(each) for each in self.judge.violations]
            if self.world.now >= look_at:
                self.judge.look()

    def do(self, kind: str, *arguments: Argument) -> None:
        """Have a fault of the simulator's happen now."""
        self.cluster.inject(Fault(self.world.now, kind, arguments))

    def unplug(self, *nodes: SimulatedNode) -> None:
        """Break the links of *nodes* to each other; both ends see it, and none comes back."""
        for one, other in combinations(nodes, 2):
            pair = (one.name, other.name)
            self.cluster.network.refusals.update((pair, pair[::-1]))
            self.do("reset", *pair)

    def plug(self, *nodes: SimulatedNode) -> None:
        """Let *nodes* dial each other again."""
        for one, other in combinations(nodes, 2):
            pair = (one.name, other.name)
            self.cluster.network.refusals.difference_update((pair, pair[::-1]))
            self.judge.calm.disturb_pairs([pair])

    def cut_off(self, node: SimulatedNode) -> None:
        """Unplug *node* from all others."""
        for other in self.others(node):
            self.unplug(node, other)

    def isolate(self, node: SimulatedNode) -> None:
        """Let nothing reach *node* or come from it; nobody is told."""
        self.do("isolate", node.name)

    def others(self, node: SimulatedNode) -> list[SimulatedNode]:
        """All nodes but *node*."""
        return [other for other in self.nodes if other is not node]

    # What is asked.

    def submit(
        self,
        node: SimulatedNode,
        tag: str,
        *,
        payload: bytes = b"",
        timeout_seconds: float = PATIENCE_SECONDS,
    ) -> Fate:
        """Propose a task named *tag* through *node*."""
        task = NewTask.of(tag, "echo", payload, "application/octet-stream", submitted_by=tag)
        return self.call(
            node,
            lambda replica: replica.propose(Submit((task,)), timeout_seconds=timeout_seconds),
            tag=tag,
        )

    def submit_each(
        self,
        node: SimulatedNode,
        tag: str,
        count: int,
        *,
        every: float = 0.001,
        payload: bytes = b"",
        timeout_seconds: float = PATIENCE_SECONDS,
    ) -> list[Fate]:
        """Propose *count* tasks one after the other: each becomes a log entry of its own."""
        fates = []
        for number in range(count):
            fates.append(
                self.submit(
                    node, f"{tag}-{number}", payload=payload, timeout_seconds=timeout_seconds
                )
            )
            self.run(every)
        return fates

    def call(
        self, node: SimulatedNode, operation: Callable[[Replica], Awaitable[Any]], *, tag: str = ""
    ) -> Fate:
        """Run *operation* in the process of *node*."""
        fate = Fate(node, tag)
        self.fates.append(fate)

        def answered(value: Any, error: BaseException | None) -> None:
            fate.value, fate.error, fate.ended_at = value, error, self.world.now

        # What breaks with the process is told by `ended`, a power cut among it.
        assert node.serve(operation, answered, lambda: None), f"{node.name} is not up"
        return fate

    def take_snapshot(self, node: SimulatedNode) -> None:
        """Have *node* take a snapshot and cut its log."""

        async def take(replica: Replica) -> None:
            await replica._snapshots.take()

        fate = self.call(node, take)
        self.wait(lambda: fate.is_ended, within=2.0)

    # What is seen.

    def leaders(self) -> list[tuple[str, int]]:
        """Everyone who leads now, by their own opinion, and in which term."""
        return [
            (node.name, engine(node).term)
            for node in self.nodes
            if node.replica is not None and engine(node).is_leader
        ]

    def newest_term(self) -> int:
        """The highest term that anyone knows."""
        return max(engine(node).term for node in self.nodes if node.replica is not None)

    def committed(self) -> Counter[str]:
        """How often each tag stands in what anyone has applied."""
        return Counter(
            tag
            for applied in self.judge.ledger.values()
            if applied.command is not None
            for group in codec.unpack_entry(applied.command).groups
            for command in group.commands
            if (tag := tag_of(command)) is not None
        )

    def has(self, node: SimulatedNode, fates: Iterable[Fate]) -> bool:
        """Whether the state of *node* holds all these tasks."""
        assert node.replica is not None
        machine = node.replica.machine
        return all(machine.answer(GetTask(fate.tag)) is not None for fate in fates)

    def settle(self) -> None:
        """Undo every fault, start who is down, and wait until all have applied the same."""
        self.gate = None
        self.do("heal")
        for node in self.nodes:
            node.start()
        self.wait(self._is_settled, within=SETTLING_SECONDS)

    def verify(self) -> None:
        """Settle, and hold everything that was proposed to the promise."""
        self.settle()
        self.wait(lambda: all(fate.is_ended for fate in self.fates), within=PATIENCE_SECONDS)
        self.settle()  # What was taken back and proposed anew may have been committed since.
        self.judge.look()
        assert not self.judge.violations
        assert len({node.replica.machine.state_hash for node in self.nodes if node.replica}) == 1
        committed = self.committed()
        proposed = [fate for fate in self.fates if fate.tag]
        assert not [fate for fate in proposed if committed[fate.tag] > 1], "committed twice"
        acknowledged = [fate for fate in proposed if fate.is_acknowledged]
        lost = [fate for fate in acknowledged if committed[fate.tag] != 1]
        assert not lost, "acknowledged and lost"
        for node in self.nodes:
            assert self.has(node, acknowledged), f"{node.name} lacks what was acknowledged"
        denied = [fate for fate in proposed if isinstance(fate.error, NotCommitted)]
        assert not [fate for fate in denied if committed[fate.tag]], "denied and done"

    def close(self) -> None:
        """End every process."""
        self.world.end()

    # node.Witness.

    def started(self, node: SimulatedNode) -> None:
        assert node.replica is not None
        driver = node.replica._driver
        take = driver.frame_received

        def frame_received(link: Link, channel: Channel, content: Any) -> None:
            if self.gate is not None:
                if channel is Channel.RAFT:
                    content = [each for each in content if self._passes(link, node, each)]
                elif not self.gate(link.peer, node.name, content[0], content):
                    return
            take(link, channel, content)

        driver.frame_received = frame_received  # type: ignore[method-assign]
        self.judge.started(node)

    def _passes(self, link: Link, node: SimulatedNode, message: dict[str, Any]) -> bool:
        return self.gate is None or self.gate(link.peer, node.name, message["type"], message)

    def applied(self, node: SimulatedNode, *facts: Any) -> None:
        self.judge.applied(node, *facts)

    def configured(self, node: SimulatedNode, index: int, configuration: Configuration) -> None:
        self.judge.configured(node, index, configuration)

    def moved(self, node: SimulatedNode) -> None:
        self.judge.moved(node)
        if self.on_turn is not None:
            self.on_turn(node)

    def ended(self, node: SimulatedNode, why: str) -> None:
        for fate in self.fates:
            if fate.node is node and not fate.is_ended:
                fate.is_broken, fate.ended_at = True, self.world.now
        self.judge.ended(node, why)

    def failed(self, node: SimulatedNode, error: BaseException) -> None:
        self.failures[node.name] = error
        if node.name not in self.may_fail:
            self.judge.failed(node, error)

    def went_wrong(self, node: SimulatedNode, context: dict[str, Any]) -> None:
        self.went_wrong_with.append(context.get("exception"))
        if not self.may_go_wrong:
            self.judge.went_wrong(node, context)

    def _serving(self, candidates: list[SimulatedNode]) -> list[SimulatedNode]:
        return [node for node in candidates if node.replica and engine(node).is_serving]

    def _is_settled(self) -> bool:
        if not all(node.replica is not None for node in self.nodes) or not self.leaders():
            return False
        places = {
            (engine(node).term, engine(node).log.last_index, engine(node).applied_index)
            for node in self.nodes
        }
        return len(places) == 1 and all(last == applied for _, last, applied in places)


def engine(node: SimulatedNode) -> Engine:
    """The consensus state of a node that is up."""
    assert node.replica is not None, f"{node.name} is not up"
    return node.replica.engine
