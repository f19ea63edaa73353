"""Defaults from the environment."""

from __future__ import annotations

import pytest

from cluster.core.model import Backoff
from cluster.errors import ConfigurationError
from gateway.defaults import SubmitDefaults


def test_an_empty_environment_gives_the_standard() -> None:
    assert SubmitDefaults.from_environment({"MAX_RETRIES": " "}) == SubmitDefaults()


def test_every_variable_counts() -> None:
    defaults = SubmitDefaults.from_environment(
        {
            "MAX_RETRIES": "0",
            "INITIAL_RETRY_DELAY": "0.5",
            "RETRY_BACKOFF_MULTIPLIER": "1.5",
            "MAX_RETRY_DELAY": "60",
        }
    )

    assert defaults == SubmitDefaults(
        max_attempts=1, backoff=Backoff(500, 1_500, 60_000, jitter_thousandths=100)
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MAX_RETRIES", "three"),
        ("MAX_RETRIES", "-1"),
        ("MAX_RETRIES", "1000"),
        ("INITIAL_RETRY_DELAY", "5s"),
        ("INITIAL_RETRY_DELAY", "nan"),
        ("RETRY_BACKOFF_MULTIPLIER", "0.5"),
        ("MAX_RETRY_DELAY", "1e9"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{variable}='{value}' must be"):
        SubmitDefaults.from_environment({variable: value})
