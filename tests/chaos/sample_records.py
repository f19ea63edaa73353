"""Records to make pages of: a run that held, one that broke, and one that is full of malice."""

from __future__ import annotations

from datetime import UTC, datetime

from chaos.checkers import CHECKERS
from chaos.checkers.evidence import Evidence, Fault, Sight
from chaos.checkers.verdicts import Status, Verdict, broken, held, inconclusive
from chaos.history import Row, Type
from chaos.report import Record
from chaos.scene import Expectation, Told
from cluster.core.model import Event

NODES = ("node1", "node2", "node3")
BEGAN = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC).timestamp()
PROMISES = tuple(checker.name for checker in CHECKERS if checker.name != "witness")
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=http://evil.invalid/x onerror='alert(2)'>",
    "</style></svg></textarea>--><!--",
    "javascript:alert(3) &lt;b&gt; &#x3c;i&#x3e;",
    "\x00\x1b[31m \u202etxt.exe\u202c \ud800",
)


def row(
    at: float, node: str, type_: Type = Type.OK, *, took: float = 0.01, f: str = "submit"
) -> Row:
    """A request of a client; one that is not known never came back."""
    returned = float("inf") if type_ is Type.INFO else at + took
    value = {"id": "a"} if type_ is Type.OK else "no_quorum"
    return Row("client1", f, {"id": "a", "node": node}, "r", at, returned, type_, value, node, 7)


def rows() -> list[Row]:
    """Ten seconds of traffic: node1 is cut off from the fourth to the seventh."""
    found = []
    for tick in range(100):
        at = tick / 10
        for node in NODES:
            if node == "node1" and 4 <= at < 7:
                type_ = Type.INFO if tick % 3 else Type.FAIL
                found.append(row(at, node, type_, took=5.0))
            else:
                found.append(row(at, node, took=0.002 * (1 + tick % 7)))
        found.append(row(at, NODES[tick % 3], f="task"))
    return found


def sights() -> list[Sight]:
    """node1 leads term 1 up to the fifth second, node2 term 2 from then on."""
    found = []
    for tick in range(100):
        at = tick / 10
        for node in NODES:
            leader, term = ("node1", 1) if at < 5 else ("node2", 2)
            role = "leader" if node == leader else "follower"
            found.append(Sight(at, node, role, term, tick, tick, "ab" * 16))
    return found


def log(node: str, *lines: str) -> str:
    """What a node wrote, a line a second from the third on."""
    stamped = [
        f"2026-01-31T12:00:{second:02}.000Z INFO {node} cluster.raft {line}"
        for second, line in enumerate(lines, start=3)
    ]
    return "\n".join(stamped) + "\n"


def held_record() -> Record:
    """A cut of three seconds that did no harm."""
    faults = [
        Fault("cut off from the other nodes", "node1", 4.0, 7.0, {"held back": 3401}),
        Fault("killed", "worker1", 5.0, 6.0, {"processes ended": 1}),
    ]
    return Record(
        name="leader-in-the-minority",
        question="A cut leaves the leader alone, with clients on both sides. Who may write?",
        asked="For how long do two nodes say that they lead?",
        prediction="About a second, and only one of them commits.",
        ran_on="3 nodes and 2 workers, processes of one machine",
        command="quorate chaos run leader-in-the-minority",
        status=Status.HELD,
        why="A leader that hears no majority for a second steps down.",
        onward="Now break it",
        onward_command="quorate chaos run leader-in-the-minority --break",
        promises=PROMISES,
        verdicts={checker.name: held(1000) for checker in CHECKERS},
        expectations=[Expectation("node1 steps down within 2 s", "1.02 s", is_met=True)],
        story=[
            Told(0.5, "steady state: node1 leads; clients write through every node"),
            Told(4.0, "cut off from the other nodes: node1"),
            Told(5.02, "as expected: node1 steps down within 2 s; seen: 1.02 s"),
            Told(7.0, "healed: cut off from the other nodes of node1 (held back: 3401)"),
        ],
        evidence=Evidence(rows=rows(), sights=sights(), faults=faults, nodes=NODES),
        logs={"node1": log("node1", "leads term 1", "hears nobody", "follows term 2")},
        began=BEGAN,
    )


def broken_record() -> Record:
    """A run that lost a task, missed an expectation, and cannot tell of another promise."""
    lost = row(1.0, "node1")
    event = Event(9, 0, 2, 1_500, "completed", "a", "default", "completed", "w", 41)
    sight = sights()[0]
    fault = Fault("killed", "node1", 4.0, 7.0, {})
    verdicts: dict[str, Verdict] = {checker.name: held(1000) for checker in CHECKERS}
    verdicts["total queue"] = broken(300, "1 acknowledged tasks never ended", lost, event)
    verdicts["not vacuous"] = inconclusive(0, "killed on node1 did not bite", fault, sight, "a")
    whole = held_record()
    return Record(
        name="kill-the-leader, broken on purpose",
        question=whole.question,
        asked=whole.asked,
        status=Status.BROKEN,
        why="Of two nodes one is no majority.",
        promises=PROMISES,
        verdicts=verdicts,
        expectations=[Expectation("the others go on within 2 s", "inf s", is_met=False)],
        story=[Told(3.0, "NOT as expected: the others go on within 2 s; seen: inf s")],
        evidence=whole.evidence,
    )


def hostile_record() -> Record:
    """Malice wherever a cluster or a person may have put it."""
    bad = " ".join(HOSTILE)
    asked = {"id": bad, "node": bad}
    told = Row(bad, bad, asked, bad, 1.0, 2.0, Type.FAIL, bad, bad, 7)
    event = Event(1, 0, 1, 1, bad, bad, bad, bad, bad, 1, 1, bad, bad)
    sight = Sight(1.0, bad, bad, 1, 1, 1, bad)
    fault = Fault(bad, bad, 1.0, 2.0, {bad: 1})
    verdicts: dict[str, Verdict] = {
        checker.name: broken(1, bad, told, event, sight, fault, bad) for checker in CHECKERS
    }
    return Record(
        name=bad,
        question=bad,
        asked=bad,
        prediction=bad,
        ran_on=bad,
        command=bad,
        status=Status.BROKEN,
        why=bad,
        onward=bad,
        onward_command=bad,
        promises=PROMISES,
        verdicts=verdicts,
        expectations=[Expectation(bad, bad, is_met=False)],
        story=[Told(1.0, bad)],
        evidence=Evidence(rows=[told], sights=[sight], faults=[fault], nodes=(bad,)),
        logs={bad: f"2026-01-31T12:00:01.000Z ERROR {bad}\n{bad}\n{{{bad}\n"},
        began=BEGAN,
    )
