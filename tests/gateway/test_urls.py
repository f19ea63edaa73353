"""URLs as people give them to clients and workers."""

from __future__ import annotations

import re

import pytest

from cluster.errors import ConfigurationError
from gateway.client import Client
from gateway.urls import parse_urls


def test_a_url_without_a_scheme_is_http() -> None:
    assert parse_urls("127.0.0.1:5000, https://queue.example/") == (
        "http://127.0.0.1:5000",
        "https://queue.example",
    )


def test_urls_may_come_as_a_list() -> None:
    assert parse_urls(["http://a:1", "b:2/"]) == ("http://a:1", "http://b:2")


@pytest.mark.parametrize("given", ["", " , ", []])
def test_no_url_is_refused_with_one_to_write(given: str | list[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"write http://127\.0\.0\.1:5000"):
        parse_urls(given)


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://a", "http://", "http://[::1", "http://a℀b", "http://a b", "http://a..b"),
        *("http://a:0", "http://a:65536", "http://a:x", f"http://{'a' * 64}.example"),
        *("a:b", "http://a?x=1"),
    ],
)
def test_a_url_that_no_client_could_use_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{url!r} is no node's URL")):
        Client(f"http://a:1,{url}")


def test_a_url_may_have_a_path_and_need_no_port() -> None:
    assert parse_urls("https://queue.example/quorate/") == ("https://queue.example/quorate",)
