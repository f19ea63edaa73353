"""Strikes at random moments under load: which nodes fall, and how they come back, is drawn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.crash.ledger import Ledger

PROGRESS_MAX = 150  # A strike comes after so many acknowledgements at most.
SERVED_MIN = 20  # How many a majority must give while the others are away.

Strike = Callable[[list[str]], Awaitable[None]]  # Fells nodes, all before any is waited for.


async def storm(ledger: Ledger, *, strikes: int, strike: Strike) -> None:
    """Fell at least *strikes* nodes under load, one, two or all at a time."""
    felled = 0
    async with ledger.under_load():
        while felled < strikes:
            await ledger.acknowledgements(ledger.random.randrange(1, PROGRESS_MAX))
            victims = await _draw_victims(ledger, limit=strikes - felled)
            await strike(victims)
            felled += len(victims)
            await _come_back(ledger, victims)


async def _draw_victims(ledger: Ledger, *, limit: int) -> list[str]:
    nodes, random = ledger.nodes, ledger.random
    leader = await nodes.leader()
    followers = [name for name in nodes.names if name != leader]
    whom = random.choices(("leader", "follower", "majority", "all"), weights=(4, 2, 2, 3))[0]
    if whom == "leader" or limit < len(followers):
        return [leader]
    if whom == "follower":
        return [random.choice(followers)]
    if whom == "majority" or limit < len(nodes.names):
        return random.sample(nodes.names, len(followers))
    return random.sample(nodes.names, len(nodes.names))


async def _come_back(ledger: Ledger, victims: list[str]) -> None:
    """Start the victims in a random order, now or once the others have served without them."""
    nodes, random = ledger.nodes, ledger.random
    if len(victims) * 2 < len(nodes.names) and random.random() < 0.5:
        await ledger.acknowledgements(SERVED_MIN)
    random.shuffle(victims)
    await nodes.start(*victims)
    if random.random() < 0.5:
        ledger.note_hashes(await nodes.whole())
