"""URLs of nodes, as people give them."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from cluster.errors import ConfigurationError

_SCHEMES = frozenset({"http", "https"})


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


def is_url(text: str) -> bool:
    """Whether a client could ask there: scheme, host, a port that there is, and room for a path."""
    try:
        parts = urlsplit(text)
        is_place = is_host(parts.hostname or "") and parts.port != 0
    except ValueError:  # Brackets that do not match, or no port.
        return False
    return parts.scheme in _SCHEMES and is_place and not parts.query and not parts.fragment


def is_host(name: str) -> bool:
    """Whether resolvers take the name, known or not: they raise at a label of 64 characters."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return bool(name) and name.isprintable() and " " not in name


def _parse_url(text: str) -> str:
    url = text if "://" in text else f"http://{text}"
    if not is_url(url):
        raise ConfigurationError(f"{text!r} is no node's URL: write it as http://127.0.0.1:5000")
    return url.rstrip("/")
