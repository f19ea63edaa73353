"""What must hold at every moment, seen from all nodes at once: Raft's own promises and our calm.

The judge only looks. What it finds broken ends the run; `verdict` judges what is left at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from chaos.simulation.calm import Calm
from chaos.simulation.membership import Members
from chaos.simulation.network import Network
from chaos.simulation.outvoting import Outvoting
from chaos.simulation.world import World
from cluster.core import invariants
from cluster.errors import StorageError
from cluster.raft.engine import Engine
from cluster.raft.membership import Configuration

if TYPE_CHECKING:
    from chaos.simulation.node import SimulatedNode

ALONE_SECONDS_MAX = 1.5  # A leader's fallback is one second, and it looks at it now and then.
LOOK_SECONDS = 0.5  # How often the costly invariants are looked at.


class Violation(NamedTuple):
    """A promise that did not hold."""

    at: float
    rule: str
    what: str

    def __str__(self) -> str:
        return f"+{self.at:.2f} s {self.rule}: {self.what}"


class Applied(NamedTuple):
    """What one log index turned out to hold, for whoever applied it first."""

    term: int
    command: bytes | None
    state_hash: bytes
    node: str


class Judge:
    """A witness (node.Witness) that knows what may not be."""

    def __init__(self, world: World, network: Network) -> None:
        self.violations: list[Violation] = []
        self.ledger: dict[int, Applied] = {}
        self.leaders: dict[int, str] = {}  # By term.
        self.members = Members()
        self.happened: Counter[str] = Counter()  # What the faults came to, by name.
        self.calm = Calm(world, network)
        self.excuses: dict[str, str] = {}  # Nodes whose disk was tampered with, and how.
        self.nodes: list[SimulatedNode] = []
        self.tell: Callable[[str], None] = _nobody  # Who narrates, if anyone does.
        self._world = world
        self._newest = 0  # The highest index in the ledger.
        self._outvoting = Outvoting()
        self._committed_in: dict[int, int] = {}  # Index -> the term of whoever applied it first.
        self._applied: dict[str, int] = {}  # By node, in this life of its process.
        self._leads: dict[str, int] = {}  # Nodes that lead, and their term.
        self._serves: dict[str, int] = {}  # Nodes that have served as leaders, in that term.
        self._hands_over: set[str] = set()  # Leaders that were asked to go.

    def broken(self, rule: str, what: str) -> None:
        """Note a violation; nothing after it could be judged, so the run ends."""
        self.violations.append(Violation(self._world.now, rule, what))
        self.tell(f"BROKEN {rule}: {what}")
        self._world.halt()

    # node.Witness.

    def started(self, node: SimulatedNode) -> None:
        self._applied.pop(node.name, None)
        self.calm.disturb(node.name)
        self.tell(f"{node.name} is up")

    def applied(
        self, node: SimulatedNode, index: int, term: int, command: bytes | None, state_hash: bytes
    ) -> None:
        last = self._applied.get(node.name, 0)
        if index <= last:
            self.broken("applied goes back", f"{node.name} applied {index} after {last}")
        self._applied[node.name] = index
        known = self.ledger.get(index)
        if known is None:
            self.ledger[index] = Applied(term, command, state_hash, node.name)
            engine = engine_of(node)
            self._committed_in[index] = term if engine is None else engine.term
            self._newest = max(self._newest, index)
            self._world.record(b"applied", state_hash)
            return
        if known.term != term or known.command != command:
            self.broken(
                "applied entries agree",
                f"{node.name} applied another entry {index} (term {term}) "
                f"than {known.node} (term {known.term})",
            )
        elif known.state_hash != state_hash:
            self.broken(
                "equal state at equal index",
                f"{node.name} differs from {known.node} after entry {index}",
            )

    def configured(self, node: SimulatedNode, index: int, configuration: Configuration) -> None:
        if not self.members.agree(index, configuration):
            self.broken("members agree", f"{node.name} applied other members at {index}")

    def moved(self, node: SimulatedNode) -> None:
        engine = engine_of(node)
        if engine is None:
            return
        last = engine.log[-1][1]
        if engine.commit_index > last:
            self.broken(
                "commit within the log",
                f"{node.name} commits {engine.commit_index}, its log ends at {last}",
            )
        newest = self.ledger.get(self._newest)
        applied = (self._newest, newest.term if newest is not None else 0)
        undone = self._outvoting.moved(node.name, engine, applied)
        if undone is not None:
            self.broken("what is committed stays", undone)
        leads = self._leads.get(node.name)
        if engine.is_leader:
            if leads != engine.term:
                self._leads[node.name] = engine.term
                self._took_over(node, engine)
            self._mind_handing_over(node, engine)
        elif leads is not None:
            del self._leads[node.name]
            self._stepped_down(node, engine, leads)

    def ended(self, node: SimulatedNode, why: str) -> None:
        self.tell(f"{node.name} is down: {why}")
        self._leads.pop(node.name, None)
        self._serves.pop(node.name, None)
        self._hands_over.discard(node.name)
        self._applied.pop(node.name, None)
        self.calm.disturb(node.name)

    def failed(self, node: SimulatedNode, error: BaseException) -> None:
        self.tell(f"{node.name} stops itself: {error}")
        if node.name not in self.excuses or not isinstance(error, StorageError | OSError):
            self.broken("no node fails by itself", f"{node.name}: {error}")

    def went_wrong(self, node: SimulatedNode, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.broken("no exception is lost", f"{node.name}: {context.get('message')}: {error!r}")

    # Leaders.

    def _mind_handing_over(self, node: SimulatedNode, engine: Engine) -> None:
        """A leader that no longer takes anything in is handing over: it was asked to go."""
        if engine.is_serving:
            self._serves[node.name] = engine.term
            self._hands_over.discard(node.name)
        elif self._serves.get(node.name) == engine.term:
            self._hands_over.add(node.name)
            self.calm.disturb(node.name)

    def _took_over(self, node: SimulatedNode, engine: Engine) -> None:
        term = engine.term
        self.tell(f"{node.name} leads term {term}")
        self.calm.took_over(node.name)
        self._world.record(b"leads", node.name.encode(), b"%d" % term)
        other = self.leaders.get(term)
        # Even the same node must not be elected twice in one term: it forgot its vote. Only one
        # that is alone may win before its vote is on disk, and lose both.
        if other is not None and (other != node.name or engine.configuration.votes_needed > 1):
            self.broken("one leader a term", f"{node.name} leads term {term}, as {other} did")
        self.leaders[term] = node.name
        missing = self._first_missing(engine)
        if missing is not None:
            self.broken(
                "leader completeness",
                f"{node.name} leads term {term} without entry {missing}, "
                f"which {self.ledger[missing].node} applied in term {self.ledger[missing].term}",
            )

    def _first_missing(self, engine: Engine) -> int | None:
        """The first index that an earlier term committed and that is not, or other, in this log.

        A leader may be elected late, in a term that others have left behind: what a later term has
        committed it need not have (Raft, §5.4.3).
        """
        log = engine.log
        first = log[0][1]
        last = log[-1][1]
        for index, applied in self.ledger.items():
            if self._committed_in[index] >= engine.term:
                continue
            if index >= first and (index > last or log[index - first][2] != applied.term):
                return index
        return None

    def _stepped_down(self, node: SimulatedNode, engine: Engine, term: int) -> None:
        self.tell(f"{node.name} leads term {term} no more")
        if node.name in self._hands_over:
            self._hands_over.discard(node.name)
            self.happened["hand-overs"] += 1
        if self.calm.is_deposed_without_need(node, *self._members(engine)):
            self.broken(
                "a healthy leader stays",
                f"{node.name} lost term {term} though it reached a majority and its disk was sane",
            )

    def _members(self, engine: Engine) -> tuple[list[SimulatedNode], list[str]]:
        """Whom *engine* takes for members: those that are there, and the ids of all."""
        members = [member.id for member in engine.configuration.members]
        return [node for node in self.nodes if node.name in members], members

    # The costly ones, looked at now and then.

    def look(self) -> None:
        """Compare logs, scan machines, and find what failed unseen."""
        for node in self.nodes:
            if node.process is not None:
                node.process.sweep_tasks()
        running = [(node, engine_of(node)) for node in self.nodes if node.is_serving]
        engines = [(node, engine) for node, engine in running if engine is not None]
        for position, (node, engine) in enumerate(engines):
            for other, theirs in engines[position + 1 :]:
                parted = parting(engine, theirs)
                if parted is not None:
                    self.broken("log matching", f"{node.name}, {other.name}: entry {parted}")
            self._stands_alone(node, engine)
            assert node.replica is not None
            for sentence in invariants.check(node.replica.machine):
                self.broken("the machine's invariants", f"{node.name}: {sentence}")

    def _stands_alone(self, node: SimulatedNode, engine: Engine) -> None:
        """A leader that has heard no majority for long is none any more."""
        if not engine.is_leader:
            return
        alone = self.calm.seconds_alone(node, *self._members(engine))
        if alone > ALONE_SECONDS_MAX:
            self.broken(
                "a leader without a majority stops",
                f"{node.name} has led term {engine.term} alone for {alone:.2f} s",
            )

    def unsettled(self) -> str | None:
        """What the cluster has yet to see to by itself, now that nobody asks for anything."""
        names = {node.name for node in self.nodes if self.members.include(node.name)}
        for node in self.nodes:
            if node.replica is None or node.name not in names:
                continue
            machine = node.replica.machine
            for name, is_suspended in machine.worker_nodes.items():
                if is_suspended and name in names:
                    return f"{node.name} takes {name} for silent"
            for operation in machine.state.operations.open.values():
                return f"{node.name} has not finished {operation.id}"
        return None

    def compare_states(self) -> None:
        """Once all have converged: whoever came by a snapshot has the same state as the others."""
        for node in self.nodes:
            if node.replica is None or not self.members.include(node.name):
                continue
            machine = node.replica.machine
            if machine.state_hash != self.ledger[self._newest].state_hash:
                self.broken("all nodes converge", f"{node.name} has another state at the end")


def engine_of(node: SimulatedNode) -> Engine | None:
    """The engine of a node that runs one."""
    return None if node.replica is None else node.replica.engine


def parting(engine: Engine, other: Engine) -> int | None:
    """An index below the last common (index, term) at which the two logs differ; None is right."""
    mine, theirs = engine.log, other.log
    first = max(mine[0][1], theirs[0][1])
    last = min(mine[-1][1], theirs[-1][1])
    while last >= first and mine[last - mine[0][1]][2] != theirs[last - theirs[0][1]][2]:
        last -= 1
    if last < first:
        return None
    # The first entry of a log that begins after a snapshot stands for it: only its term is known.
    head = mine[first + 1 - mine[0][1] : last + 1 - mine[0][1]]
    same = theirs[first + 1 - theirs[0][1] : last + 1 - theirs[0][1]]
    if head == same:
        return None
    return next(a[1] for a, b in zip(head, same, strict=True) if a != b)


def _nobody(_sentence: str) -> None:
    """Hear nothing."""
