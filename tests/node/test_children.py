"""One child process: that it is heard out, and that its end waits for nobody else's."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from node.children import Child

LEAVES_ONE_BEHIND = """
import subprocess
print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
print("its last word", end="", flush=True)
"""


async def test_a_child_ends_though_what_it_started_holds_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaves_one_behind.py").write_text(LEAVES_ONE_BEHIND)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    lines: asyncio.Queue[str] = asyncio.Queue()
    ends: list[int] = []
    child = await Child.start(
        "child",
        [],
        log=tmp_path / "child.log",
        on_line=lambda _name, line: lines.put_nowait(line),
        on_exit=lambda _name, status: ends.append(status),
        program=("leaves_one_behind",),
    )
    left_behind = int(await lines.get())
    try:
        async with asyncio.timeout(10):
            status = await child.wait()
            await child.kill()
    finally:
        os.kill(left_behind, signal.SIGKILL)

    assert (status, ends, lines.get_nowait()) == (0, [0], "its last word")
