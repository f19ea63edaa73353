"""Running a soak: traffic, faults by schedule, heal, drain, and every checker over all of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from chaos.checkers import CHECKERS, Evidence
from chaos.checkers.tasks import FINAL
from chaos.checkers.verdicts import Status, Verdict, worst
from chaos.experiments import Setting
from chaos.hosting import Place, hosted
from chaos.judging import judge
from chaos.lab import Lab, told_of_the_end
from chaos.scene import Expectation, Told
from chaos.soak.biting import toothless, without_toothless
from chaos.soak.clients import Client
from chaos.soak.injecting import Injector
from chaos.soak.schedule import Planned, draw
from chaos.soak.workers import RecordedWorker
from gateway.client import Client as Reader

PROMISES = tuple(checker.name for checker in CHECKERS if checker.name != "witness")
CLIENTS, WORKERS = 10, 3
REQUESTS_PER_SECOND = 120.0  # Of all clients together.
REQUESTS_MAX = 300_000  # Of a run: a longer one asks more slowly, so that its history fits.
WELL_SECONDS = 120.0  # Until every process has started anew, on a machine with much else to do.
DRAIN_SECONDS = 120.0
LOOK_SECONDS = 0.5
TRACEBACK = "Traceback (most recent call last)"
FINISHED = "the soak comes to its end"
HERE = Place()
SETTING = Setting(workers=3)


@dataclass(frozen=True, kw_only=True)
class Soaked:
    """What a soak came to."""

    seed: int
    seconds: float
    place: Place
    setting: Setting
    schedule: Sequence[Planned]
    left_out: Mapping[str, str]  # Kinds of faults that could not be done, and why.
    verdicts: Mapping[str, Verdict]
    expectations: Sequence[Expectation]
    story: Sequence[Told]
    evidence: Evidence
    logs: Mapping[str, str] = field(default_factory=dict)
    began: float = 0.0  # When the run's clock was at 0, as the machine's calendar says.

    @property
    def status(self) -> Status:
        """The worst verdict; a soak that did not come to its end proves nothing by itself."""
        status = worst(self.verdicts[name] for name in PROMISES)
        is_whole = all(each.is_met for each in self.expectations)
        return Status.INCONCLUSIVE if status is Status.HELD and not is_whole else status

    def summary(self) -> dict[str, Any]:
        """Counts and verdicts as JSON."""
        operations: dict[str, Counter[str]] = defaultdict(Counter)
        for row in self.evidence.rows:
            operations[row.f][row.type] += 1
        faults: dict[str, Counter[str]] = defaultdict(Counter)
        for fault in self.evidence.faults:
            faults[fault.name]["times"] += 1
            faults[fault.name].update(fault.bites)
        return {
            "soak": self.place.target,
            "seed": self.seed,
            "seconds": self.seconds,
            "verdict": self.status.word,
            "operations": {"total": len(self.evidence.rows)} | _plain(operations),
            "events": len(self.evidence.events),
            "tasks": dict(Counter(str(each) for each in (self.evidence.final or {}).values())),
            "faults": {"total": len(self.evidence.faults)} | _plain(faults),
            "toothless": dict(Counter(fault.name for fault in toothless(self.evidence))),
            "scheduled": dict(Counter(planned.kind for planned in self.schedule)),
            "left_out": dict(self.left_out),
            "verdicts": {
                name: {"status": each.status.word, "checked": each.checked, "why": each.why}
                for name, each in self.verdicts.items()
                if name in PROMISES
            },
            "unmet": [each._asdict() for each in self.expectations if not each.is_met],
        }


class SoakLab(Lab):
    """A lab whose history has too many tasks to ask for one by one."""

    async def _follow(self) -> None:
        """Read every transition; say so when that comes to an end before its time."""
        try:
            await super()._follow()
        except Exception as error:
            self.expect("every transition is told", repr(error), is_met=False)
            raise

    async def _drain(self) -> None:
        """Wait until all that may have been submitted has ended, and note how."""
        rows = self.recorder.history()
        asked = {row.task_id for row in rows if row.f == "submit" and row.task_id is not None}
        until = self.now() + DRAIN_SECONDS
        async with Reader(",".join(self.target.urls.values())) as reader:
            while True:
                if not await _are_any_waiting(reader) or self.now() > until:
                    break
                await asyncio.sleep(LOOK_SECONDS)
            told = {task["id"]: task["status"] async for task in reader.tasks()}
            workers = [
                {name: worker[name] for name in ("name", "status", "queues", "current_tasks")}
                for worker in await reader.workers()
                if worker["status"] != "lost"
            ]
        # What failed is looked for as well: it must not be there; nor what nobody asked for.
        self.final = {task_id: told.get(task_id) for task_id in asked | told.keys()}
        left = Counter(
            status for status in self.final.values() if status is not None and status not in FINAL
        )
        self.say(told_of_the_end(self.final, left.total()))
        if left:
            self.say(f"what waits: {dict(left)}; workers: {workers}")


async def _are_any_waiting(reader: Reader) -> bool:
    depths = [queue["depth"] for queue in await reader.queues()]
    return any(count for depth in depths for status, count in depth.items() if status not in FINAL)


async def soak(
    narrate: Callable[[Told], None],
    *,
    seconds: float,
    seed: int,
    place: Place = HERE,
    setting: Setting = SETTING,
) -> Soaked:
    """Soak a cluster of *setting* in faults for *seconds*, and judge what it did.

    Raises:
        Unsupported: the target cannot be had on this machine.
    """
    schedule = draw(seed, seconds)
    with hosted(setting, place) as target:
        lab = SoakLab(target, narrate, seed=seed, setting=setting)
        injector = Injector(lab)
        async with lab:
            began = time.time() - lab.now()
            try:
                await _run(lab, injector, schedule, seconds, setting.lease_seconds)
            except* Exception as group:  # noqa: BLE001 - what was seen is worth its verdicts.
                for error in _leaves(group):
                    lab.expect(FINISHED, repr(error), is_met=False)
            logs = target.logs()
        lab.say("the checkers read the history")
    has_settled = not lab.expectations
    _expect_faults(lab, injector)
    _expect_no_riddles(lab, logs)
    evidence = lab.evidence()
    return Soaked(
        seed=seed,
        seconds=seconds,
        place=place,
        setting=setting,
        schedule=schedule,
        left_out=injector.left_out,
        verdicts=judge(without_toothless(evidence), has_settled=has_settled),
        expectations=lab.expectations,
        story=lab.story,
        evidence=evidence,
        logs=logs,
        began=began,
    )


async def _run(
    lab: SoakLab,
    injector: Injector,
    schedule: Sequence[Planned],
    seconds: float,
    lease_seconds: float,
) -> None:
    lab.say(f"{len(schedule)} faults in {seconds:g} s, drawn from seed {lab.seed}")
    pause = CLIENTS / min(REQUESTS_PER_SECOND, REQUESTS_MAX / seconds)
    workers = [RecordedWorker(lab, each, lease_seconds=lease_seconds) for each in range(WORKERS)]
    clients = [Client(lab, each, pause_seconds=pause) for each in range(CLIENTS)]
    async with _going_on(worker.run() for worker in workers):
        async with _going_on(client.run() for client in clients):
            began = lab.now()
            await injector.run(schedule, began=began)
            await asyncio.sleep(max(0.0, began + seconds - lab.now()))
        await lab.lookout.until(
            "every node answers",
            lambda views: None not in views.values(),
            timeout_seconds=WELL_SECONDS,
        )
        await lab.settle()


def _expect_faults(lab: Lab, injector: Injector) -> None:
    """Faults were done, and none of a kind that whoever ran this could have had done."""
    told = "; ".join(f"{kind}: {why}" for kind, why in sorted(injector.left_out.items()))
    withheld = injector.withheld - injector.done.keys()
    lab.expect(
        "faults are done, and none is left out that could be had",
        f"{injector.done.total()} were; left out at least once: {told or 'none'}",
        is_met=bool(injector.done) and not withheld,
    )


def _expect_no_riddles(lab: Lab, logs: Mapping[str, str]) -> None:
    """Whatever happened to them, nodes said in words of ours what it was."""
    found = {node: logs.get(node, "").count(TRACEBACK) for node in lab.target.nodes}
    told = ", ".join(f"{node}: {count}" for node, count in found.items() if count)
    lab.expect("no node wrote a traceback", told or "none", is_met=not told)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The errors of a group, and of the groups in it."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


@asynccontextmanager
async def _going_on(parts: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Have these go on for as long as the context lasts; what one of them raises ends it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in parts]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _plain(counted: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    return {name: dict(counts) for name, counts in sorted(counted.items())}
