"""Planted bugs of replica and machine: proposals, reads, sessions, leases."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import ExitStack
from typing import Any

from chaos.simulation.host import EPOCH_MS
from chaos.simulation.planted import constant, planted, replace, replace_command
from cluster.applied import AppliedWaiters
from cluster.core import commands, leasing
from cluster.core.machine import Machine
from cluster.core.state import State
from cluster.leading import Handed, Leading
from cluster.proposals import Proposals
from cluster.raft.engine import Engine
from cluster.replica import Replica


@planted(
    "read-without-a-round",
    "a read waits until a majority says that its leader still leads",
    theme="usurped",
)
def _read_without_a_round(stack: ExitStack) -> None:
    replace(stack, Engine, "has_confirmed", constant(True))


@planted(
    "read-from-the-round-before",
    "a read waits for a round that began after it arrived",
    theme="usurped",
)
def _read_from_the_round_before(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def has_confirmed(self: Engine, round_number: int) -> bool:
            return bool(original(self, round_number - 1))

        return has_confirmed

    replace(stack, Engine, "has_confirmed", make)


@planted("serve-before-the-no-op", "a leader serves once an entry of its own term is applied (§8)")
def _serve_before_the_no_op(stack: ExitStack) -> None:
    replace(stack, Engine, "is_serving", lambda _original: property(lambda self: self.is_leader))


@planted("read-unapplied", "a read waits until its node has applied the index it was given")
def _read_unapplied(stack: ExitStack) -> None:
    async def at_once(self: AppliedWaiters, index: int, deadline: float) -> None:
        """Wait for nothing."""

    replace(stack, AppliedWaiters, "wait", lambda _original: at_once)


@planted(
    "parcels-of-another-term",
    "a leader takes a parcel only in the term it was sent for",
    theme="late-words",
)
def _parcels_of_another_term(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def take(self: Leading, handed: Handed) -> None:
            original(self, handed._replace(term=self._engine.term))

        return take

    replace(stack, Leading, "take", make)


@planted("parcels-not-remembered", "a leader takes a parcel at most once")
def _parcels_not_remembered(stack: ExitStack) -> None:
    replace(stack, Leading, "_was_taken", constant(False))


@planted(
    "refuse-what-was-forgotten",
    "a parcel is refused only by who knows it was not taken",
    theme="begun-anew",
)
def _refuse_what_was_forgotten(stack: ExitStack) -> None:
    replace(stack, Leading, "_is_certainly_not_taken", constant(True))


@planted("parcels-sent-anew-too-soon", "a parcel is sent anew once a later term is applied")
def _parcels_sent_anew_too_soon(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def leader_changed(self: Replica) -> None:
            self._proposals.term_applied(self._engine.term)
            original(self)

        return leader_changed

    replace(stack, Replica, "_leader_changed", make)


@planted("expired-is-certain", "what was handed over and not answered in time is unknown")
def _expired_is_certain(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def expire(self: Proposals, now: float) -> None:
            for number in [
                number
                for number, parcel in self._sent.items()
                if any(proposal.deadline <= now for proposal in parcel.proposals)
            ]:
                self.refused(number)
            original(self, now)

        return expire

    replace(stack, Proposals, "expire", make)


@planted("clock-read-in-apply", "apply reads no clock: both times come from the entry")
def _clock_read_in_apply(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def apply_entry(self: Machine, commands: Any, **named: Any) -> Any:
            loop = asyncio._get_running_loop()
            if loop is not None:
                named["wall_time_ms"] = EPOCH_MS + int(loop.time() * 1_000)
            return original(self, commands, **named)

        return apply_entry

    replace(stack, Machine, "apply_entry", make)


@planted("lease-token-reused", "lease tokens only grow")
def _lease_token_reused(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def grant(state: State, task: Any, worker: Any) -> None:
            if state.newest_token % 4 == 3:
                state.newest_token -= 1
            original(state, task, worker)

        return grant

    replace(stack, leasing, "grant", make)


@planted("late-completion-accepted", "a superseded token settles nothing", theme="late-workers")
def _late_completion_accepted(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def complete(state: State, command: commands.Complete) -> Any:
            task = state.task(command.namespace, command.task_id)
            run = None if task is None else task.run
            if run is not None and run.worker_id is not None and run.lease_token is not None:
                command = dataclasses.replace(command, lease_token=run.lease_token)
            return original(state, command)

        return complete

    replace_command(stack, commands.Complete, make)


@planted("submit-ids-forgotten", "a known task id is the same task")
def _submit_ids_forgotten(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def submit(state: State, command: commands.Submit) -> Any:
            known = state.spaces.get("default")
            for new in command.tasks if known is not None else ():
                if known.tasks.get(new.id) is not None:  # type: ignore[union-attr]
                    del known.tasks[new.id]  # type: ignore[union-attr]
            return original(state, command)

        return submit

    replace_command(stack, commands.Submit, make)


@planted("no-grace", "a new term gives every session one whole lease")
def _no_grace(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def begin_term(state: State, command: commands.BeginTerm) -> Any:
            until = state.grace_until_ms
            reply = original(state, command)
            state.grace_until_ms = until
            return reply

        return begin_term

    replace_command(stack, commands.BeginTerm, make)


@planted("cluster-time-jumps", "a new leader goes on with cluster time where the log left it")
def _cluster_time_jumps(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def begin(self: Leading) -> None:
            original(self)
            self._clock_base_ms += 3_600_000

        return begin

    replace(stack, Leading, "begin", make)
