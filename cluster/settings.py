"""How one node of a cluster is set up; read by the replica alone, and never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.core.versions import NEWEST_VERSION
from cluster.raft.log import SEGMENT_BYTES
from cluster.raft.security import TlsFiles

LOG_BYTES = 64 * 1024 * 1024
BACKLOG_COMMANDS = 20_000
BACKLOG_BYTES = 64 * 1024 * 1024
SNAPSHOT_ENTRIES = 50_000  # Applied anew in some seconds. ZooKeeper's snapCount is 100,000.
TAIL_BYTES = 16 * 1024 * 1024
TAIL_ENTRIES = 10_000
ELECTION_SECONDS = 0.5  # A follower that hears no leader waits so long, to twice as long.


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings:
    """How one node is reached and where it keeps its log."""

    node_id: str
    members: Mapping[str, str]  # Node id -> "host:port" of its Raft address, this node's included.
    data: Path
    http: str  # Where this node's gateway is reached: told to the others, never used here.
    raft_bind: str | None = None  # When the bind address is another than the advertised one.
    secret: bytes | None = None  # The cluster's shared secret, which members prove to each other.
    tls: TlsFiles | None = None  # Or their certificates.
    lease_seconds: float = 15.0
    election_seconds: float = ELECTION_SECONDS  # Heartbeats and stepping down go with it.
    newest_version: int = NEWEST_VERSION  # Of the machine's rules, that this node goes along with.
    memory_bytes_max: int | None = None  # Of the tasks, when this node leads; None: as before.
    segment_bytes: int = SEGMENT_BYTES  # Of the log: it is dropped segment by segment.
    snapshot_bytes: int = LOG_BYTES  # How much new log calls for a snapshot.
    snapshot_entries: int = SNAPSHOT_ENTRIES  # Or how many entries: each takes time at a start.
    tail_bytes: int = TAIL_BYTES  # How much of the log before a snapshot is kept:
    tail_entries: int = TAIL_ENTRIES  # a follower that lacks no more needs no transfer.
    backlog_commands: int = BACKLOG_COMMANDS  # Proposed here, or taken in by this leader, and not
    backlog_bytes: int = BACKLOG_BYTES  # yet applied; see `backlog.py` for who may fill how much.
