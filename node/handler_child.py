"""The process in which a handler made with `process=True` runs: one run after the other.

It is told over a socket which handler to run on what, and answers what came of it. It ends when the
socket does. The worker kills it to stop a run, so it keeps nothing that may not be lost.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
import sys
import threading
from typing import Any

import msgpack

from node.context import Context, GiveUp
from node.lifeline import hold_on_to_parent
from node.log import configure_logging
from node.outcomes import Completed, HandlerExitedError, Outcome, failure, unspeakable
from node.tasks import Handler

MESSAGE_BYTES_MAX = 64 << 20  # Far beyond what a task may hold.
_CHUNK_BYTES = 256 * 1024

log = logging.getLogger(__name__)


def main(descriptor: int, process_name: str, level: str) -> None:
    """Serve runs until the worker closes its end of the socket."""
    hold_on_to_parent()
    configure_logging(f"{process_name}/{os.getpid()}", level=level)
    with socket.socket(fileno=descriptor) as link:
        link.set_inheritable(False)  # What a handler starts must not keep it open.
        unpacker = msgpack.Unpacker(max_buffer_size=MESSAGE_BYTES_MAX, strict_map_key=False)
        turn = threading.Lock()
        while chunk := link.recv(_CHUNK_BYTES):
            unpacker.feed(chunk)
            for module, name, known, arguments in unpacker:
                telling = _Telling(link, turn, known["lease_token"])
                telling.end(_run(module, name, telling.context(known), arguments))


class _Telling:
    """What is said of one run, under its lease: a thread that outlives it speaks for no other run.

    A handler may have several threads, so that words take turns.
    """

    def __init__(self, link: socket.socket, turn: threading.Lock, token: int) -> None:
        self._link = link
        self._turn = turn
        self._token = token

    def context(self, known: dict[str, Any]) -> Context:
        """The run's context, which says here what the handler says to it."""
        return Context(
            **known,
            on_progress=lambda value: self._say("progress", value),
            on_checkpoint=lambda value: self._say("checkpoint", value),
        )

    def end(self, outcome: Outcome) -> None:
        """Say what came of the run."""
        if isinstance(outcome, Completed):
            try:
                self._say("completed", outcome.result)
            except (TypeError, ValueError, OverflowError) as error:
                outcome = unspeakable(error)
            else:
                return
        self._say("failed", outcome.error, outcome.retry)

    def _say(self, *message: Any) -> None:
        packed = msgpack.packb((self._token, *message))
        with self._turn:
            self._link.sendall(packed)


def _run(module: str, name: str, context: Context, arguments: dict[str, Any]) -> Outcome:
    try:
        return Completed(_find(module, name).function(context, **arguments))
    except SystemExit as error:
        return failure(HandlerExitedError(f"sys.exit({error.code!r})"))
    except BaseException as error:
        if not isinstance(error, GiveUp):
            context.log.info("failed in attempt %d", context.attempt, exc_info=error)
        return failure(error)


def _find(module: str, name: str) -> Handler[..., Any]:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, Handler):
        raise GiveUp(f"{module}.{name} is no @task handler that a process could import")
    return found


if __name__ == "__main__":
    sys.exit("this is started by a worker, never by hand")
