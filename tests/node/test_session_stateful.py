"""A session against the real machine, over connections that break: no run is lost, none doubled."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cluster.core.commands import (
    Cancel,
    Command,
    Complete,
    Fail,
    Heartbeat,
    Leave,
    Offer,
    Refused,
    Register,
    Release,
    Report,
    Submit,
    Tick,
)
from cluster.core.invariants import check
from cluster.core.machine import Machine
from cluster.core.model import (
    DELIVERIES_KILLED_MAX,
    Backoff,
    Lease,
    NewTask,
    Policy,
    TaskStatus,
)
from cluster.core.queries import Count, GetTask, GetWorker, WorkerLeases
from node.actions import Ask, Description, Joined, MoveOn, Start, Stop
from node.outcomes import Completed, Failed
from node.session import Session

LEASE_MS, HEARTBEAT_MS = 3_000, 1_000
SLOTS = 2
NODE = "node1"
STATUS_OF = {"worker_unknown": 404, "worker_lost": 410, "task_unknown": 404, "lease_lost": 409}


class Cluster:
    """The real machine, and a node's part in the session: commands of calls, pushes of events."""

    def __init__(self) -> None:
        self.machine = Machine(lease_ms=LEASE_MS, heartbeat_ms=HEARTBEAT_MS)
        self.now_ms = 0
        self.completions: Counter[str] = Counter()
        self._index = 0

    def do(self, command: Command[Any]) -> Any:
        """Apply one command in an entry of its own."""
        self._index += 1
        applied = self.machine.apply_entry(
            [command],
            index=self._index,
            term=1,
            cluster_time_ms=self.now_ms,
            wall_time_ms=self.now_ms,
        )
        done = [event.task_id for event in applied.events if event.kind == "completed"]
        self.completions.update(task_id for task_id in done if task_id is not None)
        return applied.replies[0]

    def answer(self, ask: Ask) -> tuple[int, dict[str, Any]]:
        """Do what a call asks for, as the gateway does."""
        body = ask.body
        replies = [self.do(command) for command in _commands(ask.name, body)]
        refused = next((reply for reply in replies if isinstance(reply, Refused)), None)
        if refused is not None:
            return STATUS_OF[refused.refusal], {"code": refused.refusal.value}
        return 200, {"heartbeat_seconds": HEARTBEAT_MS / 1000}

    def leases(self, worker_id: str) -> tuple[Lease, ...]:
        """What the worker holds by the cluster's account."""
        return self.machine.answer(WorkerLeases(worker_id))


def _commands(name: str, body: Mapping[str, Any]) -> list[Command[Any]]:
    worker_id = task_id = body["id"]
    token = body.get("lease_token", 0)
    match name:
        case "register":
            return [Register(worker_id, "w", ("default",), (), (), body["slots"], NODE)]
        case "offer":
            return [
                Heartbeat(worker_id, tuple(body["lease_tokens"]), NODE),
                Offer(worker_id, body["epoch"], body["slots"], is_standing=True),
            ]
        case "leave":
            return [Leave(worker_id)]
        case "complete":
            return [Complete(task_id, token, b"")]
        case "fail":
            return [Fail(task_id, token, body["error"], body["retry"])]
        case "progress":
            return [Report(task_id, token, bytes([body["progress"]]))]
        case "release":
            return [Release(task_id, token)]
    raise AssertionError(f"no call is named {name}")


class Worker(RuleBasedStateMachine):
    """A session, its runs, and all that may come between it and the cluster."""

    def __init__(self) -> None:
        super().__init__()
        ids = itertools.count(1)
        self.cluster = Cluster()
        self.session = Session(
            Description(name="w", slots=SLOTS, queues=("default",), types=()),
            lambda: f"w{next(ids)}",
        )
        self.is_connected = False
        self.asks: deque[Ask] = deque()  # On their way to the node.
        self.answers: deque[tuple[Ask, int, Any]] = deque()  # On their way back.
        self.offered_by: str | None = None  # Who offered on this connection.
        self.pushed: set[int] = set()  # What that worker was told of on it.
        self.running: dict[int, bool] = {}  # Token -> whether it was asked to stop.
        self.started: Counter[int] = Counter()
        self.submitted = 0
        self.cancelled: set[str] = set()

    def act(self) -> None:
        for action in self.session.take_actions():
            match action:
                case Ask():
                    self.asks.append(action)
                case Start(lease):
                    self.started[lease["lease_token"]] += 1
                    self.running[lease["lease_token"]] = False
                case Stop(token):
                    if token in self.running:
                        self.running[token] = True
                case MoveOn() | Joined():
                    pass

    @rule(count=st.integers(1, 3))
    def submit(self, count: int) -> None:
        policy = Policy(max_attempts=1_000, backoff=Backoff(initial_ms=10))
        for _ in range(count):
            self.submitted += 1
            new = NewTask.of(f"t{self.submitted}", "t", b"", "json", policy=policy)
            self.cluster.do(Submit((new,)))

    @precondition(lambda self: not self.is_connected)
    @rule()
    def connect(self) -> None:
        self.is_connected = True
        self.session.connected()
        self.act()

    @initialize()
    def join(self) -> None:
        """Begin where most of the time is spent: connected, registered, with an offer."""
        self.connect()
        for _ in range(2):
            self.deliver(calls=1, answers=1)

    @precondition(lambda self: self.is_connected and self.running)
    @rule(arrive=st.integers(0, 5))
    def disconnect(self, arrive: int) -> None:
        """Break the connection; the first few calls arrive all the same, their answers do not."""
        for ask in itertools.islice(self.asks, arrive):
            self.cluster.answer(ask)
        self.is_connected = False
        self.offered_by = None
        self.asks.clear()
        self.answers.clear()
        self.session.disconnected()
        self.act()

    @precondition(lambda self: self.asks or self.answers)
    @rule(calls=st.integers(0, 4), answers=st.integers(0, 4))
    def deliver(self, calls: int, answers: int) -> None:
        """Let the first few calls arrive, and the first few answers."""
        for _ in range(min(calls, len(self.asks))):
            self.deliver_call()
        for _ in range(min(answers, len(self.answers))):
            self.session.answered(*self.answers.popleft())
        self.act()

    def deliver_call(self) -> None:
        ask = self.asks.popleft()
        status, value = self.cluster.answer(ask)
        self.answers.append((ask, status, value))
        if ask.name == "offer" and status == 200:
            if self.offered_by != ask.body["id"]:
                self.pushed.clear()
            self.offered_by = ask.body["id"]
            self.pushed |= set(ask.body["lease_tokens"])

    @precondition(lambda self: self.offered_by)
    @rule(anew=st.booleans())
    def push(self, anew: bool) -> None:
        """Push what the worker was leased and what it lost since the last time, or all anew."""
        assert self.offered_by is not None
        if anew:
            self.pushed.clear()
        leases = {lease.token: lease for lease in self.cluster.leases(self.offered_by)}
        lost = self.pushed - leases.keys()
        cancel = [lease.task_id for lease in leases.values() if lease.cancel_requested]
        fresh = [lease for token, lease in leases.items() if token not in self.pushed]
        self.pushed = set(leases)
        given = [
            {"id": each.task_id, "lease_token": each.token, "cancel_requested": False}
            for each in fresh
        ]
        self.session.pushed("leased", given)
        self.session.pushed("orders", {"cancel": cancel, "lost": sorted(lost), "drain": False})
        if self.cluster.machine.answer(GetWorker(self.offered_by)) is None:
            self.session.pushed("gone", "worker_unknown")
            self.offered_by = None
        self.act()

    @precondition(lambda self: self.running)
    @rule(place=st.integers(0, 3), is_well=st.booleans())
    def finish(self, place: int, is_well: bool) -> None:
        tokens = list(self.running)
        token = tokens[place % len(tokens)]
        was_stopped = self.running.pop(token)
        well = is_well and not was_stopped
        self.session.finished(token, Completed(1) if well else Failed("broken"))
        self.act()

    @precondition(lambda self: self.running)
    @rule(place=st.integers(0, 3), value=st.integers(0, 255))
    def progress(self, place: int, value: int) -> None:
        tokens = list(self.running)
        self.session.progressed(tokens[place % len(tokens)], value)
        self.act()

    @precondition(lambda self: self.submitted)
    @rule(number=st.integers(1, 1_000))
    def cancel(self, number: int) -> None:
        task_id = f"t{number % self.submitted + 1}"
        if not isinstance(self.cluster.do(Cancel(task_id)), Refused):
            self.cancelled.add(task_id)

    @precondition(lambda self: self.started)
    @rule(token=st.integers(1, 40))
    def take_back(self, token: int) -> None:
        """The cluster takes a lease back, for whatever reason."""
        for lease in self.cluster.leases(self.session.worker_id):
            if lease.token >= token:
                self.cluster.do(Release(lease.task_id, lease.token))
                return

    @rule(ms=st.sampled_from([20, HEARTBEAT_MS, LEASE_MS]), is_heard=st.booleans())
    def pass_time(self, ms: int, is_heard: bool) -> None:
        """Time passes, and a heartbeat goes its own way, or does not."""
        self.cluster.now_ms += ms
        self.cluster.do(Tick())
        worker_id = self.session.worker_id
        if not is_heard or not worker_id or self.session.heartbeat_seconds is None:
            return
        reply = self.cluster.do(Heartbeat(worker_id, self.session.tokens, NODE))
        if isinstance(reply, Refused):
            self.session.ended(worker_id)
        else:
            self.session.ordered(reply._asdict())
        self.act()

    @invariant()
    def no_lease_runs_twice(self) -> None:
        assert max(self.started.values(), default=0) <= 1

    @invariant()
    def no_task_completes_twice(self) -> None:
        assert max(self.cluster.completions.values(), default=0) <= 1
        assert check(self.cluster.machine) == []

    def teardown(self) -> None:
        """Heal, let every run end well: all that was submitted comes to its end."""
        for _ in range(200 + 30 * self.submitted):
            self.settle_once()
            if self.is_done():
                break
        assert self.is_done()
        for task_id in (f"t{number}" for number in range(1, self.submitted + 1)):
            is_done = self.cluster.completions[task_id] == 1 or task_id in self.cancelled
            assert is_done or self.is_given_up(task_id)
        worker = self.cluster.machine.state.space("default").workers[self.session.worker_id]
        assert worker.asked == SLOTS, "no slot was lost on the way"
        self.session.drain()
        self.act()
        while not self.session.has_left:
            self.settle_once()

    def settle_once(self) -> None:
        if not self.is_connected:
            self.connect()
        self.deliver(calls=len(self.asks), answers=len(self.asks) + len(self.answers))
        if self.offered_by:
            self.push(anew=False)
        for _ in list(self.running):
            self.finish(0, is_well=True)
        self.pass_time(20, is_heard=True)

    def is_done(self) -> bool:
        counts = dict(self.cluster.machine.answer(Count()).by_status)
        ends = (TaskStatus.COMPLETED, TaskStatus.CANCELLED, TaskStatus.FAILED)
        done = sum(counts[end] for end in ends)
        is_quiet = self.offered_by is not None and not self.asks and not self.answers
        return done == self.submitted and self.session.is_idle and is_quiet

    def is_given_up(self, task_id: str) -> bool:
        """Whether it failed because one session after the other ended that it was leased to."""
        task = self.cluster.machine.answer(GetTask(task_id))
        return task is not None and f"lost {DELIVERIES_KILLED_MAX} times" in (task.error or "")


TestWorker = Worker.TestCase
TestWorker.settings = settings(max_examples=100, stateful_step_count=80, deadline=None)
