"""Checks: one small thing for each that a field may be, and the JSON Schema that says the same.

A check takes a plain value and returns what the core wants, or raises Invalid with a sentence that
says what is allowed. Floats end here: seconds become integer milliseconds, fractions thousandths.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway import instants
from gateway.ids import normalized

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Schema = Mapping[str, object]

_DECIMAL = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)
_WHOLE = re.compile(r"\d{1,19}", re.ASCII)


class Invalid(Exception):
    """A value is not what its field takes. Errors are (path below the field, sentence)."""

    def __init__(self, *errors: tuple[str, str]) -> None:
        super().__init__(errors)
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Check(Generic[T_co]):
    """What passes, as code that reads it and as JSON Schema (2020-12) for whoever writes it."""

    read: Callable[[object], T_co]
    schema: Schema

    def __call__(self, value: object) -> T_co:
        """What the core is given for *value*.

        Raises:
            Invalid: it does not pass.
        """
        return self.read(value)


def refused(message: str) -> Invalid:
    """The whole value is wrong."""
    return Invalid(("", message))


def text(*, characters_max: int, characters_min: int = 1) -> Check[str]:
    """A string of so many characters, whichever they are."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise refused("must be a string")
        if not characters_min <= len(value) <= characters_max:
            limits = f"{characters_min} to {characters_max} characters"
            raise refused(f"must have {limits}, has {len(value)}")
        return value

    limits = {"minLength": characters_min, "maxLength": characters_max}
    return Check(read, {"type": "string", **limits})


def name(*, characters_max: int = 128) -> Check[str]:
    """A string that can stand in a path: letters, digits and . _ : - after the first."""
    written = rf"[A-Za-z0-9][A-Za-z0-9._:-]{{0,{characters_max - 1}}}"
    pattern = re.compile(written)

    def read(value: object) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        raise refused(
            f"must be 1 to {characters_max} letters, digits, '.', '_', ':' or '-', "
            "the first a letter or digit"
        )

    return Check(read, {"type": "string", "pattern": f"^{written}$"})


def integer(least: int, most: int) -> Check[int]:
    """An integer within the limits; 4.0 is one as JSON Schema has it, true is none."""

    def read(value: object) -> int:
        if type(value) is float and value.is_integer():  # Some languages have no other numbers.
            value = int(value)
        if type(value) is int and least <= value <= most:
            return value
        raise refused(f"must be an integer from {least} to {most}")

    return Check(read, {"type": "integer", "minimum": least, "maximum": most})


def thousandths(least: float, most: float) -> Check[int]:
    """A number within the limits, as integer thousandths: seconds as milliseconds, too."""

    def read(value: object) -> int:
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and least <= value <= most
        ):
            return round(value * 1000)
        raise refused(f"must be a number from {least:g} to {most:g}")

    return Check(read, {"type": "number", "minimum": least, "maximum": most})


wait_seconds = thousandths(0, 1e12)  # Whatever is asked for, a minute is waited at most.


def one_of(choices: Mapping[str, T]) -> Check[T]:
    """One of the words, as what it stands for."""

    def read(value: object) -> T:
        if isinstance(value, str) and value in choices:
            return choices[value]
        raise refused(f"must be one of {', '.join(choices)}")

    return Check(read, {"type": "string", "enum": list(choices)})


def list_of(check: Check[T], *, items_max: int, items_min: int = 0) -> Check[tuple[T, ...]]:
    """A list of so many items, each of which passes."""

    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise refused("must be a list")
        if not items_min <= len(value) <= items_max:
            raise refused(f"must have {items_min} to {items_max} items, has {len(value)}")
        return tuple(each(f"[{place}]", check, item) for place, item in enumerate(value))

    limits = {"minItems": items_min, "maxItems": items_max}
    return Check(read, {"type": "array", "items": check.schema, **limits})


def string_map(
    *, entries_max: int, name_characters_max: int, characters_max: int
) -> Check[tuple[tuple[str, str], ...]]:
    """An object of strings, as pairs in the order of their names."""
    check_name = text(characters_max=name_characters_max, characters_min=0)
    check_text = text(characters_max=characters_max, characters_min=0)

    def read(value: object) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, dict):
            raise refused("must be an object of strings")
        if len(value) > entries_max:
            raise refused(f"must have at most {entries_max} members, has {len(value)}")
        return tuple(
            (each("", check_name, member), each(f".{member[:64]}", check_text, content))
            for member, content in sorted(value.items())
        )

    names = {"propertyNames": check_name.schema, "maxProperties": entries_max}
    return Check(read, {"type": "object", "additionalProperties": check_text.schema, **names})


def each(suffix: str, check: Callable[[object], T], value: object) -> T:
    """*check*'s verdict about a part of the value, told with the path to that part."""
    try:
        return check(value)
    except Invalid as error:
        raise Invalid(*((suffix + path, message) for path, message in error.errors)) from None


def decimal_text(check: Check[T]) -> Check[T]:
    """A number, which then passes; written in digits, as queries and the environment have it."""

    def read(value: object) -> T:
        if isinstance(value, str):
            if not _DECIMAL.fullmatch(value):
                raise refused("must be a number such as 5 or 0.25")
            value = float(value)
        return check.read(value)

    return Check(read, check.schema)


def integer_text(check: Check[T]) -> Check[T]:
    """An integer, which then passes; written in digits, as queries and the environment have it."""

    def read(value: object) -> T:
        if isinstance(value, str):
            if not _WHOLE.fullmatch(value):
                raise refused("must be a whole number such as 50")
            value = int(value)
        return check.read(value)

    return Check(read, check.schema)


def _anything(value: object) -> object:
    return value


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise refused("must be true or false")


def _string(value: object) -> str:
    if isinstance(value, str):
        return value
    raise refused("must be a string")


def _uuid(value: object) -> str:
    if isinstance(value, str) and (canonical := normalized(value)):
        return canonical
    raise refused("must be a UUID like 01890a5d-ac96-774b-bcce-b302099a8057")


def _instant(value: object) -> int:
    unix_ms = instants.parse(value) if isinstance(value, str) else None
    if unix_ms is None:
        raise refused("must be an RFC 3339 time like 2030-01-31T12:00:00Z")
    return unix_ms


anything = Check(_anything, {})
boolean = Check(_boolean, {"type": "boolean"})
string = Check(_string, {"type": "string"})  # Of any length: its bytes are counted elsewhere.
# In its canonical form, any version, in lower case afterwards.
uuid = Check(_uuid, {"type": "string", "format": "uuid"})
# An RFC 3339 time with its offset, as Unix milliseconds.
instant = Check(_instant, {"type": "string", "format": "date-time"})
