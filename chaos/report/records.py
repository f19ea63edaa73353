"""From what a run came to, to the record that its page is made of."""

from __future__ import annotations

from chaos.checkers.verdicts import Status
from chaos.hosting import DOCKER, LOCAL, Place
from chaos.report.record import Record
from chaos.running import Outcome
from chaos.setting import USUAL, Setting
from chaos.soak.running import PROMISES, Soaked

_RUN = "quorate chaos run"


def of_experiment(outcome: Outcome, *, is_broken: bool, prediction: str = "") -> Record:
    """The record of an experiment, run as it is or to be broken."""
    sheet = outcome.sheet
    options = "" if outcome.place.target == LOCAL else f" --target {outcome.place.target}"
    if outcome.setting.pace != USUAL.pace:
        options += " --teaching-pace"
    whole, broken = f"{_RUN} {sheet.name}{options}", f"{_RUN} {sheet.name}{options} --break"
    return Record(
        name=f"{sheet.name}, broken on purpose" if is_broken else sheet.name,
        question=sheet.question,
        asked=sheet.prediction,
        prediction=prediction,
        ran_on=_ran_on(outcome.setting, outcome.place),
        command=broken if is_broken else whole,
        status=outcome.status,
        why=_why(outcome, is_broken=is_broken),
        onward="Now mend it" if is_broken else "Now break it",
        onward_command=whole if is_broken else broken,
        promises=sheet.promises,
        verdicts=outcome.verdicts,
        expectations=outcome.expectations,
        story=outcome.story,
        evidence=outcome.evidence,
        logs=outcome.logs,
        began=outcome.began,
    )


def of_soak(soaked: Soaked) -> Record:
    """The record of a soak."""
    faults = len(soaked.evidence.faults)
    command = f"quorate chaos soak --minutes {soaked.seconds / 60:g} --seed {soaked.seed}"
    if soaked.place.target != LOCAL:
        command += f" --target {soaked.place.target}"
    why = {
        Status.HELD: f"Nothing that was asked, answered or seen contradicts a promise,"
        f" through {faults} faults.",
        Status.BROKEN: "A promise does not hold: what shows it stands above.",
        Status.INCONCLUSIVE: "This run cannot say whether all promises hold.",
    }[soaked.status]
    return Record(
        name=f"soak, seed {soaked.seed}",
        question=f"Faults of every kind, for {soaked.seconds / 60:g} minutes, drawn from a seed."
        " Does each promise hold?",
        ran_on=_ran_on(soaked.setting, soaked.place),
        command=command,
        status=soaked.status,
        why=why,
        promises=PROMISES,
        verdicts=soaked.verdicts,
        expectations=soaked.expectations,
        story=soaked.story,
        evidence=soaked.evidence,
        logs=soaked.logs,
        began=soaked.began,
    )


def _why(outcome: Outcome, *, is_broken: bool) -> str:
    """The sheet's explanation, where the run came out as the sheet says that it would."""
    sheet = outcome.sheet
    if outcome.status is Status.INCONCLUSIVE:
        return "This run proves nothing, either way: see above which promise it could not judge."
    if is_broken:
        if outcome.status is Status.BROKEN:
            return sheet.why_broken
        return "It was to break, and nothing broke. What should have: " + sheet.why_broken
    if outcome.status is Status.HELD:
        return sheet.explanation
    return "It was to hold, and did not: see above what was missed. What should be seen: " + (
        sheet.explanation
    )


def _ran_on(setting: Setting, place: Place) -> str:
    where = "containers of Docker" if place.target == DOCKER else "processes of one machine"
    told = f"{_counted(setting.nodes, 'node')} and {_counted(setting.workers, 'worker')}, {where}"
    if setting.pace != USUAL.pace:
        told += f", elections {setting.pace:g} times as slow"
    return f"{told}, with the bug {setting.bug} planted" if setting.bug else told


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
