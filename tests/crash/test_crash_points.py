"""Death at every named point: each is reached, and nothing that was acknowledged is lost there.

The points are found by reading the sources, so that one nobody reaches is a failure. A node armed
to die at a point goes through one ordeal after another until it does; a point of which it is known
what leads there is tried with that first. `QUORATE_TEST_CRASH_POINTS` says how many are tried, all
of them in CI and in long runs; which, is drawn.
"""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.crash.conftest import Report, drawn
from tests.crash.ledger import Ledger
from tests.crash.nodes import Gone, Nodes
from tests.crash.strangers import Impostor

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPTIONS = {"segment_bytes": 8 * 1024, "tail_entries": 5}
DIES_SECONDS = 10.0
HEARD_SECONDS = 0.5
FORMS_SECONDS = 15.0
POINTS_MIN = 60
_SOURCES = Path(__file__).parent.parent.parent / "cluster"
_CALL = re.compile(r"\breach\(\s*\"([a-z_.]+)\"")

Ordeal = Callable[[Ledger, str, str], Awaitable[None]]  # With a victim, and where it is to die.


def named_points() -> list[str]:
    """Every point that the sources spell."""
    texts = (file.read_text() for file in sorted(_SOURCES.rglob("*.py")))
    return sorted({name for text in texts for name in _CALL.findall(text)})


TRIED = drawn(named_points(), variable="QUORATE_TEST_CRASH_POINTS", default=8)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def ledger(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ledger]:
    """One cluster that dies at one point after the other."""
    nodes = Nodes(tmp_path_factory.mktemp("points"), **OPTIONS)
    try:
        await nodes.start()
        yield Ledger(nodes, seed=random.randrange(1_000_000))
    finally:
        await nodes.close()


async def test_there_are_points_enough_and_each_has_one_name() -> None:
    texts = [file.read_text() for file in _SOURCES.rglob("*.py")]
    calls = [name for text in texts for name in _CALL.findall(text)]

    assert len(calls) == len(set(calls)), "two places share a name"
    assert len(calls) >= POINTS_MIN


@pytest.mark.parametrize("point", TRIED)
async def test_a_death_at_this_point_loses_nothing(
    ledger: Ledger, point: str, report: Report
) -> None:
    nodes = ledger.nodes
    first = [ordeal for ordeal, points in LEADS_TO.items() if point in points]
    others = [ordeal for ordeal in LEADS_TO if ordeal not in first]

    for ordeal in (*first, *others):
        await nodes.start_the_ended()
        await nodes.whole()
        # The lowest id dials the others, so that it gets to every point of a connection.
        victim = "node1" if point.startswith("transport.") else ledger.random.choice(nodes.names)
        try:
            await ordeal(ledger, victim, point)
        except Died as died:
            survivors = died.survivors
            break
        await nodes.kill(victim)
    else:
        pytest.fail(f"{point} was not reached by {', '.join(o.__name__ for o in LEADS_TO)}")

    await nodes.start_the_ended()
    await ledger.settle()
    report(f"reached by {ordeal.__name__}; {len(survivors)} others went on")


class Died(Exception):
    """The victim is dead, by its own hand."""

    def __init__(self, survivors: list[str]) -> None:
        super().__init__()
        self.survivors = survivors


async def until_dead(ledger: Ledger, victim: str, work: Awaitable[object] | None = None) -> None:
    """Let *work* go on until it ends or the victim has died of it.

    Raises:
        Died: it has.
    """
    process = ledger.nodes[victim]
    ending = asyncio.ensure_future(process.ended())
    working = asyncio.ensure_future(work) if work else None
    try:
        futures = {ending, working} if working else {ending}
        await asyncio.wait(futures, timeout=DIES_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        # What ended the work may have been the death itself, of which we hear a little later.
        await asyncio.wait({ending}, timeout=HEARD_SECONDS)
    finally:
        for future in filter(None, (ending, working)):
            if not future.done():
                future.cancel()
        await asyncio.gather(*filter(None, (ending, working)), return_exceptions=True)
    if process.is_running:
        if working is not None and not working.cancelled():
            working.result()  # It failed, and not because the victim died.
        return
    assert process.status == -signal.SIGKILL, f"{victim} ended by itself: {process.last_words}"
    raise Died([running.name for running in ledger.nodes.running])


async def arm(ledger: Ledger, victim: str, point: str) -> None:
    """Start the victim, which does not run, so that it dies at *point*."""
    process = await ledger.nodes.launch(victim, crash_at=point)
    if not await process.started():
        await until_dead(ledger, victim)


# The ordeals. Each begins with a whole cluster that runs.


async def rejoins(ledger: Ledger, victim: str, point: str) -> None:
    """A restart and a little load."""
    await ledger.nodes.kill(victim)
    await ledger.submit_many(10)
    await arm(ledger, victim, point)
    await until_dead(ledger, victim, ledger.submit_many(30))


async def leads(ledger: Ledger, victim: str, point: str) -> None:
    """Leadership, with a task that waits for its time, snapshots, and a hand-over."""
    nodes = ledger.nodes
    await nodes.kill(victim)
    await arm(ledger, victim, point)

    async def lead() -> None:
        await nodes.make_lead(victim)
        await ledger.submit(name=victim, delay_ms=1)
        for _ in range(3):
            await ledger.submit_many(30)
            await nodes[victim].ask("snapshot")
        other = next(name for name in nodes.names if name != victim)
        await nodes[victim].ask("lead", to=other)

    await until_dead(ledger, victim, lead())


async def loses_its_leader(ledger: Ledger, victim: str, point: str) -> None:
    """The leader dies; the victim asks around or is asked, votes or leads."""
    nodes = ledger.nodes
    await nodes.kill(victim)
    await arm(ledger, victim, point)
    leader = await nodes.leader()
    if leader == victim:
        return
    await nodes.kill(leader)
    await until_dead(ledger, victim, ledger.submit_many(10))


async def falls_behind(ledger: Ledger, victim: str, point: str) -> None:
    """The others cut their logs while the victim is away: it is sent a snapshot."""
    nodes = ledger.nodes
    await nodes.kill(victim)
    await cut_logs(ledger)
    await arm(ledger, victim, point)
    await until_dead(ledger, victim, ledger.submit_many(30))


async def sends_a_snapshot(ledger: Ledger, victim: str, point: str) -> None:
    """The victim leads, and another falls behind."""
    nodes = ledger.nodes
    other = next(name for name in nodes.names if name != victim)
    await nodes.kill(victim)
    await arm(ledger, victim, point)

    async def send() -> None:
        await nodes.make_lead(victim)
        await nodes.kill(other)
        await cut_logs(ledger)
        await nodes.start(other)
        await nodes.whole()

    await until_dead(ledger, victim, send())


async def readmits_another(ledger: Ledger, victim: str, point: str) -> None:
    """The victim leads, and another comes back with an empty disk."""
    nodes = ledger.nodes
    other = next(name for name in nodes.names if name != victim)
    await nodes.kill(victim)
    await arm(ledger, victim, point)

    async def readmit() -> None:
        await nodes.make_lead(victim)
        await nodes.kill(other)
        shutil.rmtree(nodes.data[other])
        await nodes.start(other)
        await nodes.whole()

    await until_dead(ledger, victim, readmit())


async def is_wiped(ledger: Ledger, victim: str, point: str) -> None:
    """The victim comes back with an empty disk."""
    await ledger.nodes.kill(victim)
    shutil.rmtree(ledger.nodes.data[victim])
    await arm(ledger, victim, point)
    await until_dead(ledger, victim, ledger.nodes.whole())


async def lost_its_log(ledger: Ledger, victim: str, point: str) -> None:
    """The victim comes back with nothing but its name."""
    nodes = ledger.nodes
    await nodes.kill(victim)
    for file in nodes.data[victim].iterdir():
        if file.name != "identity":
            file.unlink()
    await arm(ledger, victim, point)
    await until_dead(ledger, victim, nodes.whole())


async def finds_a_torn_segment(ledger: Ledger, victim: str, point: str) -> None:
    """The victim had died as it began a new segment."""
    nodes = ledger.nodes
    await nodes.kill(victim)
    newest = max(nodes.data[victim].glob("*.log"))
    torn = newest.with_name(f"{int(newest.stem) + 1_000_000:020d}.log")
    torn.write_bytes(newest.read_bytes()[:10])
    await arm(ledger, victim, point)
    await until_dead(ledger, victim, ledger.submit_many(10))


async def is_contradicted(ledger: Ledger, victim: str, point: str) -> None:
    """The victim led and holds what it alone has; the others have gone on without it."""
    nodes = ledger.nodes
    await nodes.make_lead(victim)
    await nodes.kill(*(name for name in nodes.names if name != victim))
    before = (await nodes[victim].ask("status"))["durable_index"]
    proposing = asyncio.ensure_future(ledger.submit(name=victim))

    async def has_written() -> bool:
        return bool((await nodes[victim].ask("status"))["durable_index"] > before)

    await nodes.until(has_written, f"{victim} to write what nobody else has")
    await nodes.kill(victim)
    await proposing
    await nodes.start(*(name for name in nodes.names if name != victim))
    await ledger.submit_many(10)
    await arm(ledger, victim, point)
    await until_dead(ledger, victim, ledger.submit_many(10))


async def hears_of_a_later_term(ledger: Ledger, victim: str, point: str) -> None:
    """A member answers the victim that its term is over."""
    nodes = ledger.nodes
    member = next(name for name in nodes.names if name < victim) if victim != "node1" else "node3"
    await nodes.kill(victim)
    await arm(ledger, victim, point)
    status = await nodes[victim].ask("status")
    await nodes.kill(member)

    async def tell() -> None:
        async with Impostor(nodes, member, victim=victim) as impostor:
            await impostor.say([{"type": "stale_term", "from_term": status["term"] + 10}])
            await impostor.until_dropped()

    await until_dead(ledger, victim, tell())


async def forms(ledger: Ledger, victim: str, point: str) -> None:
    """A new cluster; whoever comes to lead it dies, and it forms all the same."""
    directory = ledger.nodes.data[victim].parent / f"new_{point}"
    directory.mkdir(exist_ok=True)
    nodes = Nodes(directory, **OPTIONS)
    try:
        processes = [await nodes.launch(name, crash_at=point) for name in nodes.names]
        ends = [asyncio.ensure_future(process.ended()) for process in processes]
        await asyncio.wait(ends, timeout=FORMS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        dead = [process for process in processes if process.status == -signal.SIGKILL]
        if not dead:
            return
        await nodes.kill(*nodes.names)
        await nodes.start()
        fresh = Ledger(nodes, seed=1)
        await fresh.submit_many(20)
        await fresh.settle()
        raise Died([process.name for process in processes if process not in dead])
    finally:
        await nodes.close()


async def cut_logs(ledger: Ledger) -> None:
    """Have every running node drop the segments that there are now."""
    nodes = ledger.nodes
    for process in nodes.running:
        old = set(nodes.data[process.name].glob("*.log"))
        while old & set(nodes.data[process.name].glob("*.log")):
            await ledger.submit_many(30)
            try:
                await process.ask("snapshot")
            except Gone:
                return


# What is known to lead where; a point that is not here goes through all of them.
LEADS_TO: dict[Ordeal, set[str]] = {
    rejoins: set(),
    leads: {
        "engine.after_campaign", "engine.before_campaign", "engine.before_compaction",
        "engine.before_hand_over", "engine.before_vote", "engine.elected", "leading.before_append",
        "leading.before_tick_proposed", "leading.begins", "log.after_segment_removed",
        "log.before_segment_removed", "snapshot.before_frame", "snapshot.before_older_removed",
        "snapshot.log_cut", "snapshot.taken", "storage.file_removed",
    },
    loses_its_leader: {"engine.before_pre_vote_granted", "transport.before_link_down"},
    falls_behind: {
        "engine.log_restarted", "snapshot.before_install", "snapshot.before_received_committed",
        "snapshot.frame_received", "snapshot.installed", "snapshot.machine_replaced",
        "snapshot.transfer_begins",
    },
    sends_a_snapshot: {"snapshot.frame_sent"},
    readmits_another: {
        "engine.after_change", "engine.before_binding", "engine.before_change",
        "engine.before_unbinding",
    },
    is_wiped: {"identity.after_written", "identity.before_written"},
    lost_its_log: {"identity.before_rewritten"},
    finds_a_torn_segment: {"log.before_torn_removed"},
    is_contradicted: {"engine.before_truncation"},
    hears_of_a_later_term: {"engine.before_step_down"},
    forms: {"engine.before_formed", "engine.before_forming"},
}  # fmt: skip
