"""A run on containers that freezes a node and then waits to be killed: for test_leftovers.py."""

from __future__ import annotations

import asyncio
import sys

from chaos.setting import Setting
from chaos.targets.docker import DockerTarget


async def run(http_port: int) -> None:
    """Say which project it is once its only node stands still."""
    target = DockerTarget(Setting(nodes=1, workers=0), http_port=http_port)
    await target.start()
    await target.freeze("node1")
    sys.stdout.write(f"{target.project} {target.urls['node1']}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1])))
