"""Who a node is: its cluster, its id, and the incarnation of its disk.

The incarnation is drawn once, when the data directory is made. A member that comes back with
another one has lost its log, and with it its votes: it must not count as if it remembered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import msgpack

from cluster.errors import StorageDamaged, StorageMismatch
from cluster.raft.storage import Storage

IDENTITY_VERSION = 1
_FILE = "identity"


class Identity(NamedTuple):
    """What a data directory says of its owner."""

    cluster_id: str
    node_id: str
    incarnation: str


def cluster_id_of(member_ids: Iterable[str]) -> str:
    """The id of a cluster formed by exactly these members, equal on each of them."""
    names = "\n".join(sorted(member_ids)).encode()
    return hashlib.blake2b(names, digest_size=8, person=b"quorate-cluster").hexdigest()


def claim(storage: Storage, *, cluster_id: str, node_id: str, incarnation: str) -> Identity:
    """Read the identity in *storage*, or write this one if the directory is new.

    Raises:
        StorageMismatch: the directory belongs to another node or cluster.
        StorageDamaged: the identity cannot be read.
    """
    names = storage.names()
    if _FILE not in names:
        if names:
            raise StorageDamaged(
                f"{storage.path(_FILE)} is missing though the directory holds {names[0]}; "
                "restore it, or move the directory away and start as a new member"
            )
        mine = Identity(cluster_id, node_id, incarnation)
        storage.write(_FILE, msgpack.packb([IDENTITY_VERSION, *mine]))
        return mine
    stored = _read(storage)
    if stored.node_id != node_id:
        raise StorageMismatch(
            f"{storage.path(_FILE)} belongs to node {stored.node_id!r}, this is {node_id!r}; "
            "give each node a data directory of its own"
        )
    if stored.cluster_id != cluster_id:
        raise StorageMismatch(
            f"{storage.path(_FILE)} belongs to cluster {stored.cluster_id}, whose members were "
            f"others than --cluster names (that would be {cluster_id}); name the same members"
        )
    return stored


def _read(storage: Storage) -> Identity:
    try:
        version, cluster_id, node_id, incarnation = msgpack.unpackb(storage.read(_FILE))
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise StorageDamaged(
            f"{storage.path(_FILE)} cannot be read ({error}); "
            "move the directory away and start as a new member"
        ) from error
    if version != IDENTITY_VERSION:
        raise StorageMismatch(
            f"{storage.path(_FILE)} is of version {version}; this program knows {IDENTITY_VERSION}"
        )
    return Identity(cluster_id, node_id, incarnation)
