"""A run on containers that freezes a node and then waits to be killed: for test_leftovers.py."""

from __future__ import annotations

import asyncio
import sys

from chaos.targets.docker import DockerTarget


async def run(http_port: int) -> None:
    """Say which project it is once its only node stands still."""
    target = DockerTarget.for_setting(
        nodes=1, workers=0, lease_seconds=3.0, bug=None, http_port=http_port
    )
    await target.start()
    await target.freeze("node1")
    sys.stdout.write(f"{target.project} {target.urls['node1']}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1])))
