"""`quorate chaos soak`: faults of every kind for as long as asked, and a verdict on all of it."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import click

from chaos import reporting
from chaos.checkers.verdicts import Status
from chaos.experiment_commands import port_option, refuse, target_option
from chaos.healing import run_to_the_end
from chaos.hosting import Place
from chaos.report.records import of_soak
from chaos.scene import Told
from chaos.soak.keeping import keep
from chaos.soak.running import Soaked, soak
from chaos.soak.schedule import draw
from cluster.errors import QuorateError
from node.commands.options import Number

SEEDS = 1_000_000
MINUTES_MAX = 240.0


@click.command("soak", short_help="Faults of every kind for some minutes, then every checker.")
@click.option("--minutes", type=Number(0, MINUTES_MAX, min_open=True), required=True,
              help="How long faults and traffic last.")  # fmt: skip
@target_option
@port_option
@click.option("--seed", type=click.IntRange(min=0), help="What faults are drawn from; else any.")
@click.option("--report", type=reporting.FILE,
              help="Where the page goes; else quorate-chaos-soak-SEED.html, here.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object, at the end.")
def soak_command(
    *,
    minutes: float,
    target: str,
    http_port: int,
    seed: int | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Soak a cluster in faults that a seed draws, heal it, and judge the whole history.

    The same seed draws the same faults. What does not hold is kept with its history and logs in
    quorate-chaos-soak-SEED/, beside the page. Exit status: 0 the promises held, 1 one was broken,
    2 the run proves nothing.
    """
    seed = secrets.randbelow(SEEDS) if seed is None else seed
    file = reporting.place_for(report, usual=f"quorate-chaos-soak-{seed}.html")

    def narrate(told: Told) -> None:
        if not as_json:
            click.echo(f"{told.at:+8.2f} s  {told.text}")

    if not as_json:
        for planned in draw(seed, minutes * 60):
            click.echo(planned)
    try:
        place = Place.of(target, http_port)
        soaked = run_to_the_end(soak(narrate, seconds=minutes * 60, seed=seed, place=place))
    except (QuorateError, TimeoutError) as error:
        return refuse(error)
    reporting.write(of_soak(soaked), file)
    left = {"report": str(file)}
    if soaked.status is not Status.HELD:
        folder = file.with_name(f"quorate-chaos-soak-{seed}")
        keep(soaked, folder)
        left["kept"] = str(folder)
    if as_json:
        click.echo(json.dumps(soaked.summary() | left))
    else:
        _tell(soaked, left)
    return int(soaked.status)


def _tell(soaked: Soaked, left: dict[str, str]) -> None:
    summary = soaked.summary()
    click.echo("")
    for name, counts in (summary["operations"] | summary["faults"]).items():
        if name != "total":
            told = ", ".join(f"{what}: {count}" for what, count in counts.items())
            click.echo(f"  {name:20} {told}")
    for kind, why in soaked.left_out.items():
        click.echo(f"  {kind:20} was left out at least once: {why}")
    click.echo("")
    for name, each in summary["verdicts"].items():
        click.echo(f"  {each['status']:12}  {name:20} {each['checked']:9}  {each['why']}")
        for witness in soaked.verdicts[name].witness:
            click.echo(f"                {witness}")
    click.echo(f"\n{soaked.status.word}: seed {soaked.seed}")
    if "kept" in left:
        click.echo(f"\nHistory, events, views, faults and logs are kept in {left['kept']}")
    click.echo(f"\nThe page of this run: {left['report']}")
