"""Whatever reaches a Raft port that is no member's honest word: dropped, said once, and forgotten.

After each the cluster serves within a second, through the very node that was spoken to.
"""

from __future__ import annotations

import asyncio
import os
import random
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgpack
import pytest
import pytest_asyncio

from cluster.raft.transport import STRANGERS_MAX
from cluster.raft.wire import FRAME_BYTES_MAX, Channel, pack_frame, pack_greeting
from tests.crash.conftest import Report
from tests.crash.ledger import Ledger
from tests.crash.nodes import Nodes
from tests.crash.strangers import Impostor, Stranger

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = b"a secret that every node of this cluster knows"
VICTIM = "node2"
ABSENT = "node1"  # Whose place an impostor takes: it dials, the victim accepts.
SERVES_SECONDS = 1.0
CONNECTIONS = 500
MEMORY_BYTES_MAX = 48 * 1024 * 1024  # How much a node may grow by all that is done to it at once.
FLOOD_BYTES = 64 * 1024 * 1024


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared_ledger(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ledger]:
    """One cluster with a secret, for every stranger; it must agree with itself in the end."""
    nodes = Nodes(tmp_path_factory.mktemp("hostile"), secret=SECRET.decode())
    try:
        await nodes.start()
        await nodes.whole()
        await nodes.make_lead(VICTIM)
        await nodes.kill(ABSENT)
        ledger = Ledger(nodes, seed=0)
        yield ledger
        await nodes.start(ABSENT)
        await ledger.settle()
    finally:
        await nodes.close()


@pytest_asyncio.fixture(loop_scope="module")
async def ledger(shared_ledger: Ledger, seed: int) -> AsyncIterator[Ledger]:
    """The cluster, which must serve as before when the test is over."""
    shared_ledger.random.seed(seed)
    shared_ledger.nodes[VICTIM].lines.clear()
    yield shared_ledger
    await serves(shared_ledger)
    assert shared_ledger.nodes[VICTIM].is_running


async def serves(ledger: Ledger) -> None:
    async with asyncio.timeout(SERVES_SECONDS):
        assert await ledger.submit(name=VICTIM) == "done"


def complaints(ledger: Ledger) -> list[str]:
    """What the victim said of the links it dropped."""
    return [line for line in ledger.nodes[VICTIM].lines if "dropping the link" in line]


def memory_bytes(ledger: Ledger) -> int:
    """The victim's resident memory."""
    pages = Path(f"/proc/{ledger.nodes[VICTIM].pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def greeting(**changes: Any) -> bytes:
    fields = {"version": 1, "cluster": "", "node": ABSENT, "incarnation": "i", "http": "", "n": "n"}
    fields |= {"machine_version": 1}
    return pack_frame(Channel.GREETING, list((fields | changes).values()))


UNWELCOME: dict[str, tuple[bytes, str]] = {
    "http": (b"GET / HTTP/1.1\r\nHost: node\r\n\r\n", "exceeds the limit of 4096"),
    "tls": (bytes.fromhex("16030100c5010000c10303") + bytes(200), "exceeds the limit"),
    "a_huge_length": (struct.pack(">I", 0xFFFFFFFF), "exceeds the limit of 4096"),
    "a_frame_too_large_for_a_stranger": (
        struct.pack(">I", FRAME_BYTES_MAX) + bytes(64),
        "exceeds the limit of 4096",
    ),
    "no_msgpack": (struct.pack(">I", 4) + b"\xc1\xc1\xc1\xc1", "cannot be read"),
    "an_empty_frame": (struct.pack(">I", 0), "cannot be read"),
    "msgpack_of_another_shape": (
        struct.pack(">I", 3) + msgpack.packb([1, 2])[:3],
        "came before the greeting",
    ),
    "an_unknown_channel": (pack_frame(99, None), "cannot be read"),  # type: ignore[arg-type]
    "raft_before_a_greeting": (pack_frame(Channel.RAFT, []), "RAFT came before the greeting"),
    "a_greeting_of_another_shape": (pack_frame(Channel.GREETING, [1, 2]), "not a greeting"),
    "a_newer_wire_version": (greeting(version=99, news="news"), "speaks wire version 99"),
    "a_stranger_to_this_cluster": (greeting(node="node9"), "'node9' is not a member"),
    "another_cluster": (greeting(cluster="ffff"), "is of cluster ffff"),
    "a_proof_of_nothing": (
        greeting() + pack_frame(Channel.PROOF, b""),
        "does not know this cluster's secret",
    ),
    "raft_before_the_proof": (greeting() + pack_frame(Channel.RAFT, []), "before the proof"),
}


@pytest.mark.parametrize(("content", "reason"), UNWELCOME.values(), ids=UNWELCOME.keys())
async def test_a_stranger_is_dropped_with_one_line_that_says_why(
    ledger: Ledger, content: bytes, reason: str
) -> None:
    async with Stranger(ledger.nodes, victim=VICTIM) as stranger:
        await stranger.send(content)
        await stranger.until_dropped()

    await ledger.nodes[VICTIM].line("dropping the link to a stranger")
    [line] = complaints(ledger)
    assert reason in line


async def test_half_a_greeting_is_dropped_once_it_has_been_silent(ledger: Ledger) -> None:
    async with Stranger(ledger.nodes, victim=VICTIM) as stranger:
        await stranger.send(greeting()[:10])
        await stranger.until_dropped()

    assert await ledger.nodes[VICTIM].line("silent; dropping it")


async def test_a_greeting_that_drips_in_is_not_waited_for(ledger: Ledger) -> None:
    """Each byte is a sign of life; whoever sends one now and then holds a descriptor."""
    async with Stranger(ledger.nodes, victim=VICTIM) as stranger:
        dropped = asyncio.create_task(stranger.until_dropped())
        for byte in greeting():
            await stranger.send(bytes([byte]))
            await asyncio.wait([dropped], timeout=0.5)
            if dropped.done():
                break
        await dropped

    assert await ledger.nodes[VICTIM].line("takes too long to greet; dropping it")


async def test_a_crowd_of_strangers_keeps_nobody_out(ledger: Ledger) -> None:
    """Of too many the oldest go at once, and the newest is heard."""
    async with AsyncExitStack() as stack:
        oldest = await stack.enter_async_context(Stranger(ledger.nodes, victim=VICTIM))
        for _ in range(STRANGERS_MAX):
            newest = await stack.enter_async_context(Stranger(ledger.nodes, victim=VICTIM))
        await newest.send(greeting())

        await oldest.until_dropped()
        assert (await newest.frame())[0] is Channel.GREETING


async def test_garbage_never_brings_a_node_down(ledger: Ledger, report: Report) -> None:
    dice = random.Random(ledger.random.random())
    for _ in range(100):
        async with Stranger(ledger.nodes, victim=VICTIM) as stranger:
            await stranger.send(dice.randbytes(dice.randrange(4, 5_000)))
            await stranger.until_dropped()

    lines = complaints(ledger)
    report(f"{len(lines)} lines for 100 strangers")
    assert len(lines) <= 100


async def test_many_idle_connections_cost_little_and_are_dropped(
    ledger: Ledger, report: Report
) -> None:
    before = memory_bytes(ledger)
    async with AsyncExitStack() as stack:
        strangers = [
            await stack.enter_async_context(Stranger(ledger.nodes, victim=VICTIM))
            for _ in range(CONNECTIONS)
        ]
        await serves(ledger)
        grown = memory_bytes(ledger) - before
        await asyncio.gather(*(stranger.until_dropped() for stranger in strangers))

    report(f"{CONNECTIONS} connections: {grown / 1e6:.1f} MB")
    assert grown < MEMORY_BYTES_MAX


async def test_a_stranger_cannot_fill_the_memory(ledger: Ledger, report: Report) -> None:
    """It may send as much as it likes behind a length that it is allowed: it is not kept."""
    before = memory_bytes(ledger)
    async with Stranger(ledger.nodes, victim=VICTIM) as stranger:
        await stranger.send(struct.pack(">I", 4_000))
        await stranger.send(b"\x92" * FLOOD_BYTES)
        await stranger.until_dropped()

    grown = memory_bytes(ledger) - before
    report(f"{FLOOD_BYTES >> 20} MiB sent: {grown / 1e6:.1f} MB")
    assert grown < MEMORY_BYTES_MAX


# Impostors.


async def test_an_impostor_without_the_secret_is_dropped(ledger: Ledger) -> None:
    async with Impostor(
        ledger.nodes, ABSENT, victim=VICTIM, secret=b"another secret, of another cluster"
    ) as impostor:
        await impostor.until_dropped()

    assert "does not know this cluster's secret" in await ledger.nodes[VICTIM].line("dropping")


async def test_what_a_member_once_said_to_be_let_in_lets_nobody_in_again(ledger: Ledger) -> None:
    async with Impostor(ledger.nodes, ABSENT, victim=VICTIM, secret=SECRET) as member:
        await member.say(None, channel=Channel.PING)

    async with Stranger(ledger.nodes, victim=VICTIM) as replayed:
        await replayed.send(pack_greeting(member.greeting) + member.proof)
        await replayed.until_dropped()

    assert "does not know this cluster's secret" in await ledger.nodes[VICTIM].line("dropping")


async def test_a_nodes_own_proof_is_not_taken_back_from_it(ledger: Ledger) -> None:
    async with Stranger(ledger.nodes, victim=VICTIM) as mirror:
        await mirror.send(greeting())
        await mirror.frame()
        _, proof = await mirror.frame()
        await mirror.send(pack_frame(Channel.PROOF, proof))
        await mirror.until_dropped()

    assert "does not know this cluster's secret" in await ledger.nodes[VICTIM].line("dropping")


def nested(depth: int) -> Any:
    content: Any = 1
    for _ in range(depth):
        content = [content]
    return content


HUGE = 2**63 - 1

# Valid frames, each of which a member might send that is broken or bought.
NONSENSE: dict[str, tuple[Channel, Any]] = {
    "no_list": (Channel.RAFT, 7),
    "no_messages": (Channel.RAFT, [1, None, "x"]),
    "a_message_of_no_type": (Channel.RAFT, [{}]),
    "a_type_that_is_a_list": (Channel.RAFT, [{"type": [1]}]),
    "an_append_of_nothing": (Channel.RAFT, [{"type": "append_entries"}]),
    "an_append_of_words": (
        Channel.RAFT,
        [{"type": "append_entries", "term": 0, "entries": ["ab"], "prevLogIdx": "x"}],
    ),
    "an_append_of_a_text_term": (
        Channel.RAFT,
        [{"type": "append_entries", "term": "9", "entries": [], "prevLogIdx": 1}],
    ),
    "a_heartbeat_of_no_round": (Channel.RAFT, [{"type": "heartbeat", "term": 0}]),
    "a_heartbeat_of_a_text_term": (Channel.RAFT, [{"type": "heartbeat", "term": "x", "round": 1}]),
    "an_ack_of_nothing": (Channel.RAFT, [{"type": "next_node_idx"}]),
    "a_vote_of_nothing": (Channel.RAFT, [{"type": "response_vote"}]),
    "a_stale_term_of_text": (Channel.RAFT, [{"type": "stale_term", "from_term": "x"}]),
    "a_pre_vote_of_text": (
        Channel.RAFT,
        [{"type": "pre_vote", "term": 1, "last_log_index": "x", "last_log_term": None}],
    ),
    "a_proposal_of_no_commands": (Channel.REPLICA, ["propose", 1, "node1/x", 1, 7]),
    "a_proposal_of_garbage": (Channel.REPLICA, ["propose", "TERM", "node1/x", 1, [b"\xc1"]]),
    "a_proposal_of_no_bytes": (Channel.REPLICA, ["propose", "TERM", "node1/x", 2, [1, "a"]]),
    "an_unknown_request": (Channel.REPLICA, ["dance"]),
    "a_read_index_nobody_asked_for": (Channel.REPLICA, ["read_at", HUGE, HUGE]),
    "a_steer_of_garbage": (Channel.REPLICA, ["steer", 1, "dance", [nested(50)]]),
    "a_steer_to_a_number": (Channel.REPLICA, ["steer", 2, "add", [1, 2]]),
    "no_transfer": (Channel.SNAPSHOT, {"begin": 1}),
    "a_frame_of_no_transfer": (Channel.SNAPSHOT, ["frame", 1, 0, b"x"]),
    "an_unknown_transfer": (Channel.SNAPSHOT, ["got", HUGE, HUGE]),
    "a_second_greeting": (Channel.GREETING, [1, "", ABSENT, "i", "", "n"]),
    "a_second_proof": (Channel.PROOF, b""),
    "an_ack_of_the_future": (
        Channel.RAFT,
        [{"type": "next_node_idx", "from_term": "TERM", "next_node_idx": HUGE, "reset": False}],
    ),
    "an_ack_of_the_past": (
        Channel.RAFT,
        [{"type": "next_node_idx", "from_term": "TERM", "next_node_idx": -HUGE, "reset": False}],
    ),
    "a_reset_to_the_future": (
        Channel.RAFT,
        [{"type": "next_node_idx", "from_term": "TERM", "next_node_idx": HUGE, "reset": True}],
    ),
    "a_reset_to_the_past": (
        Channel.RAFT,
        [{"type": "next_node_idx", "from_term": "TERM", "next_node_idx": -HUGE, "reset": True}],
    ),
    "an_echo_of_the_future": (
        Channel.RAFT,
        [{"type": "heartbeat_ack", "from_term": "TERM", "round": HUGE}],
    ),
    "deeply_nested": (Channel.RAFT, nested(400)),
    "a_map_of_odd_keys": (Channel.RAFT, [{1: 2, None: 3}]),
}


def in_term(content: Any, term: int) -> Any:
    """The same with the term of now."""
    match content:
        case "TERM":
            return term
        case [dict(message)]:
            return [{key: in_term(value, term) for key, value in message.items()}]
        case list():
            return [term if part == "TERM" else part for part in content]
        case _:
            return content


@pytest.mark.parametrize(("channel", "content"), NONSENSE.values(), ids=NONSENSE.keys())
async def test_a_members_nonsense_is_survived_with_a_line_at_most(
    ledger: Ledger, channel: Channel, content: Any
) -> None:
    """Dropped or passed over: never the end of the node, nor an unexplained exception."""
    nodes = ledger.nodes
    await nodes.make_lead(VICTIM)
    content = in_term(content, (await nodes[VICTIM].ask("status"))["term"])

    async with Impostor(nodes, ABSENT, victim=VICTIM, secret=SECRET) as impostor:
        await impostor.say(content, channel=channel)
        # What comes behind it breaks the framing for sure: then it is over either way.
        await impostor.send(struct.pack(">I", 0xFFFFFFFF))
        await impostor.until_dropped()

    await serves(ledger)
    assert nodes[VICTIM].is_running
    assert not [line for line in nodes[VICTIM].lines if "Traceback" in line or " ERROR " in line]
    [line] = complaints(ledger)
    assert f"dropping the link to {ABSENT}" in line


OUT_OF_REACH: dict[str, dict[str, Any]] = {
    "in_an_answer": {"type": "stale_term", "from_term": 2**64 - 1},
    "in_a_vote_request": {
        "type": "request_vote",
        "term": 2**64 - 1,
        "forced": True,
        "last_log_index": HUGE,
        "last_log_term": HUGE,
    },
    "as_a_fraction": {"type": "stale_term", "from_term": 1e300},
}


@pytest.mark.parametrize("message", OUT_OF_REACH.values(), ids=OUT_OF_REACH.keys())
async def test_a_member_cannot_push_the_term_out_of_reach(
    tmp_path: Path, message: dict[str, Any], seed: int
) -> None:
    """No term can follow the last one that there is: nobody could ever be elected again."""
    nodes = Nodes(tmp_path, secret=SECRET.decode())
    ledger = Ledger(nodes, seed=seed)
    try:
        await nodes.start()
        await nodes.make_lead(VICTIM)
        await nodes.kill(ABSENT)

        async with Impostor(nodes, ABSENT, victim=VICTIM, secret=SECRET) as impostor:
            await impostor.say([message])
            await impostor.until_dropped()

        await serves(ledger)
    finally:
        await nodes.close()
