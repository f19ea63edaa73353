"""`quorate node`: one coordinator with its gateway."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cluster.crashpoints import arm_from_environment
from cluster.errors import ConfigurationError
from cluster.settings import ELECTION_SECONDS, LOG_BYTES, ReplicaSettings
from gateway.defaults import SubmitDefaults
from node.commands.options import (
    BYTES_MAX,
    LEASE_SECONDS_MIN,
    SECONDS_MAX,
    Number,
    log_level_option,
    memory_option,
    option,
)
from node.config import (
    parse_address,
    parse_members,
    parse_tls,
    read_secret,
    refuse_open_bind,
)
from node.coordinator import NodeSettings, run_node
from node.log import configure_logging
from node.loops import run
from node.memory import memory_bytes_default


@click.command()
@option(
    "--id",
    "node_id",
    variable="QUORATE_ID",
    required=True,
    help="This node's id, one of --cluster.",
)
@option(
    "--cluster",
    "members",
    variable="QUORATE_CLUSTER",
    required=True,
    help="Every node's Raft address: node1=127.0.0.1:7600,node2=127.0.0.1:7601,…",
)
@option(
    "--http",
    variable="QUORATE_HTTP",
    default="127.0.0.1:5000",
    show_default=True,
    help="Where the gateway listens.",
)
@option(
    "--data",
    variable="QUORATE_DATA",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The directory of this node's log; made if it is not there.",
)
@option(
    "--raft-bind",
    variable="QUORATE_RAFT_BIND",
    help="Where to listen for the other nodes, when that is not the address in --cluster.",
)
@option(
    "--secret-file",
    variable="QUORATE_SECRET_FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The secret that every node of the cluster shares.",
)
@option(
    "--tls-cert",
    variable="QUORATE_TLS_CERT",
    help="This node's certificate for mutual TLS between nodes (PEM); it names the node's id.",
)
@option("--tls-key", variable="QUORATE_TLS_KEY", help="The certificate's private key (PEM).")
@option("--tls-ca", variable="QUORATE_TLS_CA", help="The authority that signed every node's (PEM).")
@option(
    "--snapshot-bytes",
    variable="QUORATE_SNAPSHOT_BYTES",
    type=click.IntRange(1, BYTES_MAX),
    default=LOG_BYTES,
    show_default=True,
    help="How much new log calls for a snapshot, after which old log is dropped.",
)
@option(
    "--lease-seconds",
    variable="QUORATE_LEASE_SECONDS",
    type=Number(LEASE_SECONDS_MIN, SECONDS_MAX),
    default=15.0,
    show_default=True,
    help="How long a silent worker keeps its tasks.",
)
@option(
    "--election-seconds",
    variable="QUORATE_ELECTION_SECONDS",
    type=Number(0.05, SECONDS_MAX),
    default=ELECTION_SECONDS,
    show_default=True,
    help="How long a follower hears no leader, at least, before it looks for another.",
)
@memory_option
@log_level_option
def node(
    *,
    node_id: str,
    members: str,
    http: str,
    data: Path,
    raft_bind: str | None,
    secret_file: Path | None,
    tls_cert: str | None,
    tls_key: str | None,
    tls_ca: str | None,
    snapshot_bytes: int,
    lease_seconds: float,
    election_seconds: float,
    memory_bytes_max: int | None,
    log_level: str,
) -> int:
    """One coordinator with its gateway, until SIGTERM or Ctrl-C."""
    configure_logging(node_id, level=log_level)
    raft_addresses = parse_members(members)
    if node_id not in raft_addresses:
        raise ConfigurationError(
            f"--id {node_id} is not in --cluster, which names {', '.join(raft_addresses)}"
        )
    http_address = parse_address(http)
    secret = read_secret(secret_file)
    bind = parse_address(raft_bind or raft_addresses[node_id])
    tls = parse_tls(tls_cert, tls_key, tls_ca)
    is_proved = secret is not None or tls is not None
    refuse_open_bind({"--http": http_address, "--raft-bind": bind}, is_proved=is_proved)
    arm_from_environment(os.environ)
    settings = NodeSettings(
        replica=ReplicaSettings(
            node_id=node_id,
            members=raft_addresses,
            data=data,
            http=f"http://{http_address}",
            raft_bind=raft_bind,
            secret=secret,
            tls=tls,
            snapshot_bytes=snapshot_bytes,
            lease_seconds=lease_seconds,
            election_seconds=election_seconds,
            memory_bytes_max=memory_bytes_max or memory_bytes_default(),
        ),
        http=http_address,
        defaults=SubmitDefaults.from_environment(os.environ),
    )
    return run(run_node(settings))
