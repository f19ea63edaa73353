"""Which calls a client makes again after a lost answer: reads, and what is named."""

from __future__ import annotations

import pytest

from gateway.calling_twice import READS, is_repeatable
from gateway.routes import ROUTES


def test_reads_are_the_routes_that_are_read_with_get() -> None:
    assert {route.name for route in ROUTES if route.method == "GET"} == READS


def test_what_would_do_more_or_refuse_itself_is_called_once() -> None:
    once = {route.name for route in ROUTES if not is_repeatable(route.name, {})}

    assert once == {
        *("submit", "submit_batch", "register"),  # Without an id each makes another one.
        *("retry", "retry_dead_letter", "delete_dead_letter", "retry_dead_letters"),
        *("purge_queue", "add_member", "remove_member", "change_leader"),
    }


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("submit", {"id": "x"}, True),
        ("submit", {"idempotency_key": "x"}, True),
        ("submit", {"type": "x"}, False),
        ("register", {"id": "x"}, True),
        ("submit_batch", {"tasks": [{"id": "x"}, {"idempotency_key": "y"}]}, True),
        ("submit_batch", {"tasks": [{"id": "x"}, {}]}, False),
        ("submit_batch", {"tasks": "x"}, False),
        ("unheard of", {"id": "x"}, False),
    ],
)
def test_what_is_made_is_made_once_if_it_is_named(
    name: str, body: dict[str, object], *, expected: bool
) -> None:
    assert is_repeatable(name, body) is expected
