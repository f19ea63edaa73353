"""Ctrl-C and SIGTERM end a program whose main thread has nothing left to do but to serve.

Python waits for a coordinator's thread at the program's end, and a signal would find nobody there
who knows how to stop it. Handlers are set only where nobody has set one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

Stop = Callable[[], None]

_stops: list[Stop] = []


def stop_on_signals(stop: Stop) -> None:
    """Call *stop*, which must not block, on SIGINT and SIGTERM; then they do what they did.

    From a thread that may set no handlers nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    _stops.append(stop)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}:
            signal.signal(number, _stop_all)


def forget(stop: Stop) -> None:
    """It is stopped: no signal concerns it any more."""
    if stop in _stops:
        _stops.remove(stop)


def _stop_all(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for stop in _stops:
        stop()
    if _is_program_over(frame):
        return  # Its threads end now, and the interpreter with them.
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _is_program_over(frame: FrameType | None) -> bool:
    """Whether the main thread is in the interpreter's own wait for the others."""
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame is None or frame.f_globals.get("__name__") == threading.__name__
