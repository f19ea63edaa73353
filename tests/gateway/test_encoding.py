"""Bodies: what is read, what is refused, and that both formats carry the same values."""

from __future__ import annotations

import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.encoding import (
    DEPTH_MAX,
    INTEGER_MAX,
    INTEGER_MIN,
    Format,
    Stored,
    Undecodable,
    decode,
    decode_stored,
    draft,
    encode,
    is_same,
    json_bytes_min,
)

integers = st.integers(INTEGER_MIN, INTEGER_MAX)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | integers | floats | st.text() | st.binary()
values = st.recursive(
    scalars,
    # {"$bytes": …} is how JSON says bytes: as an object of a user's own it cannot be told apart.
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text().filter(lambda key: key != "$bytes"), inner)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("written_in", list(Format))
@given(value=values)
def test_a_value_reads_back_as_it_was_written(written_in: Format, value: object) -> None:
    written = encode(value, written_in)

    assert is_same(decode(written, written_in), value)
    assert is_same(decode_stored(written, written_in), value)


@pytest.mark.parametrize("written_in", list(Format))
@given(body=st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(written_in: Format, body: bytes) -> None:
    try:
        value = decode(body, written_in)
    except Undecodable:
        return
    assert is_same(decode(encode(value, written_in), written_in), value)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not JSON"),
        (b"   ", "not JSON"),
        (b"{", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": 1} {"b": 2}', "not JSON"),
        (b"[1 2]", "not JSON"),
        (b"01", "not JSON"),
        (b"+1", "not JSON"),
        (b".5", "not JSON"),
        (b'"a\nb"', "not JSON"),
        (b'"\\x41"', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\xc0\xaf"', "not UTF-8"),
        (b"NaN", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1, "a": 1}', "'a' appears twice"),
        (b'{"b": {"a": 1, "\\u0061": 2}}', "'a' appears twice"),
        (b'"\\ud800"', "lone surrogate"),
        (b'{"\\udfff": 1}', "lone surrogate"),
        (b'["\\ude00\\ud83d"]', "lone surrogate"),
        (b"18446744073709551616", "does not fit 64 bits"),
        (b"-9223372036854775809", "does not fit 64 bits"),
        (b"9" * 1_000_000, "does not fit 64 bits"),
        (b"1e400", "does not fit a double"),
        (b"[" * 65 + b"]" * 65, "nested deeper than 64"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested deeper than 64"),
        (b"[" * 1_000_000, "nested deeper than 64"),
        (b'{"a":' * 200_000, "nested deeper than 64"),
    ],
)
def test_what_is_not_strict_json_is_refused(body: bytes, complaint: str) -> None:
    with pytest.raises(Undecodable, match=complaint):
        decode(body, Format.JSON)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not msgpack"),
        (b"\xc1", "not msgpack"),
        (b"\x01\x02", "not msgpack"),
        (b"\x92\x01", "not msgpack"),
        (b"\xdd\xff\xff\xff\xff", "not msgpack"),
        (b"\xc6\xff\xff\xff\xff", "not msgpack"),
        (b"\xa1\xff", "not msgpack"),
        (b"\x91" * 65 + b"\x01", "nested deeper than 64"),
        (b"\x91" * 100_000, "not msgpack"),
        (b"\x82\xa1a\x01\xa1a\x02", "'a' appears twice"),
        (b"\x81\x01\x02", "keys are strings"),
        (b"\x81\x91\x01\x02", "keys are strings"),
        (b"\x81\xc4\x01a\x02", "keys are strings"),
        (msgpack.packb(float("nan")), "a number is not finite"),
        (msgpack.packb([float("inf")]), "a number is not finite"),
        (msgpack.packb(msgpack.ExtType(5, b"x")), "extension type 5"),
        (msgpack.packb(msgpack.Timestamp(1, 2)), "Timestamp is not accepted"),
    ],
)
def test_what_is_not_strict_msgpack_is_refused(body: bytes, complaint: str) -> None:
    with pytest.raises(Undecodable, match=complaint):
        decode(body, Format.MSGPACK)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'"\\u0000"', "\x00"),
        (b'"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
        (b"18446744073709551615", INTEGER_MAX),
        (b"-9223372036854775808", INTEGER_MIN),
        (b"[" * DEPTH_MAX + b"]" * DEPTH_MAX, None),
        (b' \t\r\n{"": null} ', {"": None}),
    ],
)
def test_the_limits_themselves_are_within(body: bytes, value: object) -> None:
    decoded = decode(body, Format.JSON)

    assert value is None or decoded == value


def test_bytes_are_base64_in_json() -> None:
    assert json.loads(encode({"a": b"hi"}, Format.JSON)) == {"a": {"$bytes": "aGk="}}
    assert decode(b'{"a": {"$bytes": "aGk="}}', Format.JSON) == {"a": b"hi"}


@pytest.mark.parametrize("text", ["aGk", "aGl=", "a Gk=", "%%%%", "aGk=\\n"])
def test_an_object_that_only_looks_like_bytes_stays_as_it_is(text: str) -> None:
    body = f'{{"$bytes": "{text}"}}'.encode()

    assert decode(body, Format.JSON) == json.loads(body)


def test_a_payload_of_another_content_type_is_bare_bytes() -> None:
    assert decode_stored(b"\x00\x01", "application/octet-stream") == b"\x00\x01"


def test_the_order_of_members_does_not_matter_but_true_is_not_one() -> None:
    assert is_same({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert not is_same({"a": 1}, {"a": True})
    assert not is_same([1, 2], [2, 1])


@pytest.mark.parametrize("stored_in", list(Format))
@pytest.mark.parametrize("written_in", list(Format))
@given(one=values, other=values)
def test_a_stored_payload_reads_as_what_it_was(
    stored_in: Format, written_in: Format, one: object, other: object
) -> None:
    gaps = [Stored(encode(value, stored_in), stored_in) for value in (one, other)]

    body = draft({"a": gaps[0], "list": [gaps[1], one]}, written_in)

    assert is_same(decode_stored(body.filled(), written_in), {"a": one, "list": [other, one]})


@pytest.mark.parametrize("stored_in", list(Format))
@pytest.mark.parametrize("written_in", list(Format))
def test_only_what_is_long_and_in_another_format_is_left_to_be_rewritten(
    stored_in: Format, written_in: Format
) -> None:
    long, short = (Stored(encode("x" * size, stored_in), stored_in) for size in (10_000, 10))

    body = draft([long, short, long], written_in)

    assert decode_stored(body.filled(), written_in) == ["x" * 10_000, "x" * 10, "x" * 10_000]
    assert (body.rewritten_bytes >= 20_000) == (stored_in is not written_in)


@given(value=values, spaces=st.sampled_from([None, 1, "\t"]), is_ascii=st.booleans())
def test_the_size_of_json_is_never_overestimated(
    value: object, spaces: str | int | None, *, is_ascii: bool
) -> None:
    compact = encode(value, Format.JSON)
    written = json.dumps(json.loads(compact), indent=spaces, ensure_ascii=is_ascii)

    assert json_bytes_min(written.encode()) <= len(compact)
