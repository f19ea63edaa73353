"""`quorate up`: a whole cluster on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from cluster.errors import ConfigurationError
from node.commands.options import (
    LEASE_SECONDS_MIN,
    SECONDS_MAX,
    Number,
    json_option,
    memory_option,
    option,
)
from node.narrator import HumanNarrator, JsonNarrator
from node.up import UpSettings, run_up


@click.command()
@option(
    "--nodes",
    variable="QUORATE_NODES",
    type=click.IntRange(1, 9),
    default=3,
    show_default=True,
    help="How many coordinators; an odd number makes the most of them.",
)
@option(
    "--workers",
    variable="QUORATE_WORKERS",
    type=click.IntRange(0, 100),
    default=3,
    show_default=True,
    help="How many workers.",
)
@option(
    "--port",
    variable="QUORATE_PORT",
    type=click.IntRange(1, 65_535),
    default=5000,
    show_default=True,
    help="The first HTTP port; a taken one is passed over.",
)
@option(
    "--data",
    variable="QUORATE_DATA",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to keep the data; by default a temporary directory.",
)
@option(
    "--app",
    "modules",
    metavar="MODULE",
    multiple=True,
    variable="QUORATE_APP",
    help="A module of handlers for the workers; may be given again.",
)
@option(
    "--lease-seconds",
    variable="QUORATE_LEASE_SECONDS",
    type=Number(LEASE_SECONDS_MIN, SECONDS_MAX),
    help="How long a silent worker keeps its tasks; 15, and 3 with --demo.",
)
@memory_option
@click.option("--demo", "wants_demo", is_flag=True, help="Tell the story: the leader is killed.")
@click.option("--exit", "ends_after_demo", is_flag=True, help="End after the story.")
@json_option
def up(
    *,
    nodes: int,
    workers: int,
    port: int,
    data: Path | None,
    modules: tuple[str, ...],
    lease_seconds: float | None,
    memory_bytes_max: int | None,
    wants_demo: bool,
    ends_after_demo: bool,
    wants_json: bool,
) -> int:
    """Run a whole cluster on this machine, until Ctrl-C."""
    if ends_after_demo and not wants_demo:
        raise click.UsageError("--exit ends the story, so it goes with --demo")
    if wants_demo and (nodes < 3 or workers < 1 or modules):
        raise ConfigurationError(
            "--demo needs three nodes, a worker and the built-in types: one node is killed in it"
        )
    settings = UpSettings(
        data=data,
        nodes=nodes,
        workers=workers,
        http_port=port,
        modules=modules,
        # A task that was on its way to a worker through the killed node goes back after one to two
        # heartbeats, each a third of this: nobody should have to wait for that in the story.
        lease_seconds=lease_seconds or (3.0 if wants_demo else 15.0),
        memory_bytes_max=memory_bytes_max,
        wants_demo=wants_demo,
        ends_after_demo=ends_after_demo,
    )
    return asyncio.run(run_up(settings, JsonNarrator() if wants_json else HumanNarrator()))
