"""Three workers join two that are busy: what waits is done sooner."""

from __future__ import annotations

import asyncio
from collections import Counter

from chaos.experiments.sheet import Sheet
from chaos.history import Row, Type
from chaos.lab import Lab
from chaos.recording import Process
from chaos.setting import Setting
from cluster.core.model import Event

TASKS = 100
AT_ONCE = 10
TASK_SECONDS = 0.5
WATCHED_SECONDS = 5.0
MORE_WORKERS = 3
TIMES_AS_MANY = 1.8  # Of two and a half that five workers could do of what two do.
PATIENCE_SECONDS = 60.0


async def method(lab: Lab) -> None:
    process, node = Process("learner"), lab.target.nodes[0]
    lab.say(f"steady state: {len(lab.target.workers)} workers, {lab.setting.slots} task(s) at once")
    rows: list[Row] = []
    while len(rows) < TASKS:
        some = (lab.submit(process, node, type="sleep", data=TASK_SECONDS) for _ in range(AT_ONCE))
        rows += await asyncio.gather(*some)
    ids = {row.args["id"] for row in rows if row.type is Type.OK}
    lab.say(f"{len(ids)} tasks of {TASK_SECONDS:g} s each were submitted")
    before = await _rate(lab, ids)
    lab.say(f"they are done at {before:.1f}/s; {MORE_WORKERS} workers are started")
    newcomers = await lab.add_workers(MORE_WORKERS)
    after = await _rate(lab, ids)
    lab.expect(
        f"at least {TIMES_AS_MANY} times as many a second are done",
        f"{before:.1f}/s, then {after:.1f}/s",
        is_met=after >= TIMES_AS_MANY * before,
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        await lab.seen(lambda _event: len(_completed(lab, ids)) == len(ids))
    done = Counter(event.worker_id for event in _completed(lab, ids))
    by_worker = {name: done[lab.target.session_of(name)] for name in lab.target.workers}
    lab.expect(
        "each newcomer had its share, and no task was run twice",
        ", ".join(f"{name}: {count}" for name, count in by_worker.items()),
        is_met=all(by_worker[name] for name in newcomers) and sum(by_worker.values()) == len(ids),
    )


async def _rate(lab: Lab, ids: set[str]) -> float:
    """How many are done a second while this is watched, and tasks wait."""
    began, done = lab.now(), len(_completed(lab, ids))
    while lab.now() < began + WATCHED_SECONDS and len(_completed(lab, ids)) < len(ids):
        await lab.lookout.look()
    return (len(_completed(lab, ids)) - done) / (lab.now() - began)


def _completed(lab: Lab, ids: set[str]) -> list[Event]:
    return [event for event in lab.events if event.kind == "completed" and event.task_id in ids]


SHEET = Sheet(
    name="scale-up",
    question="Two workers have a hundred tasks before them. What do three more change?",
    prediction="Who tells the new workers about the tasks that wait? How much sooner is it done?",
    explanation=(
        "A worker that joins says how many tasks it has room for, and in that very step the cluster"
        " leases it what waits; nobody polls. Each next task goes to the least loaded worker. So"
        " the rate grows with the workers, as long as tasks wait and workers are what is short."
    ),
    method=method,
    setting=Setting(workers=2, slots=1),
    broken=Setting(workers=2, slots=50),
    why_broken=(
        "Two workers with room for fifty tasks each take all at once: nothing waits, and newcomers"
        " find nothing to do. More of what is not short changes nothing."
    ),
)
