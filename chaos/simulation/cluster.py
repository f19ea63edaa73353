"""A simulated cluster: its machines, what goes wrong with them, and how it is set right again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import permutations, product

from chaos.simulation.dice import dice
from chaos.simulation.disk import Disk
from chaos.simulation.faults import LEADER, Argument, Fault
from chaos.simulation.judge import Judge, engine_of
from chaos.simulation.network import Link, Network
from chaos.simulation.node import RAFT_PORT, NodeHost, SimulatedNode
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
        names = [f"node{number}" for number in range(1, plan.nodes + 1)]
        members = {name: f"{name}:{RAFT_PORT}" for name in names}
        self.nodes = [
            SimulatedNode(
                world,
                self.network,
                self._host(name),
                members,
                self.judge,
                lease_seconds=plan.lease_seconds,
                segment_bytes=plan.segment_bytes,
                snapshot_bytes=plan.snapshot_bytes,
                tail_entries=plan.tail_entries,
            )
            for name in names
        ]
        self.judge.nodes = self.nodes
        self.clients: list[str] = []  # Their machines' names, for faults between them and nodes.
        self._dice = dice(plan.seed, "supervisor")
        self._leader: SimulatedNode = self.nodes[0]  # The newest one that was seen.
        self._cuts: dict[str, set[Direction]] = {}  # By the kind of fault that made them.
        self._is_healed = False

    def _host(self, name: str) -> NodeHost:
        seed = self.plan.seed
        disk = Disk(dice(seed, f"disk of {name}"), sync_seconds=self.plan.sync_seconds)
        return NodeHost(self.world, name, dice(seed, f"host {name}"), disk)

    def start(self) -> None:
        """Start every node, and whoever restarts those that stop by themselves."""
        for node in self.nodes:
            node.start()
        self._supervise()

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
        """The nodes whose disks let them start."""
        return [node for node in self.nodes if not node.refuses_to_start]

    # Faults.

    def inject(self, fault: Fault) -> None:
        """Make it happen now."""
        self.world.record(str(fault).encode())
        KINDS[fault.kind](self, *fault.args)

    def heal(self) -> None:
        """Undo all that can be undone, and keep all up from now on."""
        self._is_healed = True
        heal(self)
        mend_disks(self)
        start_all(self)
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


def kill(cluster: Cluster, name: Argument) -> None:
    cluster.named(str(name)).kill()


def cut_power(cluster: Cluster, name: Argument) -> None:
    cluster.named(str(name)).cut_power()


def stop(cluster: Cluster, name: Argument) -> None:
    node = cluster.named(str(name))
    cluster.judge.calm.disturb(node.name)
    node.stop()


def start_all(cluster: Cluster) -> None:
    for node in cluster.nodes:
        node.start()


def pause(cluster: Cluster, name: Argument, seconds: Argument) -> None:
    node = cluster.named(str(name))
    if node.process is not None:
        node.process.pause()
        cluster.world.after(float(seconds), node.process.resume)
        cluster.judge.calm.disturb(node.name, until=cluster.world.now + float(seconds))


def isolate(cluster: Cluster, name: Argument) -> None:
    node = cluster.named(str(name))
    others = cluster.others(node)
    cluster.cut("isolate", [*product([node.name], others), *product(others, [node.name])])


def part(cluster: Cluster, *names: Argument) -> None:
    here = [str(name) for name in names]
    there = [node.name for node in cluster.nodes if node.name not in here]
    cluster.cut("part", [*product(here, there), *product(there, here)])


def cut(cluster: Cluster, source: Argument, target: Argument) -> None:
    cluster.cut("cut", [(cluster.named(str(source)).name, cluster.named(str(target)).name)])


def mute(cluster: Cluster, name: Argument) -> None:
    node = cluster.named(str(name))
    cluster.cut("mute", product([node.name], cluster.others(node)))


def deafen(cluster: Cluster, name: Argument) -> None:
    node = cluster.named(str(name))
    cluster.cut("deafen", product(cluster.others(node), [node.name]))


def bridge(cluster: Cluster, name: Argument) -> None:
    others = cluster.others(cluster.named(str(name)))
    here, there = others[::2], others[1::2]
    cluster.cut("bridge", [*product(here, there), *product(there, here)])


def ring(cluster: Cluster) -> None:
    """Each node reaches its two neighbours only."""
    count = len(cluster.nodes)
    cut = [
        (a.name, b.name)
        for (i, a), (j, b) in permutations(enumerate(cluster.nodes), 2)
        if min((i - j) % count, (j - i) % count) > 1
        or (count == 3 and (j - i) % count == 2)  # With three all are neighbours: cut one way.
    ]
    cluster.cut("ring", cut)


def reset(cluster: Cluster, name: Argument, other: Argument) -> None:
    pair = cluster.named(str(name)).name, cluster.named(str(other)).name
    cluster.network.reset(*pair)
    cluster.judge.calm.disturb_pairs([pair])


def refuse(cluster: Cluster, name: Argument) -> None:
    node = cluster.named(str(name))
    others = cluster.others(node)
    ways = [*product([node.name], others), *product(others, [node.name])]
    cluster.network.refusals.update(ways)
    cluster.judge.calm.disturb_pairs(ways)


def slow_link(cluster: Cluster, name: Argument, low: Argument, high: Argument) -> None:
    _change_links(cluster, str(name), Link((float(low), float(high))))


def throttle(cluster: Cluster, name: Argument, bytes_per_second: Argument) -> None:
    _change_links(cluster, str(name), Link(cluster.plan.latency, float(bytes_per_second)))


def _change_links(cluster: Cluster, name: str, link: Link) -> None:
    node = cluster.named(name)
    others = cluster.others(node)
    ways = [*product([node.name], others), *product(others, [node.name])]
    cluster.network.unusual.update(dict.fromkeys(ways, link))
    cluster.judge.calm.disturb_pairs(ways)


def cut_clients(cluster: Cluster, name: Argument) -> None:
    node = cluster.named(str(name))
    ways = [*product([node.name], cluster.clients), *product(cluster.clients, [node.name])]
    cluster.cut("cut_clients", ways)


def heal(cluster: Cluster, kind: Argument | None = None) -> None:
    """Undo what faults of *kind* did to the network, or of every kind."""
    network = cluster.network
    if kind in (None, "refuse"):
        cluster.judge.calm.disturb_pairs(sorted(network.refusals))
        network.refusals.clear()
    if kind in (None, "slow_link", "throttle"):
        cluster.judge.calm.disturb_pairs(sorted(network.unusual))
        network.unusual.clear()
    for each in cluster.cut_kinds if kind is None else [str(kind)]:
        cluster.heal_cuts(each)


def slow_disk(cluster: Cluster, name: Argument, low: Argument, high: Argument) -> None:
    node = cluster.named(str(name))
    node.host.disk.sync_seconds = (float(low), float(high))
    cluster.judge.calm.disturb(node.name, until=float("inf"))


def fail_sync(cluster: Cluster, name: Argument) -> None:
    node = cluster.named(str(name))
    node.host.disk.fails_next_sync = True
    cluster.judge.excuses[node.name] = "its fdatasync failed"
    cluster.judge.calm.disturb(node.name)


def fill_disk(cluster: Cluster, name: Argument) -> None:
    node = cluster.named(str(name))
    node.host.disk.is_full = True
    cluster.judge.excuses[node.name] = "its disk was full"
    cluster.judge.calm.disturb(node.name, until=float("inf"))


def mend_disks(cluster: Cluster) -> None:
    for node in cluster.nodes:
        disk = node.host.disk
        disk.is_full = disk.fails_next_sync = False
        if disk.sync_seconds != cluster.plan.sync_seconds or node.name in cluster.judge.excuses:
            disk.sync_seconds = cluster.plan.sync_seconds
            cluster.judge.calm.mend(node.name)


def flip_bit(cluster: Cluster, name: Argument) -> None:
    if not cluster.judge.ledger:
        return  # Before the cluster is formed it needs every disk.
    node = cluster.named(str(name))
    where = node.host.disk.flip_bit()
    if where is not None:
        cluster.judge.excuses[node.name] = where


def wipe(cluster: Cluster, name: Argument) -> None:
    if not cluster.judge.ledger:
        return  # As above.
    node = cluster.named(str(name))
    node.kill()
    node.host.disk.wipe()


def skew(cluster: Cluster, name: Argument, milliseconds: Argument) -> None:
    cluster.named(str(name)).host.skew_ms = int(milliseconds)


KINDS: dict[str, Callable[..., None]] = {
    do.__name__: do
    for do in (
        kill, cut_power, stop, start_all, pause, isolate, part, cut, mute, deafen, bridge, ring,
        reset, refuse, slow_link, throttle, cut_clients, heal, slow_disk, fail_sync, fill_disk,
        mend_disks, flip_bit, wipe, skew,
    )
}  # fmt: skip
