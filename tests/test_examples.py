"""The examples do what they say: run as they are, on a real cluster."""

from __future__ import annotations

import zlib

import pytest

from examples import images
from gateway import BlockingClient
from node import Context, GiveUp
from node.testing import MemoryCluster


async def test_the_program_of_thumbnails_runs(
    quorate_cluster: MemoryCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    quorate_cluster.serve(images.thumbnail)

    await images.main([quorate_cluster.url])

    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("100 thumbnails, ")
    assert second.endswith("failed: 4 pixels are no rows of 64")


def test_its_handler_is_tested_without_a_cluster() -> None:
    small = images.thumbnail(Context(), bytes(range(64)), width_px=8, every=4)

    assert zlib.decompress(small) == bytes([0, 4, 32, 36])
    with pytest.raises(GiveUp):
        images.thumbnail(Context(), b"torn", width_px=8)


def test_its_handler_runs_from_a_program_without_a_loop(quorate_cluster: MemoryCluster) -> None:
    quorate_cluster.serve(images.thumbnail)

    with BlockingClient(quorate_cluster.url) as client:
        made = client.submit(images.thumbnail, bytes(64), width_px=8).result(timeout=10)

    assert zlib.decompress(made) == bytes(4)
