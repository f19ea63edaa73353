"""One replica without its gateway, as a process: JSON lines in, JSON lines out, its log on stderr.

It is a node as far as disk, network and consensus go. What a node has no option for, snapshots
after every few kilobytes and a log that is cut short behind them, is set here. Ends with 0 when its
input does, and with 1 where a node would.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from cluster import codec, crashpoints
from cluster.answers import Consistency
from cluster.core.queries import Count, GetTask
from cluster.errors import ChangeRefused, NotCommitted, QuorateError
from cluster.replica import Replica
from cluster.settings import ReplicaSettings
from node.lifeline import hold_on_to_parent
from node.log import configure_logging
from node.loops import run

logger = logging.getLogger(__name__)

LINE_BYTES_MAX = 64 * 1024 * 1024

Object = dict[str, Any]


async def serve(options: Object) -> int:
    replica = await Replica.start(settings_of(options))
    try:
        tell({"event": "started", "incarnation": replica._engine.incarnation})
        answering = asyncio.create_task(answer_all(replica))
        failing = asyncio.create_task(replica.wait_failed())
        await asyncio.wait((answering, failing), return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            answering.result()
        answering.cancel()
        if failing.done():
            logger.error("stops, because it must not go on: %s", failing.result())
            return 1
        failing.cancel()
        return 0
    finally:
        await replica.stop()


def settings_of(options: Object) -> ReplicaSettings:
    if options.pop("is_sync_forgotten", False):
        # A planted bug: the tests of power cuts must find it.
        os.fdatasync = os.fsync = lambda _descriptor: None  # type: ignore[assignment]
    secret = options.pop("secret", None)
    return ReplicaSettings(
        **options | {"data": Path(options["data"])}, secret=secret.encode() if secret else None
    )


async def answer_all(replica: Replica) -> None:
    """Answer every line of the input, each as soon as it can be, until the input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with asyncio.TaskGroup() as group:
        while line := await reader.readline():
            group.create_task(answer(replica, json.loads(line)))


async def answer(replica: Replica, request: Object) -> None:
    number, name = request.pop("number"), request.pop("do")
    try:
        outcome = await ACTIONS[name](replica, **request)
    except NotCommitted as error:
        outcome = {"fate": "refused", "error": repr(error)}
    except QuorateError as error:
        outcome = {"fate": "unknown", "error": repr(error)}
    tell({"fate": "done"} | outcome | {"number": number})


async def propose(replica: Replica, *, command: str, timeout_seconds: float = 2.0) -> Object:
    [unpacked] = codec.unpack_commands([base64.b64decode(command)])
    committed = await replica.propose(unpacked, timeout_seconds=timeout_seconds)
    reply = [type(committed.reply).__name__, *committed.reply]
    return {"reply": reply, "index": committed.index, "term": committed.term}


async def tasks(replica: Replica, *, ids: list[str], timeout_seconds: float = 2.0) -> Object:
    """Each task's status and result, or None where there is none; as of one moment."""
    counted = await replica.read(Count(), timeout_seconds=timeout_seconds)
    views = []
    for task_id in ids:
        # A stale read at once after the linearizable one: no entry is applied in between.
        view = await replica.read(GetTask(task_id), consistency=Consistency.STALE)
        task = view.value
        views.append(None if task is None else [task.status, (task.result or b"").decode()])
    return {
        "tasks": views,
        "total": sum(count for _, count in counted.value.by_status),
        "completed_ever": counted.value.completed_ever,
        "index": counted.index,
    }


async def status(replica: Replica) -> Object:
    engine = replica._engine
    told = dataclasses.asdict(replica.status())
    told.pop("staleness_seconds")
    return told | {
        "members": [member.id for member in engine.configuration.members],
        "stage": engine.configuration.stage.name,
        "is_member": engine.is_member,
        "is_serving": engine.is_serving,
        "durable_index": engine.log.durable_index,
        "first_index": engine.log.first_index if len(engine.log) else 0,
    }


async def snapshot(replica: Replica) -> Object:
    await asyncio.shield(replica._snapshots.take())
    return {}


async def lead(replica: Replica, *, to: str | None) -> Object:
    try:
        await replica.change_leader(to)
    except ChangeRefused as error:
        return {"fate": "refused", "error": str(error)}
    return {}


ACTIONS: dict[str, Callable[..., Awaitable[Object]]] = {
    "propose": propose,
    "tasks": tasks,
    "status": status,
    "snapshot": snapshot,
    "lead": lead,
}


def tell(row: Object) -> None:
    sys.stdout.write(json.dumps(row, default=_size) + "\n")
    sys.stdout.flush()


def _size(content: bytes) -> str:
    return f"{len(content)} bytes"


def main() -> int:
    hold_on_to_parent()
    crashpoints.arm_from_environment(os.environ)
    options = json.loads(sys.argv[1])
    configure_logging(options["node_id"])
    try:
        return run(serve(options))
    except QuorateError as error:
        sys.stderr.write(f"quorate: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
