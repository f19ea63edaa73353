"""What the options mean, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.errors import ConfigurationError
from node.config import (
    Address,
    parse_address,
    parse_members,
    parse_nodes,
    read_secret,
    refuse_open_bind,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:5000", Address("127.0.0.1", 5000)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:7600", Address("::1", 7600)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "5000", ":5000", "host:", "host:x", "host:65536", "host:-1"),
        *("host:" + "1" * 5_000, "a" * 64 + ":1", "a b:1", "a..b:1"),
    ],
)
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an address"):
        parse_address(text)


def test_members_keep_the_order_in_which_they_were_given() -> None:
    members = parse_members("node2=127.0.0.1:7601, node1=127.0.0.1:7600")

    assert list(members.items()) == [("node2", "127.0.0.1:7601"), ("node1", "127.0.0.1:7600")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no member"),
        ("127.0.0.1:7600", "is not a member"),
        ("=127.0.0.1:7600", "is not a member"),
        ("a=127.0.0.1:1,a=127.0.0.1:2", "names a twice"),
        ("a=127.0.0.1:1,b=127.0.0.1:1", "to two nodes"),
    ],
)
def test_members_that_contradict_each_other_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_members(text)


def test_nodes_are_names_and_urls() -> None:
    nodes = parse_nodes("b=http://127.0.0.1:5001/, a=https://host")

    assert list(nodes.items()) == [("b", "http://127.0.0.1:5001"), ("a", "https://host")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no node"),
        ("http://127.0.0.1:5000", "is not a node"),
        ("a=127.0.0.1:5000", "is not a node"),
        ("a=http://", "is not a node"),
        ("a=http://[::1", "is not a node"),
        ("a=http://h:99999", "is not a node"),
        (f"a=http://{'h' * 70}", "is not a node"),
        ("a=http://h:1,a=http://h:2", "names a twice"),
    ],
)
def test_nodes_that_cannot_be_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_nodes(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_a_loopback_bind_needs_no_secret(host: str) -> None:
    refuse_open_bind({"--http": Address(host, 5000)}, is_proved=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "node1.example"])  # noqa: S104
def test_an_open_bind_without_a_secret_is_refused_with_the_mend(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--raft-bind .*openssl rand .*--secret-file"):
        refuse_open_bind({"--raft-bind": Address(host, 7600)}, is_proved=False)


def test_an_open_bind_with_a_secret_is_taken() -> None:
    refuse_open_bind({"--http": Address("0.0.0.0", 5000)}, is_proved=True)  # noqa: S104


def test_a_secret_is_read_without_the_white_space_around_it(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"0123456789abcdef\n")

    assert read_secret(file) == b"0123456789abcdef"


def test_a_secret_that_is_too_short_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"hunter2\n")

    with pytest.raises(ConfigurationError, match="holds 7 bytes"):
        read_secret(file)


def test_a_secret_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_secret(tmp_path / "nowhere")
