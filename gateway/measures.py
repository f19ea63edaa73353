"""What the gateway measures of its own work, for `/metrics`. Nothing here grows with use."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict

from cluster.distribution import Distribution

NO_ROUTE = "_none"  # Of a request that no route was found for.
OTHER = "_other"  # What stands for all that has no label of its own; no name can begin so.
LAG_EVERY_SECONDS = 0.5


class Measures:
    """One gateway's numbers since its start."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, int], Distribution] = defaultdict(Distribution)
        self.calls: dict[str, Distribution] = defaultdict(Distribution)
        self.problems: Counter[str] = Counter()
        self.commit_seconds = Distribution()
        self.lag_seconds = Distribution()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note an HTTP answer. *route* is the path of a route, not of the request."""
        self.requests[_known(method), route, status].add(seconds)

    def call(self, name: str, seconds: float) -> None:
        """Note a call over `/connect`, whatever was replied."""
        self.calls[name].add(seconds)

    def problem(self, code: str) -> None:
        """Note an answer that was no, however it went out."""
        self.problems[code] += 1

    async def feel_lag(self) -> None:
        """Note, until cancelled, how late the loop comes to what is due."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY_SECONDS
            await asyncio.sleep(LAG_EVERY_SECONDS)
            self.lag_seconds.add(max(0.0, loop.time() - due))


def _known(method: str) -> str:
    """The method, unless a stranger made it up."""
    return method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS") else OTHER
