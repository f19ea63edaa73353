"""Options that several commands share, each with its variable."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_URL = "http://127.0.0.1:5000"
MEMORY_BYTES_MIN = 1 << 20  # Below it not even one task of the largest size would fit.
BYTES_MAX = 1 << 50
SECONDS_MAX = 30 * 86_400  # Of what may take long; whoever wants more means for ever.
LEASE_SECONDS_MIN = 0.3  # A heartbeat goes with each third of it.


class Number(click.FloatRange):
    """A number within its limits, where a range of click's own lets `nan` pass."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not between {self.min} and {self.max}.", param, ctx)
        return number


def option(*names: str, variable: str, **settings: Any) -> Callable[[F], F]:
    """An option that an environment variable can give as well; the help says which."""
    return click.option(*names, envvar=variable, show_envvar=True, **settings)


url_option = option(
    "--url",
    variable="QUORATE_URL",
    default=DEFAULT_URL,
    show_default=True,
    help="Gateways to talk to, comma-separated: any of them will do.",
)

patience_option = option(
    "--patience",
    variable="QUORATE_PATIENCE",
    type=Number(0, SECONDS_MAX),
    default=10.0,
    show_default=True,
    help="Seconds to look for a gateway that answers; an election takes about one.",
)

json_option = option(
    "--json",
    "wants_json",
    variable="QUORATE_JSON",
    is_flag=True,
    help="Print machine-readable lines.",
)


def client_options(function: F) -> F:
    """What every client of a gateway takes: `url`, `patience` and `wants_json`."""
    return url_option(patience_option(json_option(function)))


memory_option = option(
    "--memory-bytes-max",
    variable="QUORATE_MEMORY_BYTES_MAX",
    type=click.IntRange(MEMORY_BYTES_MIN, BYTES_MAX),
    help="How much each node's tasks may take; by default a third of the memory, 4 GiB at most.",
)

log_level_option = option(
    "--log-level",
    variable="QUORATE_LOG_LEVEL",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="How much to log, to standard error; QUORATE_LOG=json makes each line an object.",
)
