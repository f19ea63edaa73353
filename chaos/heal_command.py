"""`quorate chaos heal`: mend what a killed run has left, from its journal."""

from __future__ import annotations

import click

from chaos.healing import heal
from chaos.journal import all_journals
from cluster.errors import QuorateError


@click.command("heal", short_help="Mend what a killed run has left.")
@click.option("--down", is_flag=True, help="Remove the clusters of such runs as well.")
def heal_runs(*, down: bool) -> int:
    """Mend what runs have left that were killed: every fault that their journals hold is undone.

    Clusters of containers serve on, unless they are to go; those of processes end. A run that still
    goes on is left alone. Exit status: 1 if something could not be mended.
    """
    is_all_well = True
    for left in all_journals():
        if left.runner.is_alive():
            click.echo(f"process {left.runner.pid} still runs its target: nothing is done to it")
            continue
        try:
            told = heal(left, is_going=down)
        except QuorateError as error:
            is_all_well = False
            click.echo(f"what process {left.runner.pid} left is not mended: {error}", err=True)
            continue
        for line in told or ["nothing was left to mend"]:
            click.echo(f"of process {left.runner.pid}: {line}")
    return 0 if is_all_well else 1
