"""Fields: what one object may hold. What is not named is an error, and all errors are told at once.

A shape is the one place where an object's fields are listed: bodies and queries are read by it, and
`/openapi.json` is written from it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Generic, TypeVar

from gateway.checks import Check, Invalid, Schema
from gateway.problems import ERRORS_MAX, FieldError, invalid

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
D = TypeVar("D")

_NAME_SHOWN_MAX = 64  # A stranger's member name is quoted no longer than this.


class Field(Generic[T_co]):
    """One member: its name, what it may be, what it means, and what stands for it if left out."""

    __slots__ = ("check", "default", "has_default", "is_required", "name", "says", "standard")

    def __init__(
        self,
        name: str,
        check: Check[T_co],
        says: str,
        *,
        is_required: bool = False,
        default: object = None,
    ) -> None:
        """*default* is as a client would write it; null is none, and never stands in a body."""
        self.name = name
        self.check = check
        self.says = says
        self.is_required = is_required
        self.default = default
        self.has_default = default is not None
        # What is read when the member was left out; of one without default, no value to use.
        self.standard: Any = check(default) if self.has_default else None


class Shape:
    """The fields of one object, under the name that `/openapi.json` gives it."""

    def __init__(
        self,
        name: str,
        *fields: Field[Any],
        what: str = "the body",
        unserved: Collection[str] = (),
        never_together: tuple[Field[Any], ...] = (),
    ) -> None:
        """*unserved* are names that are known and refused: the public contract has them.

        Of the fields *never_together* at most one may be given.
        """
        self.name = name
        self.fields = fields
        self.what = what
        self._unserved = unserved
        self._never_together = never_together
        self._by_name = {field.name: field for field in fields}
        self._required = tuple(field.name for field in fields if field.is_required)

    @property
    def schema(self) -> Schema:
        """The shape as JSON Schema."""
        properties = {field.name: _described(field) for field in self.fields}
        schema: dict[str, object] = {"type": "object", "properties": properties}
        schema["additionalProperties"] = False
        if self._required:
            schema["required"] = list(self._required)
        if self._never_together:
            schema["not"] = {"required": [field.name for field in self._never_together]}
        return schema

    @property
    def reference(self) -> Schema:
        """Where `/openapi.json` has the shape."""
        return {"$ref": f"#/components/schemas/{self.name}"}

    def read(self, value: object) -> Members:
        """What *value* holds, and what is wrong with it: `close` or `end` tells."""
        members = Members()
        if not isinstance(value, Mapping):
            members.refuse("", f"{self.what} must be an object")
            return members
        for name, member in value.items():
            if members.has_enough_mistakes:
                return members
            field = self._by_name.get(name)
            if field is None:
                members.refuse(name[:_NAME_SHOWN_MAX], self._unknown(name))
                continue
            try:
                members.values[name] = field.check.read(member)
            except Invalid as error:
                for path, message in error.errors:
                    members.refuse(name + path, message)
        for name in self._required:
            if name not in value:
                members.refuse(name, "is required")
        given = [field.name for field in self._never_together if field.name in value]
        for name in given[1:]:
            members.refuse(name, f"goes without {given[0]}: give one of the two")
        return members

    def nested(self) -> Check[Members]:
        """The check of a member that is such an object itself."""

        def read(value: object) -> Members:
            members = self.read(value)
            members.end()
            return members

        return Check(read, self.schema)

    def _unknown(self, name: str) -> str:
        if name in self._unserved:
            return "is not served by this version of Quorate"
        return "is not a field that is known here"


class Members:
    """What was read by a shape. Use nothing of it before `close` or `end` has passed."""

    __slots__ = ("_errors", "values")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._errors: list[tuple[str, str]] = []

    def __getitem__(self, field: Field[T]) -> T:
        """The member, or what stands for it; of one without default that was left out, nothing."""
        value: T = self.values.get(field.name, field.standard)
        return value

    def get(self, field: Field[T], default: D) -> T | D:
        """The member, or *default* when it was left out; null is not left out."""
        value: T | D = self.values.get(field.name, default)
        return value

    def has(self, field: Field[T]) -> bool:
        """Whether the member was given, and is as it should be."""
        return field.name in self.values

    def refuse(self, name: str, message: str) -> None:
        """Remember a mistake, such as one that only several members together show."""
        self._errors.append((name, message))

    @property
    def has_enough_mistakes(self) -> bool:
        """Whether no more of them would be told."""
        return len(self._errors) >= ERRORS_MAX

    def end(self) -> None:
        """Refuse the object if there was a mistake: one within another object.

        Raises:
            Invalid: with every mistake, each with its path within this object.
        """
        if self._errors:
            raise Invalid(*((f".{name}" if name else "", said) for name, said in self._errors))

    def close(self) -> None:
        """Refuse the object if there was a mistake: a whole body or query.

        Raises:
            Problem: 422 with every mistake.
        """
        if self._errors:
            raise invalid([FieldError(name, message) for name, message in self._errors])


def _described(field: Field[Any]) -> Schema:
    described = {**field.check.schema, "description": field.says}
    return described | ({"default": field.default} if field.has_default else {})
