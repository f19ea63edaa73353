"""`quorate chaos list` and `run`: the experiments, for a person who watches."""

from __future__ import annotations

import asyncio
import json

import click

from chaos.experiments import SHEETS
from chaos.running import Outcome, run_locally
from chaos.scene import Told


@click.command("list")
def list_experiments() -> int:
    """The experiments, each with the question that it asks."""
    width = max(map(len, SHEETS))
    for sheet in SHEETS.values():
        click.echo(f"{sheet.name:<{width}}  {sheet.question}")
    return 0


@click.command("run", short_help="Run an experiment on processes of this machine.")
@click.argument("name", type=click.Choice(sorted(SHEETS)), metavar="NAME")
@click.option("--break", "is_broken", is_flag=True, help="Now break it: the promise must fail.")
@click.option(
    "--teaching-pace", "is_paced", is_flag=True, help="Elections ten times as slow, to be watched."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def run_experiment(name: str, *, is_broken: bool, is_paced: bool, as_json: bool) -> int:
    """Run an experiment on processes of this machine, told as it happens.

    NAME is one of `quorate chaos list`. Exit status: 0 the promises held, 1 one was broken, 2 the
    run proves nothing.
    """
    sheet = SHEETS[name]

    def narrate(told: Told) -> None:
        line = json.dumps(told._asdict()) if as_json else f"{told.at:+8.2f} s  {told.text}"
        click.echo(line)

    if not as_json:
        click.echo(f"{sheet.question}\n\nBefore you go on: {sheet.prediction}\n")
    outcome = asyncio.run(run_locally(sheet, narrate, is_broken=is_broken, is_paced=is_paced))
    _tell(outcome, is_broken=is_broken, as_json=as_json)
    return int(outcome.status)


def _tell(outcome: Outcome, *, is_broken: bool, as_json: bool) -> None:
    sheet, verdicts = outcome.sheet, outcome.verdicts
    if as_json:
        told = {
            name: {"status": verdict.status.word, "checked": verdict.checked, "why": verdict.why}
            for name, verdict in verdicts.items()
        }
        click.echo(json.dumps({"experiment": sheet.name, "verdict": outcome.status.word} | told))
        return
    click.echo("")
    for name, verdict in verdicts.items():
        if name in sheet.promises:
            click.echo(f"  {verdict.status.word:12}  {name:20} {verdict.checked:7}  {verdict.why}")
            for each in verdict.witness:
                click.echo(f"                {each}")
    click.echo(f"\n{outcome.status.word}: {sheet.why_broken if is_broken else sheet.explanation}")
    if not is_broken:
        click.echo(f"\nNow break it: quorate chaos run {sheet.name} --break")
