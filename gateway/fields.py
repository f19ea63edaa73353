"""Fields: the members of one object, taken out one by one. What is left over is an error."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar, cast

from gateway.checks import Check, Invalid, each
from gateway.problems import FieldError, invalid

T = TypeVar("T")
D = TypeVar("D")

_NAME_SHOWN_MAX = 64  # A stranger's member name is quoted no longer than this.


class Fields:
    """Takes members, remembers every mistake, and tells all of them at once in `close`.

    What `required` and `optional` return for a wrong member is no value: use nothing of it before
    `close` has passed.
    """

    def __init__(self, members: object, *, what: str = "the body") -> None:
        self._errors: list[tuple[str, str]] = []
        self._left: dict[str, object] = {}
        if isinstance(members, Mapping):
            self._left = dict(members)
        else:
            self._errors.append(("", f"{what} must be an object"))
        self._is_object = not self._errors

    def required(self, name: str, check: Check[T]) -> T:
        """The member *name*, which has to be there."""
        if name in self._left:
            return self._checked(name, check)
        if self._is_object:
            self._errors.append((name, "is required"))
        return cast("T", None)

    def optional(self, name: str, check: Check[T], default: D) -> T | D:
        """The member *name*, or *default* when it was left out; null is not left out."""
        return self._checked(name, check) if name in self._left else default

    def refuse(self, name: str, message: str) -> None:
        """Remember a mistake that only several members together show."""
        self._errors.append((name, message))

    def has(self, name: str) -> bool:
        """Whether the member was given and not yet taken."""
        return name in self._left

    def end(self, *, unserved: Collection[str] = ()) -> None:
        """Refuse what is left over, for an object within another.

        Raises:
            Invalid: with every mistake so far, each with its path within this object.
        """
        for name in self._left:
            message = (
                "is not served by this version of Quorate"
                if name in unserved
                else "is not a field that is known here"
            )
            self._errors.append((name[:_NAME_SHOWN_MAX], message))
        if self._errors:
            raise Invalid(*((f".{name}" if name else "", said) for name, said in self._errors))

    def close(self, *, unserved: Collection[str] = ()) -> None:
        """Refuse what is left over, for a whole body or query.

        Raises:
            Problem: 422 with every mistake, when there is one.
        """
        try:
            self.end(unserved=unserved)
        except Invalid as error:
            raise invalid(
                [FieldError(path.removeprefix("."), message) for path, message in error.errors]
            ) from None

    def _checked(self, name: str, check: Check[T]) -> T:
        value = self._left.pop(name)
        try:
            return each(name, check, value)
        except Invalid as error:
            self._errors.extend(error.errors)
            return cast("T", None)
