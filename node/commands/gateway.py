"""`quorate gateway`: a gateway alone."""

from __future__ import annotations

from pathlib import Path

import click

from node.commands.options import log_level_option, option
from node.config import parse_address, parse_nodes, read_secret, refuse_open_bind
from node.log import configure_logging
from node.loops import run
from node.proxying import run_gateway


@click.command()
@option(
    "--cluster",
    "nodes",
    variable="QUORATE_CLUSTER",
    required=True,
    help="Every node's HTTP address: node1=http://127.0.0.1:5000,node2=http://…",
)
@option(
    "--http",
    variable="QUORATE_HTTP",
    default="127.0.0.1:5000",
    show_default=True,
    help="Where the gateway listens.",
)
@option(
    "--secret-file",
    variable="QUORATE_SECRET_FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The cluster's secret, without which it stays on the loopback as a node does.",
)
@log_level_option
def gateway(*, nodes: str, http: str, secret_file: Path | None, log_level: str) -> int:
    """A gateway alone, no vote, no data: it passes everything on to a node that lives."""
    configure_logging("gateway", level=log_level)
    urls = parse_nodes(nodes)
    address = parse_address(http)
    refuse_open_bind({"--http": address}, is_proved=read_secret(secret_file) is not None)
    return run(run_gateway(urls, address))
