"""The Docker engine, through its SDK: containers found by their labels, and what is done to them.

The only file that imports the SDK, and only once an engine is wanted. Calls block.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import subprocess
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chaos.targets.contract import Unsupported
from cluster.errors import QuorateError

PROJECT, SERVICE, NUMBER = (
    f"com.docker.compose.{name}" for name in ("project", "service", "container-number")
)
SOURCES = "quorate.sources"  # On an image: the hash of what it was built from.
BASE_IMAGE, LOCAL_BASE_IMAGE = "python:3.12-slim", "quorate-base:local"
ANSWER_SECONDS = 60
PAUSES = 5
REMOVALS = 10  # Each try removes what the one before had still in use.
INSTEAD = "--target local needs none of it"


class State(NamedTuple):
    """How a container is."""

    is_running: bool  # For the engine's purposes, also while it waits to be started again.
    is_restarting: bool  # It has ended by itself, and its restart policy will start it again.
    is_paused: bool
    health: str  # Empty where nothing looks after it.
    pid: int  # On the engine's machine.
    started: str
    addresses: Mapping[str, str]  # By network.
    aliases: Mapping[str, Sequence[str]]


class Refused(QuorateError):
    """The engine did not do it, or did not answer in time. The message is its own."""


class Engine:
    """One that answers. What it refuses is `Refused`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._refusals = (_docker().errors.APIError, OSError)
        self._api = _Api(client.api, self._refusals)

    @classmethod
    def connect(cls) -> Engine:
        """The engine that DOCKER_HOST names, or this machine's.

        Raises:
            Unsupported: none answers, or its SDK is not installed.
        """
        docker = _docker()
        client, reason = None, ""
        with warnings.catch_warnings():
            # The SDK lets a socket go that could not connect, and does not close it.
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                client = docker.from_env(timeout=ANSWER_SECONDS)
            except docker.errors.DockerException as error:
                reason = _first_line(error)
            gc.collect()
        if client is None:
            raise Unsupported(f"no Docker engine answers here ({reason}): start one; {INSTEAD}")
        return cls(client)

    # Projects.

    def containers(self, project: str, service: str = "") -> dict[tuple[str, int], str]:
        """The ids of a project's containers, running or not, by service and number."""
        labels = [f"{PROJECT}={project}", f"{SERVICE}={service}" if service else SERVICE]
        found = self._api.containers(all=True, filters={"label": labels})
        return {
            (each["Labels"][SERVICE], int(each["Labels"].get(NUMBER, 1))): each["Id"]
            for each in found
        }

    def remove_project(self, project: str) -> list[str]:
        """Remove all that has the project's label: containers as they stand, networks, volumes.

        Returns:
            What was there.

        Raises:
            Refused: something is there still; says what.
        """
        removed: dict[str, None] = {}
        for _ in range(REMOVALS):
            left = self._remove_what_is_left(project)
            if not left:
                return [*removed]
            removed |= dict.fromkeys(left)
        raise Refused(f"the engine does not remove {', '.join(left)}")

    def _remove_what_is_left(self, project: str) -> list[str]:
        """Try to remove what there is of a project; what there was. Another try may find less."""
        mine = {"label": f"{PROJECT}={project}"}
        there = []
        for container in self._client.containers.list(all=True, filters=mine, ignore_removed=True):
            there.append(container.name)
            self._unless_refused(container.remove, force=True, v=True)
        for network in self._client.networks.list(filters=mine):
            there.append(network.name)
            self._unless_refused(network.remove)
        for volume in self._client.volumes.list(filters=mine):
            there.append(volume.name)
            self._unless_refused(volume.remove, force=True)
        return there

    # Containers.

    def state(self, container: str) -> State:
        """How it is now."""
        told = self._api.inspect_container(container)
        state, networks = told["State"], told["NetworkSettings"]["Networks"]
        return State(
            is_running=state["Running"],
            is_restarting=state["Restarting"],
            is_paused=state["Paused"],
            health=state.get("Health", {}).get("Status", ""),
            pid=state["Pid"],
            started=state["StartedAt"],
            addresses={name: each["IPAddress"] for name, each in networks.items()},
            aliases={name: each["Aliases"] or () for name, each in networks.items()},
        )

    def kill(self, container: str) -> None:
        """SIGKILL, and wait for the end; nothing happens to one that has ended.

        The engine takes it for a wish and does not start it again, whatever its restart policy:
        one that dies by itself it does.
        """
        self._signal_and_wait(container, lambda: self._api.kill(container, "SIGKILL"))

    def end(self, container: str, *, timeout_seconds: int) -> None:
        """SIGTERM, and SIGKILL when the time is up."""
        self._signal_and_wait(container, lambda: self._api.stop(container, timeout=timeout_seconds))

    def start(self, container: str) -> None:
        """Start it again on what it had; nothing happens to one that runs."""
        self._api.start(container)

    def restart(self, container: str, *, timeout_seconds: int) -> None:
        """SIGTERM, SIGKILL when the time is up, and start it again."""
        self._api.restart(container, timeout=timeout_seconds)

    def pause(self, container: str) -> None:
        """Stop its processes where they stand. One that waits for a disk may take some tries."""
        for tries_left in reversed(range(PAUSES)):
            try:
                self._api.pause(container)
            except Refused:
                if not tries_left:
                    raise
            else:
                return

    def unpause(self, container: str) -> None:
        """Let its processes go on; nothing happens to one that is not paused."""
        if self.state(container).is_paused:
            self._api.unpause(container)

    def logs(self, container: str, *, tail: int = 20) -> str:
        """What it wrote last."""
        told: bytes = self._api.logs(container, tail=tail)
        return told.decode(errors="replace")

    # Networks.

    def subnets(self) -> set[str]:
        """Those that the engine's networks have."""
        return {
            pool["Subnet"]
            for network in self._client.networks.list()
            for pool in (network.attrs["IPAM"]["Config"] or ())
        }

    def addresses(self, network: str) -> set[str]:
        """Those that are in use on a network."""
        told = self._api.inspect_network(network)
        return {each["IPv4Address"].split("/")[0] for each in told["Containers"].values()}

    def unplug(self, container: str, network: str) -> None:
        """Take the container off the network: its interface, address and name there vanish."""
        self._api.disconnect_container_from_network(container, network)

    def plug(self, container: str, network: str, *, address: str, aliases: Sequence[str]) -> None:
        """Put it on the network again."""
        self._api.connect_container_to_network(
            container, network, ipv4_address=address, aliases=list(aliases)
        )

    # Programs beside a container.

    def run_beside(
        self, image: str, command: Sequence[str], *, container: str, **options: Any
    ) -> tuple[int, str]:
        """Run a program in a container of its own that shares something with *container*.

        *options* are the SDK's, and say what it shares. Returns its status and all that it wrote.

        Raises:
            Unsupported: the image has no such program.
        """
        program, *arguments = command
        labels = self._api.inspect_container(container)["Config"]["Labels"]
        helper = self._client.containers.create(
            image,
            arguments,
            entrypoint=[program],
            labels={PROJECT: labels.get(PROJECT, "")},
            **options,
        )
        try:
            try:
                helper.start()
            except self._refusals as error:
                raise Unsupported(f"{image} has no {program}: {_first_line(error)}") from None
            status = helper.wait(timeout=ANSWER_SECONDS)["StatusCode"]
            return status, helper.logs().decode(errors="replace")
        finally:
            self._unless_refused(helper.remove, force=True)

    # Images.

    def image_of(self, sources: Path) -> str:
        """The image of what is in *sources*, built unless there is one of just that.

        One that QUORATE_IMAGE names is taken as it is.

        Raises:
            Unsupported: it cannot be built; says why.
        """
        asked = os.environ.get("QUORATE_IMAGE")
        if asked:
            return asked
        digest = _digest(sources)
        tag = f"quorate:chaos-{hashlib.sha256(str(sources).encode()).hexdigest()[:8]}"
        docker = _docker()
        before = None
        with contextlib.suppress(docker.errors.ImageNotFound):
            before = self._client.images.get(tag)
            if before.labels.get(SOURCES) == digest:
                return tag
        try:
            self._client.images.build(
                path=str(sources),
                tag=tag,
                rm=True,
                labels={SOURCES: digest},
                buildargs={"BASE_IMAGE": self._base_image(sources)},
            )
        except docker.errors.BuildError as error:
            said = [line["stream"] for line in error.build_log if "stream" in line]
            raise Unsupported(f"the image cannot be built: {error.msg} {''.join(said)}") from None
        if before is not None:
            self._unless_refused(self._client.images.remove, before.id)
        return tag

    def _base_image(self, sources: Path) -> str:
        """BASE_IMAGE, or what the Dockerfile names, or one made of this machine's Python."""
        asked = os.environ.get("BASE_IMAGE")
        if asked:
            return asked
        docker = _docker()
        for name in (BASE_IMAGE, LOCAL_BASE_IMAGE):
            with contextlib.suppress(docker.errors.ImageNotFound):
                self._client.images.get(name)
                return name
        with contextlib.suppress(docker.errors.APIError):
            self._client.images.pull(BASE_IMAGE)
            return BASE_IMAGE
        made = subprocess.run(  # noqa: S603 - a program of ours.
            [sources / "scripts" / "base-image", LOCAL_BASE_IMAGE],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if made.returncode:
            raise Unsupported(
                f"{BASE_IMAGE} cannot be pulled, and scripts/base-image failed: {made.stderr}"
            )
        return LOCAL_BASE_IMAGE

    def _signal_and_wait(self, container: str, signal: Any) -> None:
        if not self.state(container).is_running:
            return
        with contextlib.suppress(Refused):
            signal()
        self._api.wait(container, timeout=ANSWER_SECONDS)

    def _unless_refused(self, deed: Any, *arguments: Any, **options: Any) -> None:
        """Do it; someone else may have, or it may be in use elsewhere."""
        with contextlib.suppress(*self._refusals):
            deed(*arguments, **options)


class _Api:
    """The SDK's plain calls, with one error for whatever goes wrong."""

    def __init__(self, api: Any, refusals: tuple[type[Exception], ...]) -> None:
        self._api = api
        self._refusals = refusals

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._api, name)

        def asked(*arguments: Any, **options: Any) -> Any:
            try:
                return call(*arguments, **options)
            except self._refusals as error:
                raise Refused(f"{name}: {_first_line(error)}") from error

        return asked


def _docker() -> Any:
    try:
        import docker  # noqa: PLC0415 - an extra: the local target does without.
    except ImportError:
        raise Unsupported(
            f"the Docker SDK is not installed: pip install 'quorate[chaos]'; {INSTEAD}"
        ) from None
    return docker


def _digest(sources: Path) -> str:
    """A hash of all that the image is built from."""
    digest = hashlib.sha256()
    for path in sorted(_built_from(sources)):
        digest.update(f"{path.relative_to(sources)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _built_from(sources: Path) -> Iterator[Path]:
    """The files that .dockerignore lets through, and itself."""
    yield from (sources / "Dockerfile", sources / ".dockerignore")
    for line in (sources / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            path = sources / line.removeprefix("!")
            files = path.rglob("*") if path.is_dir() else (path,)
            yield from (file for file in files if file.is_file() and file.suffix != ".pyc")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
