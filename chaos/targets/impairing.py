"""Making ways worse: the deeds that every target does by changing a way's condition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from chaos.targets.contract import Way


class Impairing(ABC):
    """What `contract.Target` says of ways, for a target that knows how to give them a condition."""

    async def cut(self, ways: Iterable[Way]) -> None:
        await self._set(ways, is_cut=True)

    async def reset(self, ways: Iterable[Way]) -> None:
        await self._set(ways, is_reset=True)

    async def slow(self, ways: Iterable[Way], delay_seconds: float) -> None:
        await self._set(ways, delay_seconds=delay_seconds)

    async def throttle(self, ways: Iterable[Way], bytes_per_second: float) -> None:
        await self._set(ways, bytes_per_second=bytes_per_second)

    async def lose(self, ways: Iterable[Way], share: float) -> None:
        await self._set(ways, loss=share)

    @abstractmethod
    async def _set(self, ways: Iterable[Way], **changes: object) -> None:
        """Change what the members of `contract.Condition` named in *changes* are of *ways*."""
