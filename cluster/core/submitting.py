"""Taking tasks in: all of a command's, or none."""

from __future__ import annotations

from cluster.core import lifecycle, matching, room, sizes
from cluster.core.commands import Refusal, Refused, Submit, Submitted, SubmittedTask
from cluster.core.idempotency import KEYS_MAX, REMEMBERED_MS, Remembered, slot_of
from cluster.core.model import NO_EXTRAS, PENDING, SCHEDULED, NewTask, Task
from cluster.core.state import State


def submit(state: State, command: Submit) -> Submitted | Refused:
    """Take in what is new; what is known stays as it is.

    Refused: ID_CONFLICT and IDEMPOTENCY_CONFLICT when one of the tasks has a known id or key and
    another body; IDEMPOTENCY_FULL when as many keys are remembered as may be; CLUSTER_FULL when
    what is new has no room.
    """
    refused = _refusal(state, command.tasks)
    if refused is not None:
        return refused

    taken = [_known_or_new(state, new) for new in command.tasks]
    matching.match(state)
    return Submitted(
        tuple(
            [
                SubmittedTask(task_id, None if task is None else task.status, is_known)
                for task_id, task, is_known in taken
            ]
        )
    )


def _known_or_new(state: State, new: NewTask) -> tuple[str, Task | None, bool]:
    """The task's id, the task unless it is gone, and whether it was known."""
    namespace = new.kind.namespace
    if new.idempotency is None:
        task = state.task(namespace, new.id)
        return new.id, task or _take_in(state, new), task is not None

    slot = slot_of(namespace, new.idempotency.key)
    remembered = state.keys.find(slot)
    if remembered is not None:
        return remembered.task_id, state.task(namespace, remembered.task_id), True
    until_ms = state.now.wall_ms + REMEMBERED_MS
    state.keys.add(Remembered(slot, new.idempotency.body, new.id, until_ms))
    state.bytes_used += sizes.KEY_BYTES
    return _known_or_new(state, new._replace(idempotency=None))


def _refusal(state: State, tasks: tuple[NewTask, ...]) -> Refused | None:
    """Why the tasks cannot be taken in, if so. What is known by its key is not asked for its id."""
    by_id: dict[tuple[str, str], NewTask] = {}  # Those before it in the same command.
    by_slot: dict[str, bytes] = {}
    for new in tasks:
        if new.idempotency is not None:
            slot = slot_of(new.kind.namespace, new.idempotency.key)
            remembered = state.keys.find(slot)
            body = by_slot.get(slot) if remembered is None else remembered.body
            if body == new.idempotency.body:
                continue
            if body is not None:
                return _key_conflict(new.idempotency.key)
            by_slot[slot] = new.idempotency.body
        if not _is_same(state, new, by_id):
            return Refused(
                Refusal.ID_CONFLICT, f"task {new.id} is known with another body: use another id"
            )
    if by_slot and len(state.keys) + len(by_slot) > KEYS_MAX:
        return _keys_full()
    return room.refusal(state, by_id.values(), keys=len(by_slot))


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


def _is_same(state: State, new: NewTask, earlier: dict[tuple[str, str], NewTask]) -> bool:
    """Whether *new* is what is known by its id, here or earlier in the command, if anything is."""
    namespace = new.kind.namespace
    task = state.task(namespace, new.id)
    if task is not None:
        return _body_of(task) == _body(new, created_at_ms=task.created.wall_ms)
    first = earlier.setdefault((namespace, new.id), new)
    return first is new or _body(first) == _body(new)


def _body(new: NewTask, *, created_at_ms: int = 0) -> tuple[object, ...]:
    """What makes two submissions the same. Who submitted and traced them is not part of it."""
    meta = (new.extras or NO_EXTRAS).meta
    return new.payload, new.kind, _run_at_ms(new, created_at_ms), meta


def _body_of(task: Task) -> tuple[object, ...]:
    return task.payload, task.kind, task.run_at_ms, (task.extras or NO_EXTRAS).meta


def _run_at_ms(new: NewTask, now_ms: int) -> int | None:
    if new.run_at_ms is not None:
        return new.run_at_ms
    return now_ms + new.delay_ms if new.delay_ms > 0 else None


def _take_in(state: State, new: NewTask) -> Task:
    now_ms = state.now.wall_ms
    kind = new.kind
    run_at_ms = _run_at_ms(new, now_ms)
    is_early = run_at_ms is not None and run_at_ms > now_ms
    state.newest_number += 1
    task = Task(
        new.id,
        new.payload,
        kind,
        new.extras,
        SCHEDULED if is_early else PENDING,
        state.now,
        state.newest_number,
        0,
        run_at_ms,
    )
    if kind.policy.ttl_ms is not None:
        task.expires_at_ms = max(now_ms, run_at_ms or 0) + kind.policy.ttl_ms

    space = state.open_space(kind.namespace)
    queue = space.queues.open(kind.queue)
    space.tasks[task.id] = task
    space.listing.add(task)
    space.tally.submitted(task.status)
    queue.submitted(task.status)
    room.count_in(state, task)
    if not is_early:
        task.turn = lifecycle.next_turn(state, kind.priority)
    lifecycle.set_timer(state, task)
    lifecycle.enter(state, space, queue, task)
    state.happened("submitted", task)
    return task
