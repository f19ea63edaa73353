"""Moments and numbers as the API writes them."""

from __future__ import annotations

import pytest

from gateway import instants, render


@pytest.mark.parametrize(
    ("unix_ms", "written"),
    [
        (None, None),
        (0, "1970-01-01T00:00:00.000Z"),
        (1_709_251_140_007, "2024-02-29T23:59:00.007Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (1 << 62, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_moment_is_rfc_3339_in_utc_with_milliseconds(
    unix_ms: int | None, written: str | None
) -> None:
    assert instants.written(unix_ms) == written


@pytest.mark.parametrize("unix_ms", [0, 1, 999, 1_709_251_140_007, 253_402_300_799_999])
def test_a_written_moment_reads_back(unix_ms: int) -> None:
    assert instants.parse(str(instants.written(unix_ms))) == unix_ms


@pytest.mark.parametrize(
    ("thousandths", "number"), [(None, None), (0, 0), (5_000, 5), (100, 0.1), (1_234, 1.234)]
)
def test_a_number_is_whole_where_it_is_whole(thousandths: int | None, number: float | None) -> None:
    rendered = render.number(thousandths)

    assert rendered == number
    assert isinstance(rendered, int) == isinstance(number, int)
