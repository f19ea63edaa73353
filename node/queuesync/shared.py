"""The queue of several coordinators: one Raft log, so that the next leader goes on with it.

A request is a task of the replicated machine, under the id that its client gave it: a repeat,
through whichever peer, is the same task and has the same answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cluster.core.commands import Complete, Refusal, Refused, Submit
from cluster.core.model import Lease, NewTask, Policy
from cluster.core.queries import GetTask, TaskView
from cluster.errors import NotCommitted, OutcomeUnknown
from cluster.replica import Replica
from gateway.watching import Bell, Watching
from node.config import Address as Place
from node.config import parse_address
from node.queuesync.leading import QUEUE, Leading
from node.queuesync.requests import AnotherRequest, Answer, AskLater, Request

RETENTION_MS = 3_600_000  # For so long a repeat of an answered request finds its answer.
QUORUM_SECONDS = 2.0  # A peer that hears no leader for so long sends its clients elsewhere.
_LOOK_SECONDS = 0.5

_POLICY = Policy(max_attempts=1, retention_ms=RETENTION_MS)
_DATA = "application/octet-stream"
_RESPONSE = "application/octet-stream"
_FAILURE = "text/plain"


class SharedQueue:
    """One peer's part of it. Everything runs on the replica's loop."""

    def __init__(self, replica: Replica, hand_out: Callable[[Request], None]) -> None:
        self._replica = replica
        self._hand_out = hand_out
        self._watching = Watching()
        self._leading = Leading(replica, self._watching, self._lease)
        self._asked: dict[str, Request] = {}  # By clients that are connected here.
        self._is_closed = False

    async def run(self) -> None:
        """Hear what happens, and lead when it is this peer's turn, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watching.run(self._replica))
            group.create_task(self._leading.run())

    async def ask(self, request: Request) -> Answer:
        """Have the request in the log, and wait for its answer.

        Raises:
            AskLater: this peer cannot say; another may, or this one later.
            AnotherRequest: the id is known with other data.
        """
        self._asked[request.id] = request
        try:
            with self._watching.task_ending(request.id) as bell:
                await self._submit(request)
                return await self._answer(request.id, bell)
        finally:
            if self._asked.get(request.id) is request:  # Not a repeat over a newer connection.
                del self._asked[request.id]

    async def settle(self, request: Request, answer: Answer) -> bool:
        """Put the answer into the log, however long that takes; False if it came too late.

        Then the request has gone to another peer, which this one was too slow or too far for.
        """
        command = Complete(
            request.id,
            request.lease_token,
            answer.content,
            _FAILURE if answer.is_failure else _RESPONSE,
        )
        while True:
            try:
                reply = (await self._replica.propose(command)).reply
            except (NotCommitted, OutcomeUnknown):
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return not isinstance(reply, Refused)

    def close(self) -> None:
        """Have every `ask` raise AskLater, now and from now on."""
        self._is_closed = True
        self._watching.close()

    async def _submit(self, request: Request) -> None:
        task = NewTask.of(
            request.id,
            QUEUE,
            request.received_data,
            _DATA,
            queue=QUEUE,
            policy=_POLICY,
            submitted_by=str(Place(*request.client_address)),
        )
        try:
            reply = (await self._replica.propose(Submit((task,)))).reply
        except (NotCommitted, OutcomeUnknown) as error:
            raise AskLater(str(error)) from None
        if isinstance(reply, Refused):
            is_known = reply.refusal is Refusal.ID_CONFLICT
            raise (AnotherRequest if is_known else AskLater)(reply.detail)

    async def _answer(self, task_id: str, bell: Bell) -> Answer:
        clock = asyncio.get_running_loop()
        heard_at = clock.time()
        while not self._is_closed:
            task = self._replica.machine.answer(GetTask(task_id))
            if task is None:
                raise AskLater(f"request {task_id} was forgotten before it was answered")
            if task.status.is_final:
                return _answer_of(task)
            await bell.wait(clock.time() + _LOOK_SECONDS)
            if self._replica.status().has_quorum:
                heard_at = clock.time()
            elif clock.time() - heard_at > QUORUM_SECONDS:
                raise AskLater(f"no leader was heard for {QUORUM_SECONDS:g} s")
        raise AskLater("the coordinator is stopping")

    def _lease(self, lease: Lease, task: TaskView) -> None:
        request_id = lease.task_id
        here = self._asked.get(request_id)
        assert task.submitted_by is not None, "a request has a client"
        place = parse_address(task.submitted_by)
        self._hand_out(
            Request(
                client_socket=here.client_socket if here else None,
                client_address=(place.host, place.port),
                received_data=lease.payload,
                id=request_id,
                lease_token=lease.token,
            )
        )


def _answer_of(task: TaskView) -> Answer:
    if task.result is not None:
        return Answer(task.result, is_failure=task.result_content_type == _FAILURE)
    return Answer((task.error or "it was given up").encode(), is_failure=True)
