"""What the options mean: addresses, members, secrets.

Pure parsing and the rules between options; reads files where an option names one, binds nothing.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import NamedTuple

from cluster.errors import ConfigurationError
from cluster.raft.security import TlsFiles
from gateway.urls import is_host, is_url

PORT_MAX = 65_535
_PORT_DIGITS_MAX = 5
SECRET_BYTES_MIN = 16


class Address(NamedTuple):
    """A host and a port, written `host:port`, or `[host]:port` where the host holds colons."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; a name that is not localhost counts as open."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(text: str) -> Address:
    """Read `host:port`.

    Raises:
        ConfigurationError: it is not one; the message shows one that is.
    """
    host, colon, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not is_host(host) or not _is_port(port):
        raise ConfigurationError(f"{text!r} is not an address: write it as 127.0.0.1:5000")
    return Address(host, int(port))


def _is_port(text: str) -> bool:
    is_number = text.isascii() and text.isdigit() and len(text) <= _PORT_DIGITS_MAX
    return is_number and int(text) <= PORT_MAX


def parse_members(text: str) -> dict[str, str]:
    """Read `node1=127.0.0.1:7600,node2=…` as node id -> Raft address, in the order given.

    Raises:
        ConfigurationError: an entry is not `id=host:port`, or an id or an address comes twice.
    """
    members: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        node_id, equals, address = entry.partition("=")
        if not equals or not node_id.strip():
            raise ConfigurationError(
                f"{entry!r} in --cluster is not a member: write it as node1=127.0.0.1:7600"
            )
        if node_id in members:
            raise ConfigurationError(f"--cluster names {node_id} twice")
        raft = str(parse_address(address))
        if raft in members.values():
            raise ConfigurationError(f"--cluster gives the address {raft} to two nodes")
        members[node_id] = raft
    if not members:
        raise ConfigurationError("--cluster names no member: write node1=127.0.0.1:7600,…")
    return members


def parse_nodes(text: str) -> dict[str, str]:
    """Read `node1=http://127.0.0.1:5000,node2=…` as node id -> URL, in the order given.

    Raises:
        ConfigurationError: an entry is not `id=http://host:port`, or an id comes twice.
    """
    nodes: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        node_id, equals, url = entry.partition("=")
        if not equals or not node_id or not is_url(url):
            raise ConfigurationError(
                f"{entry!r} in --cluster is not a node: write it as node1=http://127.0.0.1:5000"
            )
        if node_id in nodes:
            raise ConfigurationError(f"--cluster names {node_id} twice")
        nodes[node_id] = url.rstrip("/")
    if not nodes:
        raise ConfigurationError("--cluster names no node: write node1=http://127.0.0.1:5000,…")
    return nodes


def read_secret(path: Path | None) -> bytes | None:
    """Read the cluster's shared secret; surrounding white space is not part of it.

    Raises:
        ConfigurationError: the file cannot be read, or holds too little to be a secret.
    """
    if path is None:
        return None
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"--secret-file {path} cannot be read: {error.strerror}") from None
    if len(secret) < SECRET_BYTES_MIN:
        raise ConfigurationError(
            f"--secret-file {path} holds {len(secret)} bytes, and a secret has at least"
            f" {SECRET_BYTES_MIN}: make one with `openssl rand -hex 32 > {path}`"
        )
    return secret


def parse_tls(certificate: str | None, key: str | None, authority: str | None) -> TlsFiles | None:
    """The files for mutual TLS between nodes: all three, or none.

    Raises:
        ConfigurationError: one is missing, or cannot be read; says which.
    """
    given = {"--tls-cert": certificate, "--tls-key": key, "--tls-ca": authority}
    if not any(given.values()):
        return None
    for option, path in given.items():
        if not path:
            raise ConfigurationError(f"{option} is missing: TLS needs {', '.join(given)} together")
        if not Path(path).is_file():
            raise ConfigurationError(f"{option} {path} is not a file")
    return TlsFiles(str(certificate), str(key), str(authority))


def refuse_open_bind(addresses: dict[str, Address], *, is_proved: bool) -> None:
    """Hold that whoever can reach the Raft port must prove that he belongs.

    Raises:
        ConfigurationError: an address is open to other machines, and nothing is to be proved.
    """
    if is_proved:
        return
    for option, address in addresses.items():
        if not address.is_loopback:
            raise ConfigurationError(
                f"{option} {address} can be reached from other machines, and the cluster has no"
                " secret: make one with `openssl rand -hex 32 > quorate.secret`, give every node"
                " --secret-file quorate.secret, or bind to 127.0.0.1"
            )
