"""The calls that every part of the client is made of."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from gateway.caller import Caller, Object

_NOTHING: Mapping[str, object] = {}
PAGE_LIMIT = 1_000  # The most that a node puts on one page.


class Calls:
    """A part of the client: methods that each make one call, or go through pages."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def call(
        self,
        name: str,
        body: Mapping[str, object] = _NOTHING,
        *,
        wait: float = 0,
        patience_seconds: float | None = None,
        after_index: int | None = None,
    ) -> Object:
        """Call any operation of the gateway by its name, as `Caller.call` does.

        With *after_index* a read is of any node's own state that is no older than that; without it
        the read shows all that anyone was told before.
        """
        extras: Mapping[str, object] = _NOTHING
        if after_index is not None:
            extras = {"consistency": "stale", "min_index": after_index}
        answer = await self._caller.call(
            name, body, extras=extras, wait=wait, patience_seconds=patience_seconds
        )
        value: Object = answer.value
        return value

    async def _all(
        self, name: str, member: str, filters: Mapping[str, object]
    ) -> AsyncGenerator[Object, None]:
        """Every item of a list, page by page as they are asked for."""
        cursor: str | None = None
        while True:
            page = await self.call(name, page_body(PAGE_LIMIT, cursor, filters))
            for item in page[member]:
                yield item
            cursor = page["next"]
            if cursor is None:
                return


def page_body(limit: int, cursor: str | None, filters: Mapping[str, object]) -> dict[str, object]:
    """What asks for the page after *cursor*, or for the first one."""
    page = {"limit": limit, **filters}
    return page if cursor is None else page | {"cursor": cursor}
