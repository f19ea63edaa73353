"""Who may speak: the cluster's secret and certificates, on real sockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from cluster.raft.security import Security, TlsFiles

MakeGroup = Callable[..., Awaitable[Any]]


def files_for(authority: trustme.CA, name: str, directory: Path) -> TlsFiles:
    issued = authority.issue_cert(name)
    paths = [directory / f"{name}.{kind}" for kind in ("pem", "key", "ca")]
    issued.cert_chain_pems[0].write_to_path(paths[0])
    issued.private_key_pem.write_to_path(paths[1])
    authority.cert_pem.write_to_path(paths[2])
    return TlsFiles(*map(str, paths))


async def test_members_that_know_the_secret_form_a_cluster(group: MakeGroup) -> None:
    secret = Security(secret=b"a secret of some length")
    members = await group(3, security=dict.fromkeys(["node1", "node2", "node3"], secret))

    leader = await members.leader()
    index, _ = leader.append(b"x")

    await leader.until(lambda: leader.engine.applied_index >= index)


@pytest.mark.parametrize("stranger", ["node1", "node2", "node3"])
async def test_a_member_with_another_secret_is_not_spoken_to(
    group: MakeGroup, stranger: str, caplog: pytest.LogCaptureFixture
) -> None:
    security = dict.fromkeys(
        ["node1", "node2", "node3"], Security(secret=b"a secret of some length")
    )
    security[stranger] = Security(secret=b"another secret, as long")
    members = await group(3, security=security)
    others = [member for member in members.members.values() if member.node_id != stranger]

    await others[0].until(lambda: others[1].node_id in others[0].driver.mesh.links)
    await others[0].until(lambda: "does not know this cluster's secret" in caplog.text)

    assert all(stranger not in member.driver.mesh.links for member in others)


async def test_a_member_without_the_secret_is_not_spoken_to(
    group: MakeGroup, caplog: pytest.LogCaptureFixture
) -> None:
    security = {"node1": Security(secret=b"a secret of some length"), "node2": Security()}
    members = await group(2, security=security)

    await members.members["node1"].until(
        lambda: "does not know this cluster's secret" in caplog.text
    )

    assert not members.members["node1"].driver.mesh.links


async def test_members_with_certificates_of_one_authority_form_a_cluster(
    group: MakeGroup, tmp_path: Path
) -> None:
    authority = trustme.CA()
    security = {
        name: Security.of(secret=None, tls=files_for(authority, name, tmp_path))
        for name in ("node1", "node2", "node3")
    }
    members = await group(3, security=security)

    leader = await members.leader()
    index, _ = leader.append(b"x")

    await leader.until(lambda: leader.engine.applied_index >= index)


async def test_a_certificate_that_names_another_node_is_refused(
    group: MakeGroup, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = trustme.CA()
    security = {
        "node1": Security.of(secret=None, tls=files_for(authority, "node1", tmp_path)),
        "node2": Security.of(secret=None, tls=files_for(authority, "node9", tmp_path)),
    }
    members = await group(2, security=security)

    await members.members["node1"].until(
        lambda: "the certificate names node9, not node2" in caplog.text
    )

    assert not members.members["node1"].driver.mesh.links


async def test_a_certificate_of_another_authority_is_refused(
    group: MakeGroup, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    security = {
        name: Security.of(secret=None, tls=files_for(trustme.CA(), name, tmp_path))
        for name in ("node1", "node2")
    }
    members = await group(2, security=security)

    await members.members["node1"].until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)

    assert not members.members["node1"].driver.mesh.links
