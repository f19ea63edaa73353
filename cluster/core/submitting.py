"""Taking tasks in: all of a command's, or none."""

from __future__ import annotations

from cluster.core import lifecycle, matching
from cluster.core.commands import Refusal, Refused, Submit, Submitted, SubmittedTask
from cluster.core.model import NO_EXTRAS, NewTask, Task, TaskStatus
from cluster.core.state import Space, State


def submit(state: State, command: Submit) -> Submitted | Refused:
    """Take in what is new; what is known stays as it is.

    Refused: ID_CONFLICT when one of the tasks has a known id and another body.
    """
    conflict = _conflict(state, command.tasks)
    if conflict is not None:
        return conflict

    taken: list[tuple[Task, bool]] = []
    for new in command.tasks:
        task = state.task(new.kind.namespace, new.id)
        taken.append((task, True) if task is not None else (_take_in(state, new), False))
    matching.match(state)
    return Submitted(tuple(SubmittedTask(task.id, task.status, known) for task, known in taken))


def _conflict(state: State, tasks: tuple[NewTask, ...]) -> Refused | None:
    """The refusal of a task that has another body than the one known by its id."""
    seen: dict[tuple[str, str], NewTask] = {}
    for new in tasks:
        namespace = new.kind.namespace
        task = state.task(namespace, new.id)
        if task is None:
            earlier = seen.setdefault((namespace, new.id), new)
            is_same = earlier is new or _body(earlier) == _body(new)
        else:
            is_same = _body_of(task) == _body(new, created_at_ms=task.created.wall_ms)
        if not is_same:
            return Refused(
                Refusal.ID_CONFLICT, f"task {new.id} is known with another body: use another id"
            )
    return None


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
        TaskStatus.SCHEDULED if is_early else TaskStatus.PENDING,
        state.now,
        state.newest_number,
        0,
        run_at_ms,
    )
    if kind.policy.ttl_ms is not None:
        task.expires_at_ms = max(now_ms, run_at_ms or 0) + kind.policy.ttl_ms

    space = state.spaces.get(kind.namespace)
    if space is None:
        space = state.spaces[kind.namespace] = Space()
    space.tasks[task.id] = task
    space.listing.add(task)
    space.tally.submitted(task.status)
    lifecycle.set_timer(state, task)
    if not is_early:
        lifecycle.take_place(state, task)
        state.crews.wait(task, state.ready)
    state.happened("submitted", task)
    return task
