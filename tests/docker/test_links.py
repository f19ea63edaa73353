"""Rules made from a container beside the victim, as where this process is not root on the host."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from chaos.targets.contract import Condition, Unsupported
from chaos.targets.engine import Engine
from chaos.targets.links import IMAGE_VARIABLE, links_of
from node.waiting import wait_until
from tests.docker.conftest import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="session")

REPOSITORY, TAG = "quorate-test", "network-tools"
PROGRAMS = ("sh", "iptables", "iptables-restore", "tc", "ip")


@pytest.fixture(scope="module")
def tools() -> Iterator[str]:
    """An image of this machine's own network tools, with what they are linked to."""
    found = [shutil.which(program) for program in PROGRAMS]
    if None in found:
        pytest.skip(f"not all of {', '.join(PROGRAMS)} are installed here")
    files = {Path(str(path)) for path in found}
    files |= set(next(path for path in Path("/usr/lib").rglob("xtables")).glob("*.so"))
    linked = subprocess.run(
        ["ldd", *map(str, files)], capture_output=True, text=True, check=False
    ).stdout
    files |= {Path(word) for word in linked.split() if word.startswith("/") and word[-1] != ":"}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.dereference = True
        for path in sorted(files):
            archive.add(path, arcname=str(path), recursive=False)
        for name in ("run", "tmp"):
            archive.addfile(_directory(name))
    with closing(docker.from_env()) as client:
        client.api.import_image_from_data(content.getvalue(), REPOSITORY, TAG)
        yield f"{REPOSITORY}:{TAG}"
        client.images.remove(f"{REPOSITORY}:{TAG}", force=True)


def _directory(name: str) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.mode = tarfile.DIRTYPE, 0o1777
    return made


async def test_a_container_beside_the_victim_cuts_and_mends(
    cluster: Cluster, tools: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(IMAGE_VARIABLE, tools)
    node, other = cluster.target.nodes[:2]
    links = links_of(Engine.connect(), cluster.target.container_of(node), is_host=False)

    links.stop({cluster.target.address_of(other): Condition(is_cut=True)})

    async def is_felt() -> bool:
        return links.take_stopped() > 0

    await wait_until(is_felt, what="packets to be dropped", timeout_seconds=30)
    links.mend()
    assert links.take_stopped() == 0


async def test_an_image_without_the_tools_is_named(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = cluster.target.image
    monkeypatch.setenv(IMAGE_VARIABLE, image)
    links = links_of(Engine.connect(), cluster.target.container_of("node1"), is_host=False)

    with pytest.raises(Unsupported, match=f"{image} has no "):
        links.stop({})
