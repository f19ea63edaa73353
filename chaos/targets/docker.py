"""Docker: the cluster that docker-compose.yml describes, in a project of its own.

Containers are known by their labels alone. A cut drops packets within the victim's network
namespace, in silence; the dropped ones, which the kernel counts, are its bite.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from chaos.journal import Journal, state_directory
from chaos.targets import compose, leftovers
from chaos.targets.addresses import free_address, free_subnet
from chaos.targets.compose import Compose, Plan
from chaos.targets.contract import WELL, Condition, Kind, Unsupported, Way
from chaos.targets.engine import Engine, State
from chaos.targets.leftovers import KILLED, LINKS, PAUSED, UNPLUGGED, WORKER
from chaos.targets.links import Links, links_of
from gateway.client import Client
from node.places import HOST
from node.ports import free_ports
from node.waiting import wait_until

READY_SECONDS = 180.0
LOG_LINES_MAX = 20_000  # Of each container.
GRACE_SECONDS = 30  # As in docker-compose.yml.
ANSWER_SECONDS = 2.0


class Cable(NamedTuple):
    """How a container was on the network of Raft before it was taken off."""

    address: str
    aliases: tuple[str, ...]


class DockerTarget:
    """Three nodes at most, and workers, in containers."""

    name = "docker"

    def __init__(
        self, *, nodes: int, workers: int, lease_seconds: float, bug: str | None, http_port: int
    ) -> None:
        self.project = f"quorate-chaos-{random.SystemRandom().getrandbits(32):08x}"
        self._network = f"{self.project}_raft"
        self._http_port = http_port
        self._settings = (nodes, workers, lease_seconds, bug)
        self._urls = dict.fromkeys((f"node{number}" for number in range(1, nodes + 1)), "")
        self._containers: dict[str, str] = {}  # By the name of the node or worker.
        self._conditions: dict[Way, Condition] = {}  # Since the last `mend`.
        self._cables: dict[str, Cable] = {}  # Of nodes whose cable is out.
        self._counted: dict[str, int] = {}  # Packets since the last `mend`, by node.
        self._queued: dict[str, int] = {}  # Of those, what its queues' counters stood at.
        self._journal: Journal | None = None  # There is one once there is anything to undo.

    @classmethod
    def for_setting(
        cls, *, nodes: int, workers: int, lease_seconds: float, bug: str | None, http_port: int
    ) -> DockerTarget:
        """A target that is not started; nodes answer at the next free ports from *http_port* on.

        Raises:
            Unsupported: there are to be more nodes than the compose file has.
        """
        if nodes > compose.NODES_MAX:
            raise Unsupported(
                f"docker-compose.yml has {compose.NODES_MAX} nodes, and {nodes} are asked for:"
                " --target local has as many as one likes"
            )
        return cls(
            nodes=nodes, workers=workers, lease_seconds=lease_seconds, bug=bug, http_port=http_port
        )

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(self._urls)

    @property
    def workers(self) -> tuple[str, ...]:
        return tuple(name for name in self._containers if name not in self._urls)

    @property
    def urls(self) -> Mapping[str, str]:
        return self._urls

    def logs(self) -> Mapping[str, str]:
        return {
            name: self._engine.logs(container, tail=LOG_LINES_MAX)
            for name, container in self._containers.items()
        }

    def session_of(self, worker: str) -> str | None:
        """As the cluster lists it: a worker is named after its host, which is its container."""
        for url in self._urls.values():
            try:
                with urllib.request.urlopen(  # noqa: S310 - a URL of ours.
                    f"{url}/workers?consistency=stale", timeout=ANSWER_SECONDS
                ) as answer:
                    listed = json.load(answer)["workers"]
            except OSError:
                continue
            return _session(listed, self._containers[worker])
        return None

    async def start(self) -> None:
        nodes, workers, lease_seconds, bug = self._settings
        self._engine = await asyncio.to_thread(Engine.connect)
        image = await asyncio.to_thread(self._engine.image_of, compose.ROOT)
        ports = list(itertools.islice(free_ports(HOST, self._http_port), nodes))
        self._urls = {
            node: f"http://{HOST}:{port}" for node, port in zip(self._urls, ports, strict=True)
        }
        subnet = free_subnet(await asyncio.to_thread(self._engine.subnets))
        self._plan = Plan(self.project, image, ports, lease_seconds, subnet, bug)
        self._journal = Journal.begin(self.name, at_exit=leftovers.remove, project=self.project)
        self._compose = Compose(self._plan, state_directory() / f"{self.project}.json")
        await self._compose.up(*self.nodes)
        await self._find_containers()
        await self._wait_healthy()
        if workers:
            await self._compose.up(worker=workers)
            await self._find_containers()
            await self._wait_joined(workers)

    async def stop(self) -> None:
        if self._journal is None:
            return
        await asyncio.to_thread(self._engine.remove_project, self.project)
        self._compose.forget()
        self._journal.end()

    # Containers and disks.

    async def kill(self, name: str) -> None:
        await self._count(name)
        self._note(KILLED, name)
        await self._do(self._engine.kill, name)
        self._forget(PAUSED, name)

    async def end(self, name: str) -> None:
        await self._count(name)
        self._note(KILLED, name)
        await asyncio.to_thread(
            self._engine.end, self._containers[name], timeout_seconds=GRACE_SECONDS
        )

    async def revive(self, name: str) -> None:
        await self._do(self._engine.start, name)
        self._queued.pop(name, None)  # They went with the namespace.
        self._forget(KILLED, name)
        await self._impose_around(name)

    async def restart(self, name: str) -> None:
        await self._count(name)
        await asyncio.to_thread(
            self._engine.restart, self._containers[name], timeout_seconds=GRACE_SECONDS
        )
        self._queued.pop(name, None)
        await self._impose_around(name)

    async def kill_all(self) -> None:
        await asyncio.gather(*map(self.kill, self._containers))

    async def revive_all(self) -> None:
        for names in (self.nodes, self.workers):
            await asyncio.gather(*(self.revive(name) for name in names if self.has_ended(name)))

    async def freeze(self, name: str) -> None:
        self._note(PAUSED, name)
        await self._do(self._engine.pause, name)

    async def thaw(self, name: str) -> None:
        await self._do(self._engine.unpause, name)
        self._forget(PAUSED, name)

    async def add_worker(self) -> str:
        dead = [worker for worker in self.workers if self.has_ended(worker)]
        if dead:
            raise Unsupported(f"compose would start {', '.join(dead)} as well: revive them first")
        before = set(self._containers)
        await self._compose.up(worker=len(self.workers) + 1)
        await self._find_containers()
        [name] = set(self._containers) - before
        return name

    async def flip_bit(self, node: str, kind: Kind) -> str:
        return await self._at_disk(node, "flip", "/data", kind)

    async def put_disk_aside(self, node: str) -> None:
        await self._at_disk(node, "aside", "/data")

    # Ways.

    async def cut(self, ways: Iterable[Way]) -> None:
        await self._set(ways, is_cut=True)

    async def reset(self, ways: Iterable[Way]) -> None:
        await self._set(ways, is_reset=True)

    async def slow(self, ways: Iterable[Way], delay_seconds: float) -> None:
        await self._set(ways, delay_seconds=delay_seconds)

    async def throttle(self, ways: Iterable[Way], bytes_per_second: float) -> None:
        await self._set(ways, bytes_per_second=bytes_per_second)

    async def lose(self, ways: Iterable[Way], share: float) -> None:
        await self._set(ways, loss=share)

    async def mend(self) -> None:
        touched = _ends(self._conditions)
        self._conditions.clear()
        await self._impose(touched)
        for node in touched:
            self._forget(LINKS, node)
        self._counted.clear()
        self._queued.clear()

    async def held_back(self) -> int:
        await asyncio.gather(*map(self._count, _ends(self._conditions)))
        return sum(self._counted.values())

    async def disconnect(self, node: str) -> None:
        await self._count(node)
        state = await asyncio.to_thread(self._state, node)
        cable = Cable(state.addresses[self._network], tuple(state.aliases[self._network]))
        self._note(UNPLUGGED, node, **cable._asdict())
        self._cables[node] = cable
        await self._do(self._engine.unplug, node, self._network)
        self._queued.pop(node, None)  # They went with the interface.

    async def reconnect(self, node: str, *, changed_address: bool = False) -> None:
        cable = self._cables[node]
        address = cable.address
        if changed_address:
            taken = {address, *(each.address for each in self._cables.values())}
            taken |= await asyncio.to_thread(self._engine.addresses, self._network)
            address = free_address(self._plan.raft_subnet, taken)
        await asyncio.to_thread(
            self._engine.plug,
            self._containers[node],
            self._network,
            address=address,
            aliases=cable.aliases,
        )
        del self._cables[node]
        self._forget(UNPLUGGED, node)
        await self._impose_around(node)

    # Signs.

    def has_ended(self, name: str) -> bool:
        return not self._state(name).is_running

    def is_stopped(self, name: str) -> bool:
        return self._state(name).is_paused

    def is_disconnected(self, node: str) -> bool:
        return self._network not in self._state(node).addresses

    def start_of(self, name: str) -> str:
        return self._state(name).started

    def address_of(self, node: str) -> str:
        """Where the others reach a node; empty while they cannot."""
        return self._state(node).addresses.get(self._network, "")

    async def last_words(self, name: str) -> str:
        """The last that a node or worker wrote."""
        return await asyncio.to_thread(self._engine.logs, self._containers[name])

    # How ways come to be as they are to be.

    async def _set(self, ways: Iterable[Way], **changes: object) -> None:
        changed, before = tuple(ways), dict(self._conditions)
        for way in changed:
            condition = before.get(way, WELL)
            self._conditions[way] = replace(condition, **changes)  # type: ignore[arg-type]
        touched = _ends(changed)
        for node in touched:
            self._note(LINKS, node)
        try:
            await self._impose(touched)
        except Unsupported:
            self._conditions = before
            await self._impose(touched)
            raise

    async def _impose_around(self, node: str) -> None:
        """Have the ways be as they are to be, after *node* came back, and maybe elsewhere."""
        await self._impose(_ends(way for way in self._conditions if node in way))

    async def _impose(self, nodes: Iterable[str]) -> None:
        """Have the namespaces of *nodes* treat what comes and goes as the conditions say."""
        addresses = await self._addresses()
        # One that has no address now will be seen to when it is back.
        await asyncio.gather(
            *(self._impose_on(node, addresses) for node in nodes if node in addresses)
        )

    async def _impose_on(self, node: str, addresses: Mapping[str, str]) -> None:
        sources, targets = {}, {}
        for (source, target), condition in self._conditions.items():
            if target == node and source in addresses:
                sources[addresses[source]] = condition
            if source == node and target in addresses and condition.is_queueing:
                targets[addresses[target]] = condition
        await self._count(node)
        links = await asyncio.to_thread(self._links, node)
        if not sources and not targets:
            await asyncio.to_thread(links.mend)
            self._queued.pop(node, None)
            return
        await asyncio.to_thread(links.stop, sources)
        if targets or node in self._queued:
            await asyncio.to_thread(links.queue, addresses[node], targets)
            self._queued[node] = 0  # New queues count from nothing.

    async def _addresses(self) -> dict[str, str]:
        """Where the nodes are for each other; one that is down or unplugged is nowhere."""
        states = await asyncio.gather(*(asyncio.to_thread(self._state, n) for n in self.nodes))
        return {
            node: state.addresses[self._network]
            for node, state in zip(self.nodes, states, strict=True)
            if state.is_running and self._network in state.addresses
        }

    async def _count(self, node: str) -> None:
        """Add what *node*'s rules and queues have counted since, before they are gone."""
        if not any(node in way for way in self._conditions):
            return
        state = await asyncio.to_thread(self._state, node)
        if not state.is_running:
            return
        links = await asyncio.to_thread(self._links, node)
        new = await asyncio.to_thread(links.take_stopped)
        if node in self._queued and self._network in state.addresses:
            queued = await asyncio.to_thread(links.queued, state.addresses[self._network])
            new += queued - self._queued[node]
            self._queued[node] = queued
        self._counted[node] = self._counted.get(node, 0) + new

    def _links(self, node: str) -> Links:
        return links_of(self._engine, self._containers[node])

    # How the containers are found and waited for.

    async def _find_containers(self) -> None:
        found = await asyncio.to_thread(self._engine.containers, self.project)
        for (service, number), container in sorted(found.items()):
            if service in self._urls:
                self._containers[service] = container
            elif service == WORKER:
                self._containers[f"{WORKER}{number}"] = container

    async def _wait_healthy(self) -> None:
        async def all_healthy() -> bool:
            states = [await asyncio.to_thread(self._state, node) for node in self.nodes]
            return all(state.health == "healthy" for state in states)

        what = f"{', '.join(self.nodes)} to be healthy"
        await self._wait(all_healthy, what)

    async def _wait_joined(self, workers: int) -> None:
        async with Client(tuple(self._urls.values()), patience_seconds=READY_SECONDS) as client:

            async def all_joined() -> bool:
                listed = await client.workers()
                return len([1 for each in listed if each["status"] == "active"]) >= workers

            await self._wait(all_joined, f"{workers} workers to join")

    async def _wait(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        try:
            await wait_until(condition, what=what, timeout_seconds=READY_SECONDS)
        except TimeoutError as error:
            words = [f"{name}: {await self.last_words(name)}" for name in self._containers]
            raise TimeoutError("\n".join([str(error), *words])) from None

    def _state(self, name: str) -> State:
        return self._engine.state(self._containers[name])

    def _note(self, what: str, name: str, **undo: object) -> None:
        assert self._journal is not None, "nothing is done before the start"
        self._journal.note(f"{what} {self._containers[name]}", **undo)

    def _forget(self, what: str, name: str) -> None:
        assert self._journal is not None, "nothing is undone before the start"
        self._journal.forget(f"{what} {self._containers[name]}")

    async def _do(self, deed: Callable[..., Any], name: str, *arguments: Any) -> None:
        await asyncio.to_thread(deed, self._containers[name], *arguments)

    async def _at_disk(self, node: str, *arguments: str) -> str:
        """Have our program for disks work on that of a node that has ended."""
        if not self.has_ended(node):
            raise Unsupported(f"{node} runs, and its disk is its own: kill it first")
        container = self._containers[node]
        status, said = await asyncio.to_thread(
            self._engine.run_beside,
            self._plan.image,
            ["python", "-m", "chaos.damage", *arguments],
            container=container,
            volumes_from=[container],
            network_mode="none",
        )
        if status:
            raise Unsupported(f"{node}: {said.strip()}")
        return said.strip()


def _ends(ways: Iterable[Way]) -> set[str]:
    """The nodes at either end."""
    return {node for way in ways for node in way}


def _session(listed: Iterable[Mapping[str, Any]], container: str) -> str | None:
    """The session, of the active ones, of the worker in *container*."""
    for each in listed:
        if each["status"] == "active" and each["name"].startswith(container[:12]):
            session: str = each["id"]
            return session
    return None
