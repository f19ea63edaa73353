"""URLs of nodes, as people give them."""

from __future__ import annotations

from collections.abc import Iterable

from yarl import URL

from cluster.errors import ConfigurationError

SCHEMES = frozenset({"http", "https"})
PORT_MAX = 65_535


def parse_urls(given: str | Iterable[str]) -> tuple[str, ...]:
    """The nodes' URLs, of a list or of text with commas; a bare `host:port` is taken as http.

    Raises:
        ConfigurationError, which is a ValueError: there is none, or one that no client could use.
    """
    parts = given.split(",") if isinstance(given, str) else given
    urls = tuple(map(_parse_url, filter(None, (part.strip() for part in parts))))
    if not urls:
        raise ConfigurationError("no URL names a node: write http://127.0.0.1:5000")
    return urls


def _parse_url(text: str) -> str:
    url = text if "://" in text else f"http://{text}"
    if not _is_usable(url):
        raise ConfigurationError(
            f"{text!r} is no node's URL: write it as http://127.0.0.1:5000, or with https://;"
            f" ports go up to {PORT_MAX}"
        )
    return url.rstrip("/")


def _is_usable(url: str) -> bool:
    """Whether aiohttp can connect to it, and a path be put behind it."""
    try:
        parts = URL(url)
    except ValueError:
        return False
    has_path_last = not parts.query_string and not parts.fragment
    return parts.scheme in SCHEMES and bool(parts.host and parts.port) and has_path_last
