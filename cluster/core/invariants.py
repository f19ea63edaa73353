"""What must hold between any two commands, said as a full scan: for tests, simulation and chaos.

Everything that the machine keeps beside tasks and workers follows from them; here is how.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from cluster.core import history_invariants, leasing, lifecycle, queue_invariants, room, sessions
from cluster.core.crews import Crew, Profile, by_seat
from cluster.core.machine import Machine
from cluster.core.matching import least_loaded
from cluster.core.model import (
    DELIVERIES_KILLED_MAX,
    SLOTS_MAX,
    Run,
    Task,
    TaskStatus,
    Worker,
    WorkerStatus,
    due_key,
)
from cluster.core.ready import PLACE_STEP, Market, by_turn, market_key, turn_of
from cluster.core.state import State, by_number, by_timeout


def check(machine: Machine) -> list[str]:
    """Every broken invariant, in a sentence. Empty when all is well."""
    state = machine.state
    return [sentence for rule in _RULES for sentence in rule(state)]


def _room(state: State) -> Iterator[str]:
    """What is kept is counted, and what is shared is kept once."""
    used = room.bytes_used(state)
    if state.bytes_used != used:
        yield f"{state.bytes_used} bytes are counted, {used} there"
    ended = room.bytes_ended(state)
    if state.bytes_ended != ended:
        yield f"{state.bytes_ended} bytes are counted as ended, {ended} there"
    kinds = Counter(task.kind.plain for _, task in _all_tasks(state))
    if kinds != {kind: shared.tasks for kind, shared in state.kinds.shared.items()}:
        yield "the kinds are not the tasks'"
    for _, task in _all_tasks(state):
        kind = task.kind
        if state.kinds.shared.get(kind.plain) is not kind:
            yield f"task {task.id} has a copy of its kind"
        space = state.spaces[kind.namespace]
        home = space.queues.by_name[kind.queue]
        if (kind.space, kind.home, kind.level) != (space, home, home.level(kind.priority)):
            yield f"the kind of task {task.id} leads elsewhere than to its place"
    moments = Counter(task.created for _, task in _all_tasks(state))
    for _, task in _all_tasks(state):
        if moments[task.created] != task.created.tasks:
            yield f"task {task.id}: {task.created.tasks} tasks are counted at its moment"


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
        if sorted(space.workers.values(), key=by_number) != list(space.roster):
            yield f"{name}: the roster is not the workers in order of registration"
        active = sum(worker.status is WorkerStatus.ACTIVE for worker in space.workers.values())
        if tally.workers_active != active:
            yield f"{name}: {tally.workers_active} workers counted as active, {active} there"
        listed = [task.id for task in space.listing]
        if listed != [task.id for task in sorted(space.tasks.values(), key=by_number)]:
            yield f"{name}: the listing is not the tasks in order of submission"


def _tasks(state: State) -> Iterator[str]:
    """Each task's fields fit its status."""
    for key, task in _all_tasks(state):
        if key != task.id:
            yield f"task {task.id} is kept as {key}"
        run = task.run or Run()
        if task.status.is_final != (run.finished_at_ms is not None):
            yield f"task {task.id} is {task.status} and finished at {run.finished_at_ms}"
        if (task.status is TaskStatus.RETRYING) != (run.retry_at_ms is not None):
            yield f"task {task.id} is {task.status} and retries at {run.retry_at_ms}"
        if (run.lease_token or 0) > state.newest_token:
            yield f"task {task.id} has token {run.lease_token} of {state.newest_token} given"
        if run.late_token is not None and task.status is not TaskStatus.PENDING:
            yield f"task {task.id} is {task.status} and has a late token"
        if run.late_token not in (None, run.lease_token):
            yield f"task {task.id}: late token {run.late_token} is not the newest"
        if run.attempts > task.kind.policy.max_attempts or run.killed > DELIVERIES_KILLED_MAX:
            yield f"task {task.id} failed {run.attempts} times and was killed {run.killed} times"
        if run.attempts > run.deliveries:
            yield f"task {task.id}: {run.attempts} attempts of {run.deliveries} deliveries"
        if (run.result is None) != (run.result_content_type is None):
            yield f"task {task.id} has a result without a content type, or the other way round"
        if (run.progress is None) != (run.progress_content_type is None):
            yield f"task {task.id} has progress without a content type, or the other way round"


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
            if not _holds(worker, task, token):
                yield f"worker {worker.id} holds lease {token} on {task_id}, which is not its own"
    for _, task in _all_tasks(state):
        newest = task.run.lease_token if task.run else None
        if task.status is TaskStatus.PROCESSING and given.get(newest or 0) != task.id:
            yield f"task {task.id} runs under lease {newest}, which no worker holds"


def _holds(worker: Worker, task: Task | None, token: int) -> bool:
    if task is None or task.run is None:
        return False
    return leasing.is_current(task, token) and task.run.worker_id == worker.id


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
        place = task.turn - turn_of(0, task.kind.priority)
        if not 0 < place <= state.newest_place or place % PLACE_STEP:
            yield f"task {task.id} has place {place} of {state.newest_place}"
    if len(Counter(task.turn for task in pending)) != len(pending):
        yield "two tasks wait for the same turn"


def _market(market: Market, waiting: Counter[int]) -> Iterator[str]:
    if sorted(market.lanes.values(), key=by_turn) != list(market.heads):
        yield f"market {market.key}: its heads are not its lanes"
    for type_, lane in market.lanes.items():
        tasks = list(lane.tasks)
        turns = [task.turn for task in tasks]
        if turns != sorted(turns):
            yield f"lane {type_} of {market.key} is not in order of turns"
        if not tasks or lane.turn != turns[0]:
            yield f"lane {type_} of {market.key}: its turn is not its first task's"
        for task in tasks:
            waiting[task.number] += 1
            if (type_, market.key) != (task.kind.type, market_key(task)):
                yield f"task {task.id} waits where it does not belong"
            if task.status is not TaskStatus.PENDING:
                yield f"task {task.id} is {task.status} and waits in a lane"


def _crews(state: State) -> Iterator[str]:
    """Every active worker is in the crew that states what it states, seated when it has room."""
    members = Counter[Profile]()
    seated: defaultdict[Profile, list[Worker]] = defaultdict(list)
    for worker in _all_workers(state):
        crew = state.crews.of_worker.get(worker.number)
        if (crew is not None) != (worker.status is WorkerStatus.ACTIVE):
            yield f"worker {worker.id} is {worker.status}, and in a crew or not"
        if crew is None:
            continue
        members[crew.profile] += 1
        load = len(worker.leases) * 1_000 // worker.slots if worker.slots else 0
        seat = (load, worker.newest_token, worker.number) if worker.room else None
        if worker.seat != seat:
            yield f"worker {worker.id} has room for {worker.room} and another seat"
        if seat is not None:
            seated[crew.profile].append(worker)
    for profile, crew in state.crews.by_profile.items():
        if crew.profile != profile or not crew.members or crew.members != members[profile]:
            yield f"crew {profile} counts {crew.members} members, {members[profile]} there"
        if sorted(seated[profile], key=by_seat) != list(crew.available):
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


def _nodes(state: State) -> Iterator[str]:
    """A node stands while active workers are connected to it, and knows all their crews."""
    crews_of: defaultdict[str, dict[Profile, Crew]] = defaultdict(dict)
    for profile, crew in state.crews.by_profile.items():
        crews_of[profile[4]][profile] = crew
        if state.crews.nodes.get(profile[4]) is not crew.node or crew.node.id != profile[4]:
            yield f"crew {profile} is not of its node"
    for id_, node in state.crews.nodes.items():
        if node.crews != crews_of[id_] or not node.crews:
            yield f"node {id_} does not know its crews"


def _matched(state: State) -> Iterator[str]:
    """No task waits that a worker with room serves, unless its queue is paused.

    Or unless a match had too much to do.
    """
    if state.crews.fresh:
        return
    for market in state.ready.markets.values():
        for lane in market.lanes.values():
            worker = least_loaded(lane)
            if worker is not None and not market.is_paused:
                yield f"lane {lane.type} of {market.key} waits, and worker {worker.id} has room"


def _due(state: State) -> Iterator[str]:
    """Every task has the one timer and the one timeout that its status calls for."""
    timers = []
    timeouts = []
    for _, task in _all_tasks(state):
        timer = lifecycle.timer_of(task)
        if timer != task.timer:
            yield f"task {task.id} has timer {task.timer} instead of {timer}"
        if timer is not None:
            timers.append(timer)
        limit_ms = task.kind.policy.timeout_ms
        if task.status is TaskStatus.PROCESSING and limit_ms is not None and task.run is not None:
            timeouts.append(due_key((task.run.leased_at_ms or 0) + limit_ms, task.number))
    if sorted(timers) != [task.timer for task in state.timers]:
        yield "the timers are not the tasks'"
    if sorted(timeouts) != [by_timeout(task) for task in state.timeouts]:
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


_RULES = (
    *(_spaces, _room, _tasks, _workers, _leases, _lanes, _crews, _nodes, _matched, _due, _sessions),
    *(queue_invariants.check, history_invariants.check),
)
