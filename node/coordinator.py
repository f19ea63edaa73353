"""One coordinator: a replica and the gateway to it, from start to a clean stop.

Owns the process's life, decides nothing about tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from cluster import core
from cluster.compiled import is_compiled
from cluster.errors import StorageDamaged
from cluster.replica import Replica
from cluster.settings import ReplicaSettings
from gateway.app import create_app, open_app
from gateway.defaults import SubmitDefaults
from gateway.serving import serve
from node.binding import explained
from node.collector import tidied
from node.config import Address
from node.lifeline import announce
from node.loops import stop_signal, unless_set

STOP_TIMEOUT_SECONDS = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What one coordinator process needs to know."""

    replica: ReplicaSettings
    http: Address
    defaults: SubmitDefaults


async def run_node(settings: NodeSettings) -> int:
    """Run until a signal (0), or until the replica must not go on (1).

    Raises:
        AddressUnavailable: the HTTP or the Raft address cannot be bound.
        StorageError: the data directory cannot be used.
        ConfigurationError: the settings contradict each other.
    """
    with tidied():
        return await _run(settings)


async def _run(settings: NodeSettings) -> int:
    asked_to_stop = stop_signal()
    async with _node(settings) as replica:
        announce(listening=str(settings.http))
        log.info(
            "answers at http://%s, speaks Raft at %s",
            settings.http,
            _own_raft(settings),
        )
        log.debug("its machine is %s", "compiled" if is_compiled(core) else "interpreted")
        failure = await unless_set(asked_to_stop, replica.wait_failed())
        if failure is not None:
            log.error("stops, because it must not go on: %s", failure)
    if failure is None:
        log.info("stopped")
        return 0
    return 1


@contextlib.asynccontextmanager
async def _node(settings: NodeSettings) -> AsyncIterator[Replica]:
    """Answer at once that the process lives; serve once the replica has its state."""
    app = create_app(defaults=settings.defaults, lease_seconds=settings.replica.lease_seconds)
    with explained(str(settings.http), "--http"):
        runner = await serve(app, settings.http.host, settings.http.port)
    try:
        replica = await _start(settings)
    except BaseException:
        await runner.cleanup()
        raise
    try:
        open_app(app, replica)
        yield replica
    finally:
        try:
            await runner.cleanup()
        finally:
            with _bounded("leaving the cluster"):
                async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
                    await replica.stop()


async def _start(settings: NodeSettings) -> Replica:
    with explained(settings.replica.raft_bind or _own_raft(settings), "--raft-bind"):
        try:
            return await Replica.start(settings.replica)
        except StorageDamaged as error:
            announce(damaged=str(error))
            raise


@contextlib.contextmanager
def _bounded(what: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        log.warning("%s took longer than %g s and was given up", what, STOP_TIMEOUT_SECONDS)


def _own_raft(settings: NodeSettings) -> str:
    return settings.replica.members[settings.replica.node_id]
