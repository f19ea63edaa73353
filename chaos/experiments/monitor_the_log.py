"""The log is watched on every node: one order of commands, and whatever follows from it."""

from __future__ import annotations

import asyncio
from typing import Any

from chaos.experiments.sheet import Sheet
from chaos.lab import Lab
from chaos.recording import Process
from chaos.setting import Setting

WATCHED_SECONDS = 4.0
PAGE_ENTRIES = 1_000
PATIENCE_SECONDS = 60.0
SHOWN = 6


async def method(lab: Lab) -> None:
    leader = await lab.lookout.leader()
    lab.say(f"steady state: {leader} leads; clients write through every node")
    first, *_others = lab.target.nodes
    async with lab.traffic(clients=3):
        await asyncio.sleep(WATCHED_SECONDS)
        mine = await lab.submit(Process("learner"), first, type="echo", data="Hello, log")
        lab.say(f"task {mine.args['id']} was acknowledged at index {mine.index}")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await lab.seen(
                lambda event: event.kind == "completed" and event.task_id == mine.args["id"]
            )
        await lab.lookout.until(
            "every node has applied it",
            lambda views: all(
                sight and sight.applied_index > mine.index for sight in views.values()
            ),
        )
        logs = {node: await _log(lab, node) for node in lab.target.nodes}
    for index in range(mine.index, mine.index + SHOWN):
        if index in logs[first]:
            lab.say(f"the log at {index}: {_told(logs[first][index])}")
    common = set.intersection(*(set(log) for log in logs.values()))
    differing = [
        index for index in common if any(log[index] != logs[first][index] for log in logs.values())
    ]
    lab.expect(
        "the logs of all nodes hold the same commands at the same places",
        f"{len(common)} entries compared, {len(differing)} differ",
        is_met=len(common) > WATCHED_SECONDS and not differing,
    )
    hashes = _hashes_by_index(lab)
    parted = sum(len(set(seen.values())) > 1 for seen in hashes.values())
    lab.expect(
        "from the same log follows the same state, to the byte",
        f"{len(hashes)} indexes at which several nodes were seen, at {parted} they differ",
        is_met=bool(hashes) and not parted,
    )


async def _log(lab: Lab, node: str) -> dict[int, Any]:
    """By index, what this node shows of its log."""
    first = (await lab.page(node, "/cluster/log?limit=1"))["first"]
    page = await lab.page(node, f"/cluster/log?from={first}&limit={PAGE_ENTRIES}")
    return {entry["index"]: entry for entry in page["entries"]}


def _told(entry: Any) -> str:
    return ", ".join(command["op"] for command in entry["commands"])


def _hashes_by_index(lab: Lab) -> dict[int, dict[str, str]]:
    """Of indexes at which more than one node was seen: the hash of each."""
    hashes: dict[int, dict[str, str]] = {}
    for sight in lab.lookout.sights:
        hashes.setdefault(sight.applied_index, {})[sight.node] = sight.state_hash
    return {index: seen for index, seen in hashes.items() if len(seen) > 1}


SHEET = Sheet(
    name="monitor-the-log",
    question="Every node has a log of its own. Are they the same, and what else is?",
    prediction=(
        "You submit a task through one node. In which nodes' logs will you find it, at which place?"
    ),
    explanation=(
        "There is one log, and every node has a copy: an entry is acknowledged once a majority has"
        " it, at the same index for all. The state is what follows from the log and from nothing"
        " else: no clock, no dice. Therefore equal logs are equal states, and a hash can show it."
    ),
    method=method,
    broken=Setting(bug="clock-of-its-own"),
    why_broken=(
        "Each node reads its own clock while it applies: the logs are still the same, and what each"
        " makes of them is not."
    ),
)
