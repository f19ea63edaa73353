"""A call: what a handler is asked, and what it replies, whichever way the call came.

Knows no transport. A route over HTTP and a frame on a WebSocket make the same call of the same
handler, so that each operation is written once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar

from gateway.encoding import Format
from gateway.ids import normalized
from gateway.problems import Problem
from gateway.service import Service

T = TypeVar("T")


class Reply(NamedTuple):
    """A handler's answer: a value, which is written in the client's format."""

    value: object
    status: int = 200
    headers: Mapping[str, str] = {}


class Body(NamedTuple):
    """A call's value and the format that it came in."""

    value: object
    written_in: Format


class Call(ABC):
    """One operation asked for: with the service that it is asked of."""

    __slots__ = ("headers", "path", "service")

    def __init__(
        self, service: Service, *, path: Mapping[str, str], headers: Mapping[str, str]
    ) -> None:
        self.service = service
        self.path = path  # The members that the route's path names.
        self.headers = headers  # As HTTP has them.

    @property
    @abstractmethod
    def query(self) -> Mapping[str, object]:
        """What was asked beside the body; every value is a string.

        Raises:
            Problem: 422 naming the parameters given twice.
        """

    @abstractmethod
    async def parse(
        self, parse: Callable[[Body], T], *, empty: object | None = None, many: str | None = None
    ) -> T:
        """What *parse* makes of the body; *empty* stands for one that was left out, if it may be.

        *many* names the member that lists the objects of a bulk body: such a one may be larger than
        a task, and may come as lines.

        Raises:
            Problem: 400, 408, 413 or 415, by what is wrong with the body; or *parse*'s own.
        """

    def path_id(self, code: str) -> str:
        """The id in the path; what is no UUID is nobody's id.

        Raises:
            Problem: of that *code*, a 404.
        """
        written = self.path["id"]
        if canonical := normalized(written):
            return canonical
        raise Problem(code, f"{written[:64]!r} is no id: ids are UUIDs")


Handler = Callable[[Call], Awaitable[Reply]]
