"""What a node finds in its data directory when it starts: who it was, its state and its log.

Reading only, but for a new directory's identity and the torn end of a log.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from cluster import codec
from cluster.caretaking import check_version
from cluster.core.machine import Machine
from cluster.errors import ConfigurationError, StorageError
from cluster.host import Host
from cluster.raft import snapshots
from cluster.raft.contract import Start
from cluster.raft.identity import Identity, claim
from cluster.raft.log import Log
from cluster.raft.membership import unformed
from cluster.raft.snapshots import Place
from cluster.raft.storage import Storage
from cluster.settings import ReplicaSettings

_SLICE_SECONDS = 0.005  # How long a turn of the loop may load.


class Recovered(NamedTuple):
    """Where a node goes on. Whoever holds it closes the storage."""

    storage: Storage
    identity: Identity
    machine: Machine
    log: Log
    start: Start


async def recover(settings: ReplicaSettings, host: Host) -> Recovered:
    """Open the data directory and read all that is in it.

    Raises:
        StorageError: it is damaged, foreign or not writable.
        ConfigurationError: the settings contradict each other.
    """
    if settings.node_id not in settings.members:
        raise ConfigurationError(
            f"node {settings.node_id!r} is not among the cluster's members "
            f"({', '.join(sorted(settings.members))}); name it in --cluster"
        )
    storage = host.open_storage(settings.data)
    try:
        identity = claim(storage, node_id=settings.node_id, incarnation=host.token())
        machine, place = await _restore(storage)
        check_version(machine, newest=settings.newest_version)
        log = Log.recover(storage, segment_bytes=settings.segment_bytes)
        start = Start(configuration=unformed(settings.members))
        if place is not None:
            start = Start(configuration=place.configuration, index=place.log_index)
        log.begin_after_snapshot(place.log_index if place else 0, place.term if place else 0)
    except OSError as error:
        storage.close()
        raise StorageError(
            f"data directory {settings.data} cannot be read and written: {error.strerror}"
        ) from error
    except BaseException:
        storage.close()
        raise
    return Recovered(storage, identity, machine, log, start)


async def _restore(storage: Storage) -> tuple[Machine, Place | None]:
    """The newest snapshot's machine, or an empty one where there is none.

    Raises:
        StorageDamaged: the snapshot is not whole, or not what was written.
        UnsupportedVersion: a newer program wrote it.
    """
    names = snapshots.names(storage)
    if not names:
        return Machine(), None
    loop = asyncio.get_running_loop()
    contents = snapshots.read_contents(storage, names[-1])
    place = snapshots.parse_place(next(contents), source=storage.path(names[-1]))
    loader = codec.MachineLoader()
    since = loop.time()
    for section in contents:
        loader.feed(section)
        if loop.time() - since > _SLICE_SECONDS:
            await asyncio.sleep(0)
            since = loop.time()
    return loader.finish(), place
