"""Problems: one table, and nothing that falls outside it."""

from __future__ import annotations

import json

import pytest

from cluster.core.commands import Refusal, Refused
from cluster.errors import (
    NoQuorum,
    NotCaughtUp,
    NotCommitted,
    OutcomeUnknown,
    Overloaded,
    QuorateError,
    StorageDamaged,
)
from gateway import problems
from gateway.client_errors import InvalidRequest, RequestRefused, refusal
from gateway.problems import FieldError, Problem


@pytest.mark.parametrize("refusal", list(Refusal))
def test_every_refusal_of_the_machine_has_its_line_in_the_table(refusal: Refusal) -> None:
    problem = problems.of_refusal(Refused(refusal, "why"), {"Quorate-Applied-Index": "7"})

    assert 400 <= problem.status < 500
    assert problem.detail == "why"
    assert problem.headers["Quorate-Applied-Index"] == "7"


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (NoQuorum("x"), 503, "no_quorum", "1"),
        (NotCommitted("x"), 503, "no_quorum", "1"),
        (Overloaded("x"), 429, "overloaded", "1"),
        (NotCaughtUp("x"), 503, "not_caught_up", "1"),
        (OutcomeUnknown("x"), 504, "outcome_unknown", None),
        (StorageDamaged("a secret path"), 500, "internal", None),
    ],
)
def test_whether_it_may_have_happened_decides_the_code(
    error: QuorateError, status: int, code: str, retry_after: str | None
) -> None:
    problem = problems.of_error(error)

    assert (problem.status, problem.code) == (status, code)
    assert problem.headers.get("Retry-After") == retry_after
    assert "secret" not in problem.detail


def test_a_problem_has_the_members_of_the_rfc_and_one_for_simple_clients() -> None:
    problem = problems.invalid([FieldError("a", "is wrong"), FieldError("b", "too")])
    response = problem.response()

    assert response.content_type == "application/problem+json"
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "type": "/docs#invalid",
        "title": "The request's fields are not as they should be",
        "status": 422,
        "detail": "a: is wrong (and 1 more)",
        "code": "invalid",
        "error": "a: is wrong (and 1 more)",
        "errors": [{"field": "a", "message": "is wrong"}, {"field": "b", "message": "too"}],
    }


def test_a_thousand_mistakes_are_told_as_fifty() -> None:
    problem = problems.invalid([FieldError(str(n), "is wrong") for n in range(1_000)])

    errors = problem.body()["errors"]
    assert isinstance(errors, list)
    assert len(errors) == problems.ERRORS_MAX


def test_a_client_raises_the_error_of_the_code() -> None:
    told = Problem("invalid", "why", errors=[FieldError("a", "is wrong")])

    error = refusal(422, told.body())

    assert isinstance(error, InvalidRequest)
    assert error.errors == ({"field": "a", "message": "is wrong"},)
    assert type(refusal(418, {})) is RequestRefused
