"""The built-in task types, called without a cluster."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from node import handlers
from node.context import Context, GiveUp


def test_process_measures_and_raises_the_text() -> None:
    result = handlers.process(Context(), "Hello World")

    assert datetime.fromisoformat(result.pop("timestamp")).utcoffset() is not None
    assert result == {"processed": "Hello World", "length": 11, "uppercase": "HELLO WORLD"}


def test_process_takes_what_is_not_text_as_its_json() -> None:
    result = handlers.process(Context(), {"a": 1})

    assert (result["length"], result["uppercase"]) == (8, '{"A": 1}')


@pytest.mark.parametrize(("number", "double"), [(21, 42), (-1, -2), (0.5, 1.0), (0, 0)])
def test_calculate_doubles(number: float, double: float) -> None:
    result = handlers.calculate(Context(), number)

    assert (result["input"], result["result"]) == (number, double)


@pytest.mark.parametrize("value", ["21", None, True, [21], {"number": 21}])
def test_calculate_gives_up_on_what_is_no_number(value: Any) -> None:
    with pytest.raises(GiveUp, match="calculate takes a number"):
        handlers.calculate(Context(), value)


async def test_echo_answers_what_was_sent() -> None:
    assert await handlers.echo(Context(), {"a": [1, None]}) == {"a": [1, None]}


async def test_sleep_says_how_long_it_slept() -> None:
    assert await handlers.sleep(Context(), 0) == {"slept_seconds": 0}


@pytest.mark.parametrize("seconds", [-1, 86_401, 1e30, float("nan")])
async def test_sleep_gives_up_on_what_is_no_time_to_sleep(seconds: float) -> None:
    with pytest.raises(GiveUp, match="sleep takes 0 to 86400 seconds, not"):
        await handlers.sleep(Context(), seconds)


async def test_fail_fails_with_the_message_given() -> None:
    with pytest.raises(RuntimeError, match="no such luck"):
        await handlers.fail(Context(), "no such luck")


async def test_noop_does_nothing() -> None:
    assert await handlers.noop(Context(), "anything") is None  # type: ignore[func-returns-value]
