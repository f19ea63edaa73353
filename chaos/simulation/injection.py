"""What each kind of fault does to a simulated cluster."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from typing import TYPE_CHECKING

from chaos.simulation.crashes import CRASH
from chaos.simulation.faults import Argument
from chaos.simulation.network import Link

if TYPE_CHECKING:
    from chaos.simulation.cluster import Cluster


def kill(cluster: Cluster, name: Argument) -> None:
    cluster.named(str(name)).kill()


def cut_power(cluster: Cluster, name: Argument) -> None:
    cluster.named(str(name)).cut_power()


def crash(
    cluster: Cluster,
    name: Argument,
    point: Argument,
    count: Argument,
    seconds: Argument,
    how: Argument,
) -> None:
    """Have the node die by *how* (kill or cut_power) at a crash point, and be back after a while.

    It dies when it gets there for the *count*-th time, in this life of its process or a later one.
    """
    node = cluster.named(str(name))
    end = {"kill": node.kill, "cut_power": node.cut_power}[str(how)]

    def die(reached: str) -> None:
        cluster.judge.happened[CRASH + reached] += 1
        end(f"{how} at {reached}")
        cluster.world.after(float(seconds), node.start)

    cluster.crashes.arm(node.name, str(point), count=int(count), die=die)


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


def slow_way(
    cluster: Cluster, source: Argument, target: Argument, low: Argument, high: Argument
) -> None:
    way = cluster.named(str(source)).name, cluster.named(str(target)).name
    cluster.network.unusual[way] = Link((float(low), float(high)))
    cluster.judge.calm.disturb_pairs([way])


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
    if kind in (None, "slow_link", "slow_way", "throttle"):
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


def add_member(cluster: Cluster) -> None:
    cluster.operator.add()


def remove_member(cluster: Cluster, name: Argument) -> None:
    cluster.operator.remove(cluster.named(str(name)))


def replace_member(cluster: Cluster, name: Argument) -> None:
    cluster.operator.replace(cluster.named(str(name)))


def change_leader(cluster: Cluster, name: Argument | None = None) -> None:
    cluster.operator.change_leader(None if name is None else cluster.named(str(name)))


KINDS: dict[str, Callable[..., None]] = {
    do.__name__: do
    for do in (
        kill, cut_power, stop, start_all, pause, isolate, part, cut, mute, deafen, bridge, ring,
        reset, refuse, slow_link, slow_way, throttle, cut_clients, heal, slow_disk, fail_sync,
        fill_disk, mend_disks, flip_bit, wipe, skew, crash, add_member, remove_member,
        replace_member, change_leader,
    )
}  # fmt: skip
