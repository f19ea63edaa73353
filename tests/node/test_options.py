"""Settings that are numbers: one out of bounds is named, with its bounds, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import pytest

from node.commands import LazyGroup, quorate
from node.commands.options import LEASE_SECONDS_MIN, Number

NODE = ("node", "--id", "a", "--cluster", "a=127.0.0.1:1", "--data", "nowhere")


def complaint_about(name: str, *arguments: str) -> str:
    """Why the command is not even begun."""
    command = quorate.get_command(click.Context(quorate), name)
    assert command is not None
    with pytest.raises(click.BadParameter) as refused:
        command.make_context(name, list(arguments))
    assert refused.value.exit_code == 2
    return refused.value.format_message()


@pytest.mark.parametrize(
    ("command", "variable"),
    [
        (NODE, "QUORATE_LEASE_SECONDS"),
        (NODE, "QUORATE_ELECTION_SECONDS"),
        (("up",), "QUORATE_LEASE_SECONDS"),
        (("worker",), "QUORATE_DRAIN_SECONDS"),
        (("tasks",), "QUORATE_PATIENCE"),
    ],
)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e+300", "-1.0", "soon"])
def test_a_length_of_time_that_is_none_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)

    complaint = complaint_about(*command)

    assert f"(env var: '{variable}')" in complaint
    assert value in complaint


@pytest.mark.parametrize("value", ["nan", "0.0001"])
def test_the_limits_of_a_length_of_time_are_named(value: str) -> None:
    complaint = complaint_about(*NODE, "--lease-seconds", value)

    assert f"'--lease-seconds' (env var: 'QUORATE_LEASE_SECONDS'): {value} is not" in complaint
    assert str(LEASE_SECONDS_MIN) in complaint


def numbers(name: str, command: click.Command | None) -> Iterator[tuple[str, click.ParamType[Any]]]:
    """Every option that is a number, of the command and of those below it."""
    assert command is not None
    for option in command.params:
        if isinstance(option.type, click.types.FloatParamType | click.types.IntParamType):
            yield f"{option.name} of {name}", option.type
    if isinstance(command, click.Group):
        context = click.Context(command)
        for below in command.list_commands(context):
            if not (isinstance(command, LazyGroup) and below == "chaos"):  # Seeds have no limits.
                yield from numbers(f"{name} {below}", command.get_command(context, below))


def test_every_number_has_its_limits() -> None:
    found = dict(numbers("quorate", quorate))

    assert "lease_seconds of quorate node" in found
    for name, kind in found.items():
        assert isinstance(kind, click.IntRange | Number), name
        assert None not in (kind.min, kind.max), name
