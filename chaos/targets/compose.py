"""Compose: our docker-compose.yml brought up under another name, by whichever compose is installed.

Knows the command line and the file, not the engine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chaos.setting import USUAL, Setting
from chaos.targets.contract import Unsupported
from cluster.settings import ELECTION_SECONDS

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
NODES_MAX = 3  # That the file describes.
RAFT_PORT, HTTP_PORT = 7600, 5000  # Of every container.
UP_SECONDS = 300.0
_FIRST_HOST = 9  # Of the subnet's; the engine gives out the lowest, to itself.
COMMANDS = (("docker", "compose"), ("docker-compose",))  # The newer one first.


class Plan(NamedTuple):
    """What a project is to be."""

    project: str
    image: str
    ports: Sequence[int]  # Of this machine, one a node.
    raft_subnet: str
    setting: Setting = USUAL  # The nodes are as many as there are ports.

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node's id, which is its service as well."""
        return tuple(f"node{number}" for number in range(1, len(self.ports) + 1))


class Compose:
    """One project."""

    def __init__(self, plan: Plan, overrides: Path) -> None:
        self._plan = plan
        self._overrides = overrides  # Where to write what is other than in the file.
        self._command: Sequence[str] = ()

    async def up(self, *services: str, **scales: int) -> None:
        """Start these services as they are scaled, and what they wait for; others are left alone.

        Raises:
            Unsupported: no compose answers, or it fails; says what it said.
        """
        if not self._command:
            self._command = await _find_command()
            self._overrides.write_text(json.dumps(overrides(self._plan)))
        scaled = [f"--scale={service}={count}" for service, count in scales.items()]
        # What a scaled service waits for is up already; nothing may start again what was killed.
        options = ["--no-deps", "--no-recreate", *scaled] if scales else []
        await self._run("up", "--detach", *options, *services, *scales)

    def forget(self) -> None:
        """Leave nothing here of a project that was removed."""
        self._overrides.unlink(missing_ok=True)

    async def _run(self, *arguments: str) -> None:
        files = ("--file", str(FILE), "--file", str(self._overrides))
        named = ("--project-directory", str(ROOT), "--project-name", self._plan.project)
        status, said = await _say(
            [*self._command, *files, *named, *arguments], environment(self._plan)
        )
        if status:
            raise Unsupported(f"compose failed at {' '.join(arguments)}: {said}")


def overrides(plan: Plan) -> dict[str, Any]:
    """What the project has other than docker-compose.yml says, as a second file for compose."""
    members = ",".join(f"{node}={node}-raft:{RAFT_PORT}" for node in plan.nodes)
    changed: dict[str, Any] = {"environment": {"QUORATE_CLUSTER": members}}
    if plan.setting.bug:
        changed["entrypoint"] = ["python", "-m", "chaos.planted_node", plan.setting.bug]
    hosts = ipaddress.ip_network(plan.raft_subnet).hosts()
    addresses = dict(zip(plan.nodes, list(hosts)[_FIRST_HOST:], strict=False))
    urls = ",".join(f"http://{node}:{HTTP_PORT}" for node in plan.nodes)
    return {
        "services": {
            # Each has an address of its own, which no other is given while it is away.
            node: changed
            | {
                "networks": {
                    "raft": {"ipv4_address": str(addresses[node]), "aliases": [f"{node}-raft"]}
                }
            }
            for node in plan.nodes
        }
        | {"worker": {"environment": {"QUORATE_URL": urls}}},
        # In whole: docker-compose puts the second file's network in the first one's place.
        "networks": {
            "raft": {"internal": True, "ipam": {"config": [{"subnet": plan.raft_subnet}]}}
        },
    }


def environment(plan: Plan) -> dict[str, str]:
    """What compose fills into the file; nothing else that this process has of ours or its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("QUORATE_", "COMPOSE_"))
    }
    ports = {f"QUORATE_PORT{number}": str(port) for number, port in enumerate(plan.ports, start=1)}
    return (
        kept
        | ports
        | {
            "QUORATE_IMAGE": plan.image,
            "QUORATE_LEASE_SECONDS": f"{plan.setting.lease_seconds:g}",
            "QUORATE_ELECTION_SECONDS": f"{ELECTION_SECONDS * plan.setting.pace:g}",
            "QUORATE_SLOTS": str(plan.setting.slots),
        }
    )


async def _find_command() -> Sequence[str]:
    if not FILE.is_file():
        raise Unsupported(
            f"{FILE} is not there: containers are run from a checkout of the project;"
            " --target local needs none"
        )
    for command in COMMANDS:
        try:
            status, _said = await _say([*command, "version"], dict(os.environ))
        except FileNotFoundError:
            continue
        if status == 0:
            return command
    raise Unsupported(
        "neither `docker compose` nor `docker-compose` is installed; --target local needs none"
    )


async def _say(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run it to its end; its status, and the last that it said."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
    )
    try:
        async with asyncio.timeout(UP_SECONDS):
            said, _none = await process.communicate()
    except BaseException as error:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if isinstance(error, TimeoutError):
            what = " ".join(command)
            raise TimeoutError(f"not in {UP_SECONDS:g} s: {what}") from None
        raise
    return process.returncode or 0, said.decode(errors="replace")[-2000:]
