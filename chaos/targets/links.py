"""The ways between containers: each node's network namespace, and the programs that act within it.

From the host, by nsenter, where this process is root on the engine's machine; else from a container
that shares the namespace, if there is an image with iptables in it. Calls block.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from chaos.targets import packets
from chaos.targets.contract import BeyondKernel, Condition, Unsupported
from chaos.targets.engine import Engine
from cluster.errors import QuorateError

IMAGE_VARIABLE = "QUORATE_CHAOS_NETWORK_IMAGE"
TIMEOUT = "30"  # Seconds that a program may take; then it has failed.
_JUMP = f"INPUT --jump {packets.CHAIN}"
# One program instead of several: a cut of some ways is to come as nearly at once as it can.
_STOP = f"""iptables-restore --wait --noflush || exit
iptables --wait --check {_JUMP} 2> /dev/null || iptables --wait --insert {_JUMP}"""
_PASS = f"""iptables --wait --delete {_JUMP}
iptables --wait --flush {packets.CHAIN}
iptables --wait --delete-chain {packets.CHAIN}"""

Run = Callable[[Sequence[str], str], str]  # A command, and what it reads; returns what it says.


class Failed(QuorateError):
    """A program within the namespace failed. The message is its own."""


class Links:
    """The ways to and from one container."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def stop(self, sources: Mapping[str, Condition], *, one_way: Collection[str] = ()) -> None:
        """Have packets from these addresses lost or reset as told, and all others come in.

        Of those in *one_way* acknowledgements come in as well: see `packets.rules`.
        """
        self._run(["sh", "-c", _STOP], packets.rules(sources, one_way=one_way))

    def queue(self, address: str, targets: Mapping[str, Condition]) -> None:
        """Have what goes to these addresses wait as told, on the interface that has *address*.

        Raises:
            Unsupported: the kernel cannot do that.
        """
        interface = self._interface(address)
        self._run(["sh", "-c", f"{_unqueue(interface)}; true"], "")
        if not targets:
            return
        try:
            self._run(["tc", "-batch", "-"], packets.queues(interface, targets))
        except Failed as error:
            self._run(["sh", "-c", f"{_unqueue(interface)}; true"], "")
            raise _what_is_missing(str(error)) from None

    def take_stopped(self) -> int:
        """How many packets were lost or reset since this was asked last."""
        listing = ["iptables", "--wait", "--list", packets.CHAIN, "-n", "-v", "-x", "--zero"]
        try:
            return packets.packets_stopped(self._run(listing, ""))
        except Failed:
            return 0  # There is no such chain, or no more: a restart takes it along.

    def queued(self, address: str) -> int:
        """How many packets went through the queues of the interface that has *address*."""
        try:
            told = self._run(["tc", "-s", "class", "show", "dev", self._interface(address)], "")
        except Failed:
            return 0
        return packets.packets_queued(told)

    def mend(self) -> None:
        """Let every packet pass at once. Does nothing where nothing was done."""
        unqueued = map(_unqueue, self._interfaces().values())
        self._run(["sh", "-c", "\n".join([_PASS, *unqueued, "true"])], "")

    def _interface(self, address: str) -> str:
        interface = self._interfaces().get(address)
        if interface is None:
            raise Failed(f"no interface has {address}")
        return interface

    def _interfaces(self) -> dict[str, str]:
        """Interfaces by their IPv4 address."""
        rows = (row.split() for row in self._run(["ip", "-o", "-4", "address"], "").splitlines())
        return {row[3].split("/")[0]: row[1] for row in rows if row[1] != "lo"}


def links_of(engine: Engine, container: str, *, is_host: bool | None = None) -> Links:
    """The ways of a container that runs. *is_host* says from where; by default, as it can be had.

    Raises:
        Unsupported: from nowhere. Says what is missing.
    """
    pid = engine.state(container).pid
    if is_host or (is_host is None and _is_host_of(container, pid)):
        return Links(_from_the_host(pid))
    image = os.environ.get(IMAGE_VARIABLE)
    if not image:
        raise Unsupported(
            "the ways between containers are cut by iptables and slowed by tc: run as root on the"
            f" engine's machine with both installed, or name an image that has them in"
            f" {IMAGE_VARIABLE}; `disconnect` and --target local need neither"
        )
    return Links(_from_a_container(engine, container, image))


def _unqueue(interface: str) -> str:
    return f"tc qdisc del dev {interface} root"


def _is_host_of(container: str, pid: int) -> bool:
    """Whether we may enter its namespace: as root, where that pid is of that container."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("nsenter", "iptables", "tc", "ip"))):
        return False
    try:
        return container in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def _from_the_host(pid: int) -> Run:
    def run(command: Sequence[str], told: str) -> str:
        done = subprocess.run(  # noqa: S603 - commands of ours.
            ["timeout", TIMEOUT, "nsenter", "--target", str(pid), "--net", *command],  # noqa: S607 - where it is, differs.
            input=told, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(done.stderr)
        return done.stdout

    return run


def _from_a_container(engine: Engine, container: str, image: str) -> Run:
    def run(command: Sequence[str], told: str) -> str:
        # A shell reads what is told: a container's own input would want a second connection.
        script = 'printf %s "$TOLD" | "$@"'
        status, said = engine.run_beside(
            image,
            ["sh", "-c", script, "sh", *command],
            container=container,
            environment={"TOLD": told},
            network_mode=f"container:{container}",
            cap_add=["NET_ADMIN"],
            user="0",
        )
        if status == 127:
            raise Unsupported(f"the image {image} has no {command[0]}")
        if status:
            raise Failed(said)
        return said

    return run


def _what_is_missing(error: str) -> Unsupported:
    if "netem" in error or "qdisc kind is unknown" in error:
        return BeyondKernel(
            "this kernel has no netem, by which containers' links are slowed: load sch_netem;"
            " `throttle` and `lose` do without, and --target local slows its own"
        )
    return Unsupported(f"tc cannot do that here: {error.strip()}")
