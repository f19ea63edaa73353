"""A simulated cluster: its machines, what goes wrong with them, and how it is set right again."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from chaos.simulation import injection
from chaos.simulation.crashes import Crashes
from chaos.simulation.dice import dice
from chaos.simulation.disk import Disk
from chaos.simulation.faults import LEADER, Fault
from chaos.simulation.judge import Judge, engine_of
from chaos.simulation.network import Link, Network
from chaos.simulation.node import RAFT_PORT, NodeHost, SimulatedNode
from chaos.simulation.operating import Operator
from chaos.simulation.plan import Plan
from chaos.simulation.world import World

SUPERVISOR_SECONDS = (0.2, 1.5)  # After it stopped by itself, a node is started again.

Direction = tuple[str, str]


class Cluster:
    """All nodes of a plan, and the hand that breaks them."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.world = world
        self.plan = plan
        self.network = Network(
            world, dice(plan.seed, "network"), Link(plan.latency, split=plan.split)
        )
        self.judge = Judge(world, self.network)
        self.crashes = Crashes(world)
        self._numbers = count(1)
        names = [self._next_name() for _ in range(plan.nodes)]
        self.nodes = [self._node(name, names) for name in names]
        self.judge.nodes = self.nodes
        self.operator = Operator(world, self)
        self.retired: set[str] = set()  # Nodes whose machines are gone for good.
        self.clients: list[str] = []  # Their machines' names, for faults between them and nodes.
        self._dice = dice(plan.seed, "supervisor")
        self._leader: SimulatedNode = self.nodes[0]  # The newest one that was seen.
        self._cuts: dict[str, set[Direction]] = {}  # By the kind of fault that made them.
        self._is_healed = False

    def _host(self, name: str) -> NodeHost:
        seed = self.plan.seed
        disk = Disk(dice(seed, f"disk of {name}"), sync_seconds=self.plan.sync_seconds)
        return NodeHost(self.world, name, dice(seed, f"host {name}"), disk)

    def _node(self, name: str, members: Iterable[str]) -> SimulatedNode:
        plan = self.plan
        return SimulatedNode(
            self.world,
            self.network,
            self._host(name),
            {each: f"{each}:{RAFT_PORT}" for each in members},
            self.judge,
            lease_seconds=plan.lease_seconds,
            segment_bytes=plan.segment_bytes,
            snapshot_bytes=plan.snapshot_bytes,
            tail_entries=plan.tail_entries,
        )

    def _next_name(self) -> str:
        return f"node{next(self._numbers)}"

    def start(self) -> None:
        """Start every node, whoever restarts those that stop by themselves, and the operator."""
        for node in self.nodes:
            node.start()
        self._supervise()
        self.operator.begin()

    def _supervise(self) -> None:
        """Start again what stopped; whose disk is damaged gets an empty one, as the error says."""
        for node in self.nodes:
            if node.has_exited or (self._is_healed and not node.is_up):
                node.has_exited = False
                again = node.renew if node.refuses_to_start else node.start
                self.world.after(self._dice.uniform(*SUPERVISOR_SECONDS), again)
        self.world.after(0.1, self._supervise)

    # Who is who.

    @property
    def leader(self) -> SimulatedNode:
        """The leader of the newest term, or the one that was it last."""
        leading = [
            (engine.term, node)
            for node in self.nodes
            if (engine := engine_of(node)) is not None and engine.is_leader
        ]
        if leading:
            self._leader = max(leading, key=lambda pair: pair[0])[1]
        return self._leader

    def named(self, name: str) -> SimulatedNode:
        """The node that a fault speaks of."""
        if name == LEADER:
            return self.leader
        return next(node for node in self.nodes if node.name == name)

    @property
    def living(self) -> list[SimulatedNode]:
        """The members whose disks let them start."""
        members = self.members
        return [node for node in self.nodes if node.name in members and not node.refuses_to_start]

    # Who belongs to it.

    @property
    def members(self) -> frozenset[str]:
        """The names of the members, as the newest committed configuration has them."""
        names = self.judge.members.names
        return frozenset(node.name for node in self.nodes) if names is None else names

    @property
    def is_formed(self) -> bool:
        """Whether a majority decides: before that every member is needed."""
        return self.judge.members.names is not None

    def enlist(self) -> SimulatedNode:
        """Start a new machine that knows the members, and itself as one of them to be."""
        name = self._next_name()
        node = self._node(name, [*sorted(self.members), name])
        self.nodes.append(node)
        self.judge.calm.disturb(name)
        node.start()
        return node

    def retire(self, node: SimulatedNode) -> None:
        """Take the machine away for good."""
        node.kill("gone for good")
        self.nodes.remove(node)
        self.retired.add(node.name)

    # Faults.

    def inject(self, fault: Fault) -> None:
        """Make it happen now, unless it is about a machine that is gone."""
        self.world.record(str(fault).encode())
        if self.retired.isdisjoint(fault.args):
            injection.KINDS[fault.kind](self, *fault.args)

    def heal(self) -> None:
        """Undo all that can be undone, and keep all up from now on."""
        self._is_healed = True
        self.crashes.disarm()
        injection.heal(self)
        injection.mend_disks(self)
        injection.start_all(self)
        for node in self.nodes:
            if node.process is not None:
                node.process.resume()

    def cut(self, kind: str, directions: Iterable[Direction]) -> None:
        """Let nothing pass in these directions until *kind* is healed."""
        cut = {way for way in directions if way[0] != way[1]}
        self._cuts.setdefault(kind, set()).update(cut)
        self.network.cut(cut)
        self.judge.calm.disturb_pairs(sorted(cut))

    def heal_cuts(self, kind: str) -> None:
        """Undo what *kind* has cut, unless another kind cuts it still."""
        healed = self._cuts.pop(kind, set()).difference(*self._cuts.values())
        self.judge.calm.disturb_pairs(sorted(healed))
        self.network.heal(healed)

    @property
    def cut_kinds(self) -> list[str]:
        """The kinds of faults that cut something now."""
        return list(self._cuts)

    def others(self, node: SimulatedNode) -> list[str]:
        """The names of all nodes but *node*."""
        return [other.name for other in self.nodes if other is not node]
