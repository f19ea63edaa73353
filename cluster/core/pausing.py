"""Pausing queues: their tasks wait, whoever has room for them, until they are resumed."""

from __future__ import annotations

from cluster.core.commands import Refusal, Refused
from cluster.core.queue_commands import PauseQueue, ResumeQueue, Steered
from cluster.core.state import State

PAUSED_MAX = 10_000  # Queues of one namespace: a paused one is kept without tasks, too.


def pause(state: State, command: PauseQueue) -> Steered | Refused:
    """Offer the queue's tasks to nobody any more. What runs goes on.

    Refused: QUEUES_FULL when too many queues are paused.
    """
    space = state.open_space(command.namespace)
    queue = space.queues.by_name.get(command.queue)
    if queue is not None and queue.is_paused:
        return Steered(queue.name, is_paused=True, is_duplicate=True)
    if space.queues.paused >= PAUSED_MAX:
        return Refused(
            Refusal.QUEUES_FULL, f"{PAUSED_MAX} queues are paused, which is the limit: resume some"
        )

    queue = space.queues.open(command.queue)
    space.queues.set_paused(queue, is_paused=True)
    state.ready.set_paused((command.namespace, queue.name), is_paused=True)
    state.happened_to_cluster("queue_paused", queue=queue.name)
    return Steered(queue.name, is_paused=True, is_duplicate=False)


def resume(state: State, command: ResumeQueue) -> Steered | Refused:
    """Offer the queue's tasks to its crews again: whoever has room takes them in this command."""
    queues = state.space(command.namespace).queues
    queue = queues.by_name.get(command.queue)
    if queue is None or not queue.is_paused:
        return Steered(command.queue, is_paused=False, is_duplicate=True)

    key = (command.namespace, queue.name)
    queues.set_paused(queue, is_paused=False)
    state.ready.set_paused(key, is_paused=False)
    state.crews.look_again(state.crews.by_queue.get(key, ()))
    state.happened_to_cluster("queue_resumed", queue=queue.name)
    queues.close_if_idle(queue)
    return Steered(command.queue, is_paused=False, is_duplicate=False)
