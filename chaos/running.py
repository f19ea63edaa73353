"""Running an experiment: bring up, do, heal, check; then say what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from chaos.checkers import Evidence
from chaos.checkers.verdicts import Status, Verdict, worst
from chaos.experiments import Setting, Sheet
from chaos.hosting import Place, hosted
from chaos.judging import judge
from chaos.lab import Lab
from chaos.scene import Expectation, Told
from cluster.errors import QuorateError

HERE = Place()
NOT_VACUOUS = "not vacuous"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an experiment came to, and all that it was read from."""

    sheet: Sheet
    setting: Setting
    place: Place
    verdicts: Mapping[str, Verdict]
    expectations: Sequence[Expectation]
    story: Sequence[Told]
    evidence: Evidence
    logs: Mapping[str, str] = field(default_factory=dict)
    began: float = 0.0  # The calendar's second, since 1970, at which the run's clock was at 0.

    @property
    def status(self) -> Status:
        """Broken if a promise is, or if something else than expected was seen.

        But nothing is proved, either way, by a fault that did not bite or by traffic that was none.
        """
        status = worst(self.verdicts[name] for name in self.sheet.promises)
        is_missed = any(not each.is_met for each in self.expectations)
        if is_missed and self.verdicts[NOT_VACUOUS].status is Status.HELD:
            return Status.BROKEN
        return status


async def run(
    sheet: Sheet,
    narrate: Callable[[Told], None],
    *,
    is_broken: bool = False,
    is_paced: bool = False,
    place: Place = HERE,
) -> Outcome:
    """Run *sheet*, or the same on the setting that breaks it.

    Paced, elections and heartbeats take ten times as long, so that a person can follow them.

    Raises:
        Unsupported: the target cannot be had on this machine, or cannot do what the sheet does.
    """
    setting = sheet.broken if is_broken else sheet.setting
    if is_paced:
        setting = setting.at_teaching_pace()
    with hosted(setting, place) as target:
        lab = Lab(target, narrate, setting=setting)
        async with lab:
            began, has_settled = time.time() - lab.now(), True
            for name, step in (("experiment", sheet.method(lab)), ("settling", lab.settle())):
                try:
                    await step
                except (TimeoutError, QuorateError) as error:
                    why = str(error) or "it waited in vain"
                    lab.expect(f"the {name} comes to its end", why, is_met=False)
                    has_settled = name != "settling"
            logs = target.logs()
    evidence = lab.evidence()
    return Outcome(
        sheet=sheet,
        setting=setting,
        place=place,
        verdicts=judge(evidence, has_settled=has_settled),
        expectations=lab.expectations,
        story=lab.story,
        evidence=evidence,
        logs=logs,
        began=began,
    )


async def run_locally(
    sheet: Sheet,
    narrate: Callable[[Told], None],
    *,
    is_broken: bool = False,
    http_port: int = HERE.http_port,
    raft_port: int = HERE.raft_port,
) -> Outcome:
    """Run *sheet* on processes of this machine; ports are the next free ones from those two on."""
    place = Place(http_port=http_port, raft_port=raft_port)
    return await run(sheet, narrate, is_broken=is_broken, place=place)
