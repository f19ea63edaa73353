"""URLs of nodes, as people give them."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.errors import ConfigurationError


def parse_urls(given: str | Iterable[str]) -> tuple[str, ...]:
    """The nodes' URLs, of a list or of text with commas; a bare `host:port` is taken as http.

    Raises:
        ConfigurationError: there is none, or one has another scheme.
    """
    parts = given.split(",") if isinstance(given, str) else given
    urls = tuple(map(_parse_url, filter(None, (part.strip() for part in parts))))
    if not urls:
        raise ConfigurationError("no URL names a node: write http://127.0.0.1:5000")
    return urls


def _parse_url(text: str) -> str:
    url = text if "://" in text else f"http://{text}"
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{text!r} is no node's URL: it begins with http:// or https://")
    return url.rstrip("/")
