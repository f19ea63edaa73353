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
from typing import Any, NamedTuple

from chaos.journal import Journal, state_directory
from chaos.setting import Setting
from chaos.targets import compose, leftovers
from chaos.targets.addresses import free_address, free_subnet
from chaos.targets.compose import Compose, Plan
from chaos.targets.contract import Kind, Unsupported, Way
from chaos.targets.engine import Engine, State
from chaos.targets.impairing import Impairing
from chaos.targets.leftovers import KILLED, LINKS, PAUSED, UNPLUGGED, WORKER
from chaos.targets.ways import Ways, ends
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


class DockerTarget(Impairing):
    """Three nodes at most, and workers, in containers."""

    name = "docker"

    def __init__(self, setting: Setting, *, http_port: int) -> None:
        """A target that is not started; nodes answer at the next free ports from *http_port* on.

        Raises:
            Unsupported: there are to be more nodes than the compose file has.
        """
        if setting.nodes > compose.NODES_MAX:
            raise Unsupported(
                f"docker-compose.yml has {compose.NODES_MAX} nodes, and {setting.nodes} are asked"
                " for: --target local has as many as one likes"
            )
        self.project = f"quorate-chaos-{random.SystemRandom().getrandbits(32):08x}"
        self._network = f"{self.project}_raft"
        self._http_port = http_port
        self._setting = setting
        self._urls = dict.fromkeys((f"node{number}" for number in range(1, setting.nodes + 1)), "")
        self._containers: dict[str, str] = {}  # By the name of the node or worker.
        self._cables: dict[str, Cable] = {}  # Of nodes whose cable is out.
        self._journal: Journal | None = None  # There is one once there is anything to undo.

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
        setting = self._setting
        self._engine = await asyncio.to_thread(Engine.connect)
        self._ways = Ways(self._engine, self._network, self._containers, self.nodes)
        image = await asyncio.to_thread(self._engine.image_of, compose.ROOT)
        ports = list(itertools.islice(free_ports(HOST, self._http_port), setting.nodes))
        self._urls = {
            node: f"http://{HOST}:{port}" for node, port in zip(self._urls, ports, strict=True)
        }
        subnet = free_subnet(await asyncio.to_thread(self._engine.subnets))
        self._plan = Plan(self.project, image, ports, subnet, setting)
        self._journal = Journal.begin(self.name, at_exit=leftovers.remove, project=self.project)
        self._compose = Compose(self._plan, state_directory() / f"{self.project}.json")
        await self._compose.up(*self.nodes)
        await self._find_containers()
        await self._wait_healthy()
        if setting.workers:
            await self._compose.up(worker=setting.workers)
            await self._find_containers()
            await self._wait_joined(setting.workers)

    async def stop(self) -> None:
        if self._journal is None:
            return
        await asyncio.to_thread(self._engine.remove_project, self.project)
        self._compose.forget()
        self._journal.end()

    # Containers and disks.

    async def kill(self, name: str) -> None:
        async with self._ways.leaving(name):
            await self._kill(name)

    async def end(self, name: str) -> None:
        self._note(KILLED, name)
        async with self._ways.leaving(name):
            await asyncio.to_thread(
                self._engine.end, self._containers[name], timeout_seconds=GRACE_SECONDS
            )

    async def revive(self, name: str) -> None:
        await self._do(self._engine.start, name)
        self._forget(KILLED, name)
        await self._ways.come_back(name)

    async def restart(self, name: str) -> None:
        async with self._ways.leaving(name):
            await asyncio.to_thread(
                self._engine.restart, self._containers[name], timeout_seconds=GRACE_SECONDS
            )
        await self._ways.come_back(name)

    async def kill_all(self) -> None:
        async with self._ways.leaving(*self._containers):
            await asyncio.gather(*map(self._kill, self._containers))

    async def revive_all(self) -> None:
        for names in (self.nodes, self.workers):
            await asyncio.gather(*(self.revive(name) for name in names if self.has_ended(name)))

    async def freeze(self, name: str) -> None:
        self._note(PAUSED, name)
        await self._do(self._engine.pause, name)

    async def thaw(self, name: str) -> None:
        await self._do(self._engine.unpause, name)
        self._forget(PAUSED, name)

    async def add_workers(self, count: int) -> list[str]:
        return sorted(await self.scale(len(self.workers) + count))

    async def scale(self, workers: int) -> set[str]:
        """Have so many workers, as `--scale worker=` does; the names of the new ones."""
        dead = [worker for worker in self.workers if self.has_ended(worker)]
        if dead:
            raise Unsupported(f"compose would start {', '.join(dead)} as well: revive them first")
        before = set(self._containers)
        await self._compose.up(worker=workers)
        await self._find_containers()
        return set(self._containers) - before

    async def flip_bit(self, node: str, kind: Kind) -> str:
        return await self._at_disk(node, "flip", "/data", kind)

    async def put_disk_aside(self, node: str) -> None:
        await self._at_disk(node, "aside", "/data")

    # Ways.

    async def mend(self) -> None:
        for node in await self._ways.mend():
            self._forget(LINKS, node)

    async def held_back(self) -> int:
        return await self._ways.held_back()

    async def disconnect(self, node: str) -> None:
        state = await asyncio.to_thread(self._state, node)
        cable = Cable(state.addresses[self._network], tuple(state.aliases[self._network]))
        self._note(UNPLUGGED, node, **cable._asdict())
        self._cables[node] = cable
        async with self._ways.leaving(node):
            await self._do(self._engine.unplug, node, self._network)

    async def reconnect(self, node: str, *, changed_address: bool = False) -> None:
        if not self.is_disconnected(node):
            return
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
        await self._ways.come_back(node)

    # Signs.

    def has_ended(self, name: str) -> bool:
        state = self._state(name)
        return state.is_restarting or not state.is_running

    def is_stopped(self, name: str) -> bool:
        return self._state(name).is_paused

    def is_disconnected(self, node: str) -> bool:
        return self._network not in self._state(node).addresses

    def start_of(self, name: str) -> str:
        return self._state(name).started

    def container_of(self, name: str) -> str:
        """The id of the container that a node or worker is."""
        return self._containers[name]

    @property
    def image(self) -> str:
        """What nodes and workers run, once started."""
        return self._plan.image

    def address_of(self, node: str) -> str:
        """Where the others reach a node; empty while they cannot."""
        return self._state(node).addresses.get(self._network, "")

    async def last_words(self, name: str) -> str:
        """The last that a node or worker wrote."""
        return await asyncio.to_thread(self._engine.logs, self._containers[name])

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

    async def _set(self, ways: Iterable[Way], **changes: object) -> None:
        changed = tuple(ways)
        for node in ends(changed):
            self._note(LINKS, node)
        await self._ways.change(changed, **changes)

    def _note(self, what: str, name: str, **undo: object) -> None:
        assert self._journal is not None, "nothing is done before the start"
        self._journal.note(f"{what} {self._containers[name]}", **undo)

    def _forget(self, what: str, name: str) -> None:
        assert self._journal is not None, "nothing is undone before the start"
        self._journal.forget(f"{what} {self._containers[name]}")

    async def _kill(self, name: str) -> None:
        self._note(KILLED, name)
        await self._do(self._engine.kill, name)
        self._forget(PAUSED, name)

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


def _session(listed: Iterable[Mapping[str, Any]], container: str) -> str | None:
    """The session, of the active ones, of the worker in *container*."""
    for each in listed:
        if each["status"] == "active" and each["name"].startswith(container[:12]):
            session: str = each["id"]
            return session
    return None
