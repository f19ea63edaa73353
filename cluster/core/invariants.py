"""What must hold between any two commands, said as a full scan: for tests, simulation and chaos.

Everything that the machine keeps beside tasks and workers follows from them; here is how.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from cluster.core import leasing, lifecycle, sessions
from cluster.core.crews import Profile
from cluster.core.machine import Machine
from cluster.core.matching import least_loaded
from cluster.core.model import (
    DELIVERIES_KILLED_MAX,
    SLOTS_MAX,
    Task,
    TaskStatus,
    Worker,
    WorkerStatus,
)
from cluster.core.ready import Market
from cluster.core.state import State


def check(machine: Machine) -> list[str]:
    """Every broken invariant, in a sentence. Empty when all is well."""
    state = machine.state
    return [
        sentence
        for rule in (_spaces, _tasks, _workers, _leases, _lanes, _crews, _matched, _due, _sessions)
        for sentence in rule(state)
    ]


def _spaces(state: State) -> Iterator[str]:
    """Tallies and listings agree with the tables."""
    for name, space in state.spaces.items():
        tally = space.tally
        counted = Counter(task.status for task in space.tasks.values())
        for status, number in tally.by_status.items():
            if counted[status] != number:
                yield f"{name}: {number} tasks counted as {status}, {counted[status]} there"
        there = tally.submitted_ever - tally.removed_ever
        if there != len(space.tasks):
            yield f"{name}: {there} tasks submitted and not removed, {len(space.tasks)} there"
        active = sum(worker.status is WorkerStatus.ACTIVE for worker in space.workers.values())
        if tally.workers_active != active:
            yield f"{name}: {tally.workers_active} workers counted as active, {active} there"
        listed = [task.id for _, task in space.listing]
        if listed != [task.id for task in sorted(space.tasks.values(), key=_number)]:
            yield f"{name}: the listing is not the tasks in order of submission"


def _tasks(state: State) -> Iterator[str]:
    """Each task's fields fit its status."""
    for key, task in _all_tasks(state):
        if key != task.id:
            yield f"task {task.id} is kept as {key}"
        if task.status.is_final != (task.finished_at_ms is not None):
            yield f"task {task.id} is {task.status} and finished at {task.finished_at_ms}"
        if (task.status is TaskStatus.RETRYING) != (task.retry_at_ms is not None):
            yield f"task {task.id} is {task.status} and retries at {task.retry_at_ms}"
        if (task.lease_token or 0) > state.newest_token:
            yield f"task {task.id} has token {task.lease_token} of {state.newest_token} given"
        if task.late_token is not None and task.status is not TaskStatus.PENDING:
            yield f"task {task.id} is {task.status} and has a late token"
        if task.late_token not in (None, task.lease_token):
            yield f"task {task.id}: late token {task.late_token} is not the newest"
        if task.attempts > task.policy.max_attempts or task.killed > DELIVERIES_KILLED_MAX:
            yield f"task {task.id} failed {task.attempts} times and was killed {task.killed} times"
        if task.attempts > task.deliveries:
            yield f"task {task.id}: {task.attempts} attempts of {task.deliveries} deliveries"


def _workers(state: State) -> Iterator[str]:
    """Each worker's room is what its newest offer allows."""
    for worker in _all_workers(state):
        free = worker.slots - len(worker.leases)
        if free < 0 or worker.slots > SLOTS_MAX:
            yield f"worker {worker.id} holds {len(worker.leases)} tasks in {worker.slots} slots"
        if worker.status is not WorkerStatus.ACTIVE and worker.room:
            yield f"worker {worker.id} is {worker.status} and has room for {worker.room}"
        if not 0 <= worker.room <= max(free, 0):
            yield f"worker {worker.id} has room for {worker.room} with {free} slots free"
        if worker.status is WorkerStatus.ACTIVE and worker.is_standing:
            room = leasing.room_of(worker)
            if worker.room != room:
                yield f"worker {worker.id} has room for {worker.room}, its offer allows {room}"


def _leases(state: State) -> Iterator[str]:
    """Running tasks and leases are the same thing seen from two sides."""
    given: dict[int, str] = {}
    for worker in _all_workers(state):
        tasks = state.spaces[worker.namespace].tasks
        for token, task_id in worker.leases.items():
            if token in given:
                yield f"lease {token} was given for {given[token]} and for {task_id}"
            given[token] = task_id
            task = tasks.get(task_id)
            if task is None or not leasing.is_current(task, token) or task.worker_id != worker.id:
                yield f"worker {worker.id} holds lease {token} on {task_id}, which is not its own"
    for _, task in _all_tasks(state):
        if task.status is TaskStatus.PROCESSING and given.get(task.lease_token or 0) != task.id:
            yield f"task {task.id} runs under lease {task.lease_token}, which no worker holds"


def _lanes(state: State) -> Iterator[str]:
    """Every pending task waits in exactly one lane, every head is in its market."""
    pending = [task for _, task in _all_tasks(state) if task.status is TaskStatus.PENDING]
    waiting = Counter[int]()
    for key, market in state.ready.markets.items():
        if key != market.key or market not in state.ready.by_queue.get(key[:2], ()):
            yield f"market {key} cannot be found"
        if not market.lanes and not market.crews:
            yield f"market {key} stands for nothing"
        yield from _market(market, waiting)
    if sum(len(markets) for markets in state.ready.by_queue.values()) != len(state.ready.markets):
        yield "a market that was closed is still found by its queue"
    for task in pending:
        if waiting[task.number] != 1:
            yield f"task {task.id} waits in {waiting[task.number]} lanes"
        if not 0 < task.place <= state.newest_place:
            yield f"task {task.id} has place {task.place} of {state.newest_place}"
    if len(Counter(task.place for task in pending)) != len(pending):
        yield "two tasks wait at the same place"


def _market(market: Market, waiting: Counter[int]) -> Iterator[str]:
    heads = sorted(lane.head for lane in market.lanes.values() if lane.head is not None)
    if heads != list(market.heads):
        yield f"market {market.key}: its heads are not its lanes'"
    for type_, lane in market.lanes.items():
        entries = list(lane.tasks)
        if not entries or lane.head is None or lane.head[:2] != entries[0][:2]:
            yield f"lane {type_} of {market.key}: its head is not its first task"
        for rank, place, task in entries:
            waiting[task.number] += 1
            key = (task.namespace, task.queue, task.requires)
            if (rank, place, type_, market.key) != (-task.priority, task.place, task.type, key):
                yield f"task {task.id} waits where it does not belong"
            if task.status is not TaskStatus.PENDING:
                yield f"task {task.id} is {task.status} and waits in a lane"


def _crews(state: State) -> Iterator[str]:
    """Every active worker is in the crew that states what it states, seated when it has room."""
    members = Counter[Profile]()
    for worker in _all_workers(state):
        crew = state.crews.of_worker.get(worker.number)
        if (crew is not None) != (worker.status is WorkerStatus.ACTIVE):
            yield f"worker {worker.id} is {worker.status}, and in a crew or not"
        if crew is None:
            continue
        members[crew.profile] += 1
        load = len(worker.leases) * 1_000 // worker.slots if worker.slots else 0
        seat = (load, worker.newest_token, worker.number, worker) if worker.room else None
        if crew.seats.get(worker.number) != seat:
            yield f"worker {worker.id} has room for {worker.room} and another seat"
    for profile, crew in state.crews.by_profile.items():
        if crew.profile != profile or not crew.members or crew.members != members[profile]:
            yield f"crew {profile} counts {crew.members} members, {members[profile]} there"
        if sorted(crew.seats.values()) != list(crew.available):
            yield f"crew {profile}: its members with room are not in order"
        attended = [
            market.key
            for market in state.ready.markets.values()
            if market.key[0] == profile[0]
            and market.key[1] in profile[1]
            and all(tag in profile[3] for tag in market.key[2])
        ]
        if sorted(attended) != sorted(market.key for market in crew.markets):
            yield f"crew {profile} attends other markets than it serves"
        if any(crew not in market.crews for market in crew.markets):
            yield f"crew {profile} is not known where it attends"


def _matched(state: State) -> Iterator[str]:
    """No task waits that a worker with room serves, unless a match had too much to do."""
    if state.crews.fresh:
        return
    for market in state.ready.markets.values():
        for lane in market.lanes.values():
            worker = least_loaded(lane)
            if worker is not None:
                yield f"lane {lane.type} of {market.key} waits, and worker {worker.id} has room"


def _due(state: State) -> Iterator[str]:
    """Every task has the one timer and the one timeout that its status calls for."""
    timers = []
    timeouts = []
    for _, task in _all_tasks(state):
        due_ms = lifecycle.due_of(task)
        if due_ms != task.due_ms:
            yield f"task {task.id} is due at {task.due_ms} instead of {due_ms}"
        if due_ms is not None:
            timers.append((due_ms, task.number))
        if task.status is TaskStatus.PROCESSING and task.policy.timeout_ms is not None:
            timeouts.append(((task.leased_at_ms or 0) + task.policy.timeout_ms, task.number))
    if sorted(timers) != [entry[:2] for entry in state.timers]:
        yield "the timers are not the tasks'"
    if sorted(timeouts) != [entry[:2] for entry in state.timeouts]:
        yield "the timeouts are not the running tasks'"


def _sessions(state: State) -> Iterator[str]:
    """Every worker has one deadline, and they stand in order."""
    there = sorted(worker.number for worker in _all_workers(state))
    if sorted([*state.sessions, *state.lost]) != there:
        yield "the sessions are not the workers"
    deadlines = [sessions.deadline_ms(state, worker) for worker in state.sessions.values()]
    if deadlines != sorted(deadlines):
        yield "the sessions are not in order of their deadlines"
    for worker in state.lost.values():
        if worker.status is not WorkerStatus.LOST or worker.leases:
            yield f"worker {worker.id} is {worker.status} and remembered as lost"
    if len(state.lost) > sessions.LOST_REMEMBERED_MAX:
        yield f"{len(state.lost)} lost workers are remembered"


def _all_tasks(state: State) -> Iterator[tuple[str, Task]]:
    for space in state.spaces.values():
        yield from space.tasks.items()


def _all_workers(state: State) -> Iterator[Worker]:
    for space in state.spaces.values():
        yield from space.workers.values()


def _number(task: Task) -> int:
    return task.number
