"""Ids made at the edge."""

from __future__ import annotations

import pytest

from gateway.ids import Sequence, new_id, normalized, uuid7


def test_the_example_of_the_rfc_comes_out() -> None:
    random = 0xCC3 << 62 | 0x18C4DC0C0C07398F

    assert uuid7(0x017F22E279B0, random) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


def test_ids_grow_while_the_clock_stands_or_steps_back() -> None:
    sequence = Sequence()
    moments = [1_000, 1_000, 1_000, 400, 999, 1_000, 1_001]

    ids = [sequence.next(moment, random) for moment, random in zip(moments, [9] * 7, strict=True)]

    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_ids_grow_past_the_last_random_bits_of_a_millisecond() -> None:
    sequence = Sequence()
    last = sequence.next(1_000, (1 << 74) - 1)

    assert sequence.next(1_000, 0) > last


def test_every_id_is_a_version_7_uuid() -> None:
    made = new_id()

    assert normalized(made) == made
    assert made[14] == "7"
    assert made[19] in "89ab"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "017f22e279b07cc398c4dc0c0c07398f",
        "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f\n",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "\u066017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        "../../../../../../../../../../etc/passwd",
    ],
)
def test_what_is_no_canonical_uuid_is_none(text: str) -> None:
    assert normalized(text) is None


def test_upper_case_is_the_same_id() -> None:
    assert normalized("017F22E2-79B0-7CC3-98C4-DC0C0C07398F") == (
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
    )
