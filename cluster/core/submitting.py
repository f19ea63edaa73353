"""Taking tasks in: all of a command's, or none."""

from __future__ import annotations

from cluster.core import lifecycle, matching, room
from cluster.core.commands import Refusal, Refused, Submit, Submitted, SubmittedTask
from cluster.core.idempotency import KEYS_MAX, REMEMBERED_MS, Remembered, slot_of
from cluster.core.model import NO_EXTRAS, PENDING, SCHEDULED, Idempotency, NewTask, SharedKind, Task
from cluster.core.state import State

_new = tuple.__new__  # A third of the time that calling a NamedTuple takes.


def submit(state: State, command: Submit) -> Submitted | Refused:
    """Take in what is new; what is known stays as it is.

    Refused: ID_CONFLICT and IDEMPOTENCY_CONFLICT when one of the tasks has a known id or key and
    another body; IDEMPOTENCY_FULL when as many keys are remembered as may be; CLUSTER_FULL when
    what is new has no room.
    """
    judged = _judged(state, command.tasks)
    if isinstance(judged, Refused):
        return judged

    if False not in judged and (len(judged) == 1 or _are_of_one_kind(command.tasks)):
        tasks = _take_in(state, command.tasks)
        matching.match(state)
        told = [_new(SubmittedTask, (task.id, task.status, False)) for task in tasks]
    else:
        taken = [
            (new.id, _take_in(state, (new,))[0], False) if is_new else _known(state, new)
            for new, is_new in zip(command.tasks, judged, strict=True)
        ]
        matching.match(state)
        told = [
            SubmittedTask(task_id, None if task is None else task.status, is_known)
            for task_id, task, is_known in taken
        ]
    return _new(Submitted, (tuple(told),))


def _judged(state: State, tasks: tuple[NewTask, ...]) -> list[bool] | Refused:
    """Which of the tasks are new, and their bytes claimed; or why none can be taken in.

    What is known by its key is not asked for its id.
    """
    judged = []
    by_id: dict[tuple[str, str], NewTask] = {}  # What is new so far.
    by_slot: dict[str, bytes] = {}
    kind = None
    for new in tasks:
        if new.kind is not kind:
            kind = new.kind
            namespace = kind.namespace
            there = state.space(namespace).tasks
        if new.idempotency is not None:
            slot = slot_of(namespace, new.idempotency.key)
            remembered = state.keys.find(slot)
            body = by_slot.get(slot) if remembered is None else remembered.body
            if body == new.idempotency.body:
                judged.append(False)
                continue
            if body is not None:
                return _key_conflict(new.idempotency.key)
            by_slot[slot] = new.idempotency.body
        task_id = new.id
        key = (namespace, task_id)
        known = there.get(task_id) or by_id.get(key)
        if known is None:
            by_id[key] = new
        elif not _is_same(new, known):
            return Refused(
                Refusal.ID_CONFLICT, f"task {task_id} is known with another body: use another id"
            )
        judged.append(known is None)
    if by_slot and len(state.keys) + len(by_slot) > KEYS_MAX:
        return _keys_full()
    return room.claim(state, by_id.values(), keys=len(by_slot)) or judged


def _known(state: State, new: NewTask) -> tuple[str, Task | None, bool]:
    """The id of what is known as *new*, the task unless it is gone, and that it was known."""
    task_id = new.id
    if new.idempotency is not None:
        remembered = state.keys.find(slot_of(new.kind.namespace, new.idempotency.key))
        if remembered is None:
            _remember(state, new, new.idempotency)
        else:
            task_id = remembered.task_id
    return task_id, state.task(new.kind.namespace, task_id), True


def _remember(state: State, new: NewTask, idempotency: Idempotency) -> None:
    slot = slot_of(new.kind.namespace, idempotency.key)
    until_ms = state.now.wall_ms + REMEMBERED_MS
    state.keys.add(Remembered(slot, idempotency.body, new.id, until_ms))


def _key_conflict(key: str) -> Refused:
    return Refused(
        Refusal.IDEMPOTENCY_CONFLICT,
        f"the idempotency key {key!r} stands for another body: use another key",
    )


def _keys_full() -> Refused:
    return Refused(
        Refusal.IDEMPOTENCY_FULL,
        f"{KEYS_MAX} idempotency keys are remembered, which is the limit: "
        "try again later, or without one",
    )


def _is_same(new: NewTask, known: Task | NewTask) -> bool:
    """Whether *new* is what is known by its id, here or earlier in the command."""
    if isinstance(known, Task):
        return _body_of(known) == _body(new, created_at_ms=known.created.wall_ms)
    return _body(known) == _body(new)


def _body(new: NewTask, *, created_at_ms: int = 0) -> tuple[object, ...]:
    """What makes two submissions the same. Who submitted and traced them is not part of it."""
    meta = (new.extras or NO_EXTRAS).meta
    return new.payload, new.kind, _run_at_ms(new, created_at_ms), meta


def _body_of(task: Task) -> tuple[object, ...]:
    return task.payload, task.kind.plain, task.run_at_ms, (task.extras or NO_EXTRAS).meta


def _run_at_ms(new: NewTask, now_ms: int) -> int | None:
    if new.run_at_ms is not None:
        return new.run_at_ms
    return now_ms + new.delay_ms if new.delay_ms > 0 else None


def _are_of_one_kind(tasks: tuple[NewTask, ...]) -> bool:
    return all(new.kind is tasks[0].kind for new in tasks)


def _take_in(state: State, news: tuple[NewTask, ...]) -> list[Task]:
    """Take in new tasks of one kind: what follows from the kind, once for all of them."""
    kind = room.share(state, news[0].kind, len(news))
    tasks = []
    waiting = []
    for new in news:
        task = _new_task(state, new, kind)
        tasks.append(task)
        if task.status is PENDING:
            waiting.append(task)
    kind.space.listing.extend(tasks)
    kind.submitted(len(waiting), len(tasks) - len(waiting))
    if waiting:
        state.crews.wait(kind, waiting, state.ready)
    state.submitted(kind, tasks)
    return tasks


def _new_task(state: State, new: NewTask, kind: SharedKind) -> Task:
    """The task, with its number, its turn and its timer, in the table of all tasks."""
    now = state.now
    task_id, payload, _, delay_ms, run_at_ms, extras, idempotency = new
    if idempotency is not None:
        _remember(state, new, idempotency)
    if delay_ms > 0:
        run_at_ms = _run_at_ms(new, now.wall_ms)
    is_early = run_at_ms is not None and run_at_ms > now.wall_ms
    state.newest_number = number = state.newest_number + 1
    task = Task(
        task_id,
        payload,
        kind,
        extras,
        SCHEDULED if is_early else PENDING,
        now,
        number,
        0 if is_early else lifecycle.next_turn(state, kind.priority),
        run_at_ms,
    )
    ttl_ms = kind.policy.ttl_ms
    if ttl_ms is not None:
        task.expires_at_ms = max(now.wall_ms, run_at_ms or 0) + ttl_ms
    if is_early or ttl_ms is not None:
        lifecycle.set_timer(state, task)
    kind.space.tasks[task_id] = task
    return task
