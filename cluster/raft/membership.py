"""Who the members are, and whose votes count: a configuration is an entry of the log.

A configuration takes effect when it is appended and is undone when it is truncated; it changes by
one member at a time, after the leader's own no-op is committed (Ongaro's dissertation, §4.1, and
his correction of 2015, https://groups.google.com/g/raft-dev/c/t4xj6dJTP6E).

A member is bound to the incarnation of its disk. One that comes back with another has lost its log
and its votes, so it neither votes nor counts until it has caught up and a configuration binds it
anew. For that to be sure from the first write on, a cluster *forms* only once all its members have
met: until then every vote and every commit needs all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

import msgpack

from cluster.errors import UnsupportedVersion

CONFIGURATION = b"\x04"  # The first byte of an entry that holds one; pysyncobj's own end at 3.
_VERSION = 1


class Stage(IntEnum):
    """How far a cluster has come to be."""

    UNFORMED = 0  # Known only from the command line.
    FORMING = 1  # Every member is bound; all of them must hold this entry before the next stage.
    FORMED = 2  # From here on a majority decides.


class Member(NamedTuple):
    """One voting member. Its address is only how to reach it: each node may know a better one."""

    id: str
    raft: str
    incarnation: str  # Empty while unbound.


class Configuration(NamedTuple):
    """The members, sorted by id."""

    stage: Stage
    cluster_id: str  # Empty until it forms.
    members: tuple[Member, ...]

    @property
    def votes_needed(self) -> int:
        """How many members decide, the candidate or leader included."""
        if self.stage is not Stage.FORMED:
            return len(self.members)
        return len(self.members) // 2 + 1

    def member(self, node_id: str) -> Member | None:
        """The member of that id, if it is one."""
        return next((member for member in self.members if member.id == node_id), None)

    def counts(self, node_id: str, incarnation: str) -> bool:
        """Whether what that node says counts as a member's word."""
        member = self.member(node_id)
        if member is None:
            return False
        return self.stage is not Stage.FORMED or member.incarnation == incarnation

    def bound(self, incarnations: Mapping[str, str], *, cluster_id: str) -> Configuration:
        """The forming configuration, with every member bound to the incarnation given."""
        members = tuple(m._replace(incarnation=incarnations[m.id]) for m in self.members)
        return Configuration(Stage.FORMING, cluster_id, members)

    def formed(self) -> Configuration:
        """The same, decided by majorities from now on."""
        return self._replace(stage=Stage.FORMED)

    def with_member(self, member: Member) -> Configuration:
        """*member* added, or bound anew."""
        others = [other for other in self.members if other.id != member.id]
        return self._replace(members=tuple(sorted([*others, member])))

    def without(self, node_id: str) -> Configuration:
        """The member of that id removed."""
        return self._replace(members=tuple(m for m in self.members if m.id != node_id))

    def pack(self) -> bytes:
        """A log entry's content."""
        members = [list(member) for member in self.members]
        return CONFIGURATION + bytes(
            msgpack.packb([_VERSION, int(self.stage), self.cluster_id, members])
        )


def unpack(command: bytes) -> Configuration:
    """What `Configuration.pack` made.

    Raises:
        UnsupportedVersion: a newer program made it.
    """
    version, stage, cluster_id, members = msgpack.unpackb(command[1:])
    if version > _VERSION:
        raise UnsupportedVersion(
            f"the log holds a configuration of version {version}; this program knows {_VERSION}"
        )
    return Configuration(Stage(stage), cluster_id, tuple(Member(*member) for member in members))


def unformed(addresses: Mapping[str, str]) -> Configuration:
    """What the command line says, before anyone has met."""
    members: Iterable[Member] = (Member(id_, raft, "") for id_, raft in sorted(addresses.items()))
    return Configuration(Stage.UNFORMED, "", tuple(members))
