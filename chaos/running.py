"""Running an experiment: bring up, do, heal, check; then say what came of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from chaos.checkers import check
from chaos.checkers.verdicts import Status, Verdict, worst
from chaos.experiments import Sheet
from chaos.lab import Lab
from chaos.scene import Expectation, Told
from chaos.targets.local import LocalTarget
from cluster.settings import ELECTION_SECONDS
from node.children import QUORATE
from node.local import LocalSettings

HTTP_PORT, RAFT_PORT = 5100, 7700  # Beside a cluster of `quorate up`, not in its way.


class Outcome(NamedTuple):
    """What an experiment came to."""

    sheet: Sheet
    verdicts: Mapping[str, Verdict]
    expectations: list[Expectation]
    story: list[Told]

    @property
    def status(self) -> Status:
        """Broken if a promise is, or something else than expected was seen."""
        status = worst(self.verdicts[name] for name in self.sheet.promises)
        missed = [each for each in self.expectations if not each.is_met]
        return Status.BROKEN if missed and status is Status.HELD else status


async def run_locally(
    sheet: Sheet,
    narrate: Callable[[Told], None],
    *,
    is_broken: bool = False,
    is_paced: bool = False,
    http_port: int = HTTP_PORT,
    raft_port: int = RAFT_PORT,
) -> Outcome:
    """Run *sheet* on processes of this machine, or on the setting that breaks it.

    Paced, elections and heartbeats take ten times as long, so that a person can follow them.
    Ports are the next free ones from those two on.
    """
    setting = sheet.broken if is_broken else sheet.setting
    if is_paced:
        setting = setting.at_teaching_pace()
    with tempfile.TemporaryDirectory(prefix="quorate-lab-") as data:
        settings = LocalSettings(
            data=Path(data),
            nodes=setting.nodes,
            workers=setting.workers,
            http_port=http_port,
            raft_port=raft_port,
            slots=setting.slots,
            lease_seconds=setting.lease_seconds,
            election_seconds=ELECTION_SECONDS * setting.pace,
            node_program=("chaos.planted_node", setting.bug) if setting.bug else QUORATE,
        )
        lab = Lab(LocalTarget(settings), narrate, setting=setting)
        async with lab:
            for name, step in (("experiment", sheet.method(lab)), ("settling", lab.settle())):
                try:
                    await step
                except TimeoutError as error:
                    why = str(error) or "it waited in vain"
                    lab.expect(f"the {name} comes to its end", why, is_met=False)
            verdicts = check(lab.evidence())
    return Outcome(sheet, verdicts, lab.expectations, lab.story)
