"""Who a node is: its id, and the incarnation of its disk.

The incarnation is drawn once, when the data directory is made. A member that comes back with
another one has lost its log, and with it its votes: it must not count as if it remembered.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import msgpack

from cluster.crashpoints import reach
from cluster.errors import StorageDamaged, StorageMismatch
from cluster.raft.storage import Storage, write_file

IDENTITY_VERSION = 1
_FILE = "identity"


class Identity(NamedTuple):
    """What a data directory says of its owner. The log says which cluster it belongs to."""

    node_id: str
    incarnation: str


def claim(storage: Storage, *, node_id: str, incarnation: str) -> Identity:
    """Read the identity in *storage*, or write this one if the directory is new.

    Raises:
        StorageMismatch: the directory belongs to another node.
        StorageDamaged: the identity cannot be read, or is missing where there is a log.
    """
    names = storage.names()
    if _FILE not in names:
        if names:
            raise StorageDamaged(
                f"{storage.path(_FILE)} is missing though the directory holds {names[0]}; "
                "restore it, or move the directory away and start as a new member"
            )
        mine = Identity(node_id, incarnation)
        reach("identity.before_written")
        write_file(storage, _FILE, _pack(mine))
        reach("identity.after_written")
        return mine
    stored = _read(storage)
    if names == [_FILE]:
        # Its log was never begun, or is gone: either way it is not a disk that has voted.
        stored = stored._replace(incarnation=incarnation)
        reach("identity.before_rewritten")
        write_file(storage, _FILE, _pack(stored))
    if stored.node_id != node_id:
        raise StorageMismatch(
            f"{storage.path(_FILE)} belongs to node {stored.node_id!r}, this is {node_id!r}; "
            "give each node a data directory of its own"
        )
    return stored


def _pack(identity: Identity) -> bytes:
    body: bytes = msgpack.packb([IDENTITY_VERSION, *identity])
    return zlib.crc32(body).to_bytes(4, "little") + body


def _read(storage: Storage) -> Identity:
    content = storage.read(_FILE)
    body = content[4:]
    if zlib.crc32(body).to_bytes(4, "little") != content[:4]:
        raise StorageDamaged(
            f"{storage.path(_FILE)} is damaged: its checksum is wrong; "
            "move the data directory away and start this node as a new member"
        )
    version, *fields = msgpack.unpackb(body)
    if version != IDENTITY_VERSION:
        raise StorageMismatch(
            f"{storage.path(_FILE)} is of version {version}; this program knows {IDENTITY_VERSION}"
        )
    return Identity(*fields)
