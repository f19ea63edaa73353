"""`quorate chaos`: doubt, from the command line.

Exit status: 0 the promises held, 1 one was broken, 2 misused or nothing proved.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click

from chaos.experiment_commands import list_experiments, run_experiment
from chaos.heal_command import heal_runs
from chaos.simulation.campaign import Tally, Terms, reports, seeds_until_caught
from chaos.simulation.catalogue import bugs, plant
from chaos.simulation.crashes import CRASH
from chaos.simulation.drawing import Recorder
from chaos.simulation.narration import Narrator
from chaos.simulation.plan import ORDINARY, Plan
from chaos.simulation.shrinking import shrink as smaller
from chaos.simulation.simulation import Report, Simulation, Verdict, simulate
from chaos.simulation.themes import THEMES
from chaos.soak.commands import soak_command
from node.commands.options import SECONDS_MAX, Number

BROKEN, INCONCLUSIVE = 1, 2
MINUTES_MAX = SECONDS_MAX // 60
DRAWN_SECONDS = 1.0  # How much of a run is drawn, unless asked otherwise.

_nodes = click.option(
    "--nodes", type=click.IntRange(1, 9), help="How many nodes; else each seed draws 1, 3 or 5."
)
_theme = click.option(
    "--theme", type=click.Choice([ORDINARY, *sorted(THEMES)]),
    help="What the plans are biased to; else most seeds are ordinary, some draw a theme.",
)  # fmt: skip
_bug = click.option(
    "--bug", metavar="NAME", help="Plant this bug; `chaos simulate --bug list` shows their names."
)
_plan = click.option(
    "--plan", "plan_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A plan that `shrink` wrote, instead of the seed's own.",
)  # fmt: skip


@click.group()
def chaos() -> None:
    """Break clusters, and judge whether the promises held."""


chaos.add_command(list_experiments)
chaos.add_command(run_experiment)
chaos.add_command(heal_runs)
chaos.add_command(soak_command)


@chaos.command("simulate")
@click.option("--seeds", type=click.IntRange(min=1), help="How many seeds.")
@click.option("--minutes", type=Number(0, MINUTES_MAX, min_open=True), help="Or for how long.")
@click.option("--first-seed", type=int, default=0, show_default=True, help="Where to begin.")
@_nodes
@_theme
@_bug
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True,
              help="Processes.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end.")
def simulate_seeds(
    seeds: int | None,
    minutes: float | None,
    first_seed: int,
    nodes: int | None,
    theme: str | None,
    bug: str | None,
    jobs: int,
    *,
    as_json: bool,
) -> int:
    """Simulate whole clusters under faults, one seed after another.

    A seed that breaks a promise prints the command that replays it and the one that shrinks it.
    """
    if bug == "list":
        return _list_bugs()
    if (seeds is None) == (minutes is None):
        raise click.UsageError("say either --seeds N or --minutes M")
    _check_bug(bug)
    terms = Terms(nodes, theme, bug)
    began = time.monotonic()
    until = float("inf") if minutes is None else began + minutes * 60
    tally = Tally()
    for report in reports(
        first_seed, seeds, terms, jobs=jobs,
        is_time_up=lambda: time.monotonic() >= until,
    ):  # fmt: skip
        tally.add(report)
        if report.verdict is not Verdict.HELD and not as_json:
            _tell(report, terms)
    summary = tally.as_json(wall_seconds=time.monotonic() - began)
    if as_json:
        click.echo(json.dumps(summary))
    else:
        click.echo(
            "{held} of {seeds} seeds held; {simulated_hours} simulated hours in {wall_seconds} s "
            "({simulated_hours_per_wall_hour} hours an hour), {acknowledged} acknowledged "
            "requests, {terms} terms".format(**summary)
        )
        click.echo(_bites(tally.happened))
    if tally.broken:
        return BROKEN
    return 0 if tally.held else INCONCLUSIVE


@chaos.command("bugs", short_help="Plant each bug, and count the seeds until it is caught.")
@click.option("--seeds", type=click.IntRange(min=1), default=100, show_default=True,
              help="Give up on a bug after so many seeds.")  # fmt: skip
@click.option("--first-seed", type=int, default=0, show_default=True)
@click.argument("names", nargs=-1)
def hunt(seeds: int, first_seed: int, names: tuple[str, ...]) -> int:
    """Plant each bug in turn and count the seeds until it is caught: one JSON object each."""
    for name in names:
        _check_bug(name)
    missed = 0
    for name in names or sorted(bugs()):
        caught = seeds_until_caught(name, first_seed=first_seed, seeds_max=seeds)
        click.echo(json.dumps(caught | {"removes": bugs()[name].removes}))
        missed += caught["seeds"] is None
    return BROKEN if missed else 0


@chaos.command(short_help="Run one seed again, told as it happens.")
@click.argument("seed", type=int)
@_nodes
@_theme
@_bug
@_plan
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw messages here.")
@click.option("--since", type=Number(0, SECONDS_MAX),
              help="Where the drawing begins; else a second before the end.")  # fmt: skip
@click.option("--until", type=Number(0, SECONDS_MAX), help="Where it ends.")
def replay(
    seed: int,
    nodes: int | None,
    theme: str | None,
    bug: str | None,
    plan_file: Path | None,
    svg: Path | None,
    since: float | None,
    until: float | None,
) -> int:
    """Run one seed again and tell what happens, as it happens."""
    _check_bug(bug)
    terms = Terms(nodes, theme, bug)
    plan = _plan_of(seed, terms, plan_file)
    with plant(bug):
        simulation = Simulation(plan)
        Narrator(simulation, click.echo)
        recorder = None
        if svg is not None:
            end = until if until is not None else simulate(plan, bug=bug).seconds
            begin = since if since is not None else max(0.0, end - DRAWN_SECONDS)
            recorder = Recorder(simulation, since=begin, until=end)
        report = simulation.run_quietly()
    if recorder is not None and svg is not None:
        svg.write_text(recorder.svg())
        click.echo(f"{len(recorder.arrows)} messages are drawn in {svg}")
    click.echo(f"{report.verdict} after {report.seconds:.2f} s, trace {report.trace_hash}")
    return _status(report)


@chaos.command(short_help="Find the fewest faults that still break it.")
@click.argument("seed", type=int)
@_nodes
@_theme
@_bug
@_plan
@click.option("--tries", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the plan here.")
def shrink(
    seed: int,
    nodes: int | None,
    theme: str | None,
    bug: str | None,
    plan_file: Path | None,
    tries: int,
    out: Path | None,
) -> int:
    """Find a smaller schedule of faults, and less traffic, that breaks the same promise."""
    _check_bug(bug)
    terms = Terms(nodes, theme, bug)
    plan = _plan_of(seed, terms, plan_file)
    first = simulate(plan, bug=bug)
    if first.verdict is not Verdict.BROKEN:
        click.echo(f"seed {seed} breaks nothing: {first.verdict}")
        return INCONCLUSIVE
    rule = first.violations[0].rule

    def fails(candidate: Plan) -> bool:
        return any(violation.rule == rule for violation in simulate(candidate, bug=bug).violations)

    found = smaller(plan, fails, tries=tries)
    click.echo(f"{len(plan.faults)} faults are {len(found.faults)} now, and still: {rule}")
    for fault in found.faults:
        click.echo(f"  {fault}")
    target = out or Path(f"seed-{seed}.json")
    target.write_text(json.dumps(found.as_json()) + "\n")
    click.echo(f"  {_command('replay', seed, Terms(bug=bug))} --plan {target}")
    return BROKEN


def _plan_of(seed: int, terms: Terms, plan_file: Path | None) -> Plan:
    if plan_file is not None:
        return Plan.from_json(json.loads(plan_file.read_text()))
    return terms.plan(seed)


def _check_bug(name: str | None) -> None:
    if name is not None and name not in bugs():
        raise click.UsageError(f"no bug is called {name!r}; there are: {', '.join(sorted(bugs()))}")


def _list_bugs() -> int:
    for bug in bugs().values():
        click.echo(f"{bug.name:30} without: {bug.removes}")
    return 0


def _bites(happened: Counter[str]) -> str:
    """What the faults came to, in a line: crash points are told apart in the JSON only."""
    crashes = {name: times for name, times in happened.items() if name.startswith(CRASH)}
    counts = [f"{times} {name}" for name, times in sorted(happened.items()) if name not in crashes]
    counts.append(f"{sum(crashes.values())} crashes at {len(crashes)} points")
    return ", ".join(counts)


def _tell(report: Report, terms: Terms) -> None:
    click.echo(f"seed {report.plan.seed}: {report.verdict}")
    for violation in report.violations:
        click.echo(f"  {violation}")
    for verb in ("replay", "shrink"):
        click.echo(f"  {_command(verb, report.plan.seed, terms)}")


def _command(verb: str, seed: int, terms: Terms) -> str:
    options: list[Any] = []
    for name, value in terms._asdict().items():
        if value is not None:
            options += [f"--{name}", value]
    return " ".join(map(str, ["quorate chaos", verb, seed, *options]))


def _status(report: Report) -> int:
    return {Verdict.HELD: 0, Verdict.BROKEN: BROKEN}.get(report.verdict, INCONCLUSIVE)
