"""What a submission gets that does not say otherwise, as the node's environment sets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from cluster.core.model import Backoff, Policy
from cluster.errors import ConfigurationError
from gateway.checks import Check, Invalid, decimal_text, integer, integer_text, thousandths

T = TypeVar("T")

ATTEMPTS_MAX = 1_000
DELAY_SECONDS_MAX = 315_360_000  # Ten years.
MULTIPLIER_MAX = 1_000

check_attempts = integer(1, ATTEMPTS_MAX)
check_delay = thousandths(0, DELAY_SECONDS_MAX)
check_multiplier = thousandths(1, MULTIPLIER_MAX)
check_jitter = thousandths(0, 1)

_STANDARD = Policy()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitDefaults:
    """A task's chances where its submitter is silent.

    The same variables belong on every node: a repeat of a submission at a node with others is
    another body under the same id.
    """

    max_attempts: int = _STANDARD.max_attempts
    backoff: Backoff = _STANDARD.backoff

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> SubmitDefaults:
        """Read MAX_RETRIES, INITIAL_RETRY_DELAY, RETRY_BACKOFF_MULTIPLIER and MAX_RETRY_DELAY.

        Raises:
            ConfigurationError: names the variable and what it takes. Delays are seconds.
        """
        standard = cls()
        retries = _read(
            environment,
            "MAX_RETRIES",
            integer_text(integer(0, ATTEMPTS_MAX - 1)),
            standard.max_attempts - 1,
        )
        backoff = Backoff(
            initial_ms=_read(
                environment,
                "INITIAL_RETRY_DELAY",
                decimal_text(check_delay),
                standard.backoff.initial_ms,
            ),
            multiplier_thousandths=_read(
                environment,
                "RETRY_BACKOFF_MULTIPLIER",
                decimal_text(check_multiplier),
                standard.backoff.multiplier_thousandths,
            ),
            max_ms=_read(
                environment, "MAX_RETRY_DELAY", decimal_text(check_delay), standard.backoff.max_ms
            ),
            jitter_thousandths=standard.backoff.jitter_thousandths,
        )
        return cls(max_attempts=retries + 1, backoff=backoff)


def _read(environment: Mapping[str, str], variable: str, check: Check[T], default: T) -> T:
    written = environment.get(variable, "").strip()
    if not written:
        return default
    try:
        return check(written)
    except Invalid as error:
        message = error.errors[0][1]
        raise ConfigurationError(f"{variable}={written[:64]!r} {message}") from None
