"""`quorate chaos list` and `run`: the experiments, for a person who watches."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from chaos import reporting
from chaos.experiments import SHEETS, Sheet
from chaos.healing import run_to_the_end
from chaos.hosting import LOCAL, TARGETS, Place
from chaos.report.records import of_experiment
from chaos.running import Outcome, run
from chaos.scene import Told
from chaos.targets.contract import Unsupported
from cluster.errors import QuorateError

INCONCLUSIVE = 2
PORT_MAX = 60_000  # Raft's are some thousand above.

target_option = click.option(
    "--target", type=click.Choice(TARGETS), default=LOCAL, show_default=True,
    help="Processes of this machine, or containers of Docker.",
)  # fmt: skip

port_option = click.option(
    "--http-port", type=click.IntRange(1, PORT_MAX), default=Place().http_port, show_default=True,
    help="Nodes answer at the next free ports from here on.",
)  # fmt: skip


@click.command("list")
def list_experiments() -> int:
    """The experiments, each with the question that it asks."""
    width = max(map(len, SHEETS))
    for sheet in SHEETS.values():
        click.echo(f"{sheet.name:<{width}}  {sheet.question}")
    return 0


@click.command("run", short_help="Run an experiment, and leave a page of what was seen.")
@click.argument("name", type=click.Choice(sorted(SHEETS)), metavar="NAME")
@target_option
@port_option
@click.option("--break", "is_broken", is_flag=True, help="Now break it: the promise must fail.")
@click.option("--teaching-pace", "is_paced", is_flag=True,
              help="Elections ten times as slow, to be watched.")  # fmt: skip
@click.option("--report", type=reporting.FILE,
              help="Where the page goes; else quorate-chaos-NAME.html, here.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def run_experiment(
    name: str,
    *,
    target: str,
    http_port: int,
    is_broken: bool,
    is_paced: bool,
    report: Path | None,
    as_json: bool,
) -> int:
    """Run an experiment, told as it happens, and leave a page of what was seen.

    NAME is one of `quorate chaos list`. Exit status: 0 the promises held, 1 one was broken, 2 the
    run proves nothing.
    """
    sheet = SHEETS[name]
    usual = f"quorate-chaos-{name}{'-broken' if is_broken else ''}.html"
    file = reporting.place_for(report, usual=usual)
    prediction = "" if as_json else _ask(sheet)

    def narrate(told: Told) -> None:
        line = json.dumps(told._asdict()) if as_json else f"{told.at:+8.2f} s  {told.text}"
        click.echo(line)

    try:
        outcome = run_to_the_end(
            run(
                sheet,
                narrate,
                is_broken=is_broken,
                is_paced=is_paced,
                place=Place.of(target, http_port),
            )
        )
    except (QuorateError, TimeoutError) as error:
        return refuse(error)
    record = of_experiment(outcome, is_broken=is_broken, prediction=prediction)
    reporting.write(record, file)
    if as_json:
        click.echo(json.dumps(_summary(outcome) | {"report": str(file)}))
    else:
        _tell(outcome, why=record.why)
        if not is_broken:
            click.echo(f"\n{record.onward}: {record.onward_command}")
        click.echo(f"\nThe page of this run: {file}")
    return int(outcome.status)


def refuse(error: QuorateError | TimeoutError) -> int:
    """Say why nothing was shown; of what this machine has not, also what needs none of it."""
    said, instead = str(error), f"--target {LOCAL}"
    if isinstance(error, Unsupported) and instead not in said:
        said += f"; {instead} needs none of it"
    click.echo(f"quorate: {said}", err=True)
    return INCONCLUSIVE


def _ask(sheet: Sheet) -> str:
    """What the learner says will come, if one sits there to be asked."""
    click.echo(f"{sheet.question}\n\nBefore you go on: {sheet.prediction}\n")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return ""
    said: str = click.prompt("You say", default="", show_default=False)
    click.echo("")
    return said


def _summary(outcome: Outcome) -> dict[str, object]:
    told: dict[str, object] = {
        name: {"status": verdict.status.word, "checked": verdict.checked, "why": verdict.why}
        for name, verdict in outcome.verdicts.items()
    }
    return {"experiment": outcome.sheet.name, "verdict": outcome.status.word, **told}


def _tell(outcome: Outcome, *, why: str) -> None:
    click.echo("")
    for name, verdict in outcome.verdicts.items():
        if name in outcome.sheet.promises:
            click.echo(f"  {verdict.status.word:12}  {name:20} {verdict.checked:7}  {verdict.why}")
            for each in verdict.witness:
                click.echo(f"                {each}")
    click.echo(f"\n{outcome.status.word}: {why}")
