"""Keeping web pages out: a browser on this machine must not drive a node that trusts its machine.

A page of another site can send a write without asking (a request with no content type needs no
preflight, Fetch standard), and by DNS rebinding can pass for this site. Browsers say where a write
comes from in `Origin` and whom they mean in `Host`; pages cannot forge either. Programs send no
`Origin`, and a `Host` that they were given.
"""

from __future__ import annotations

import functools
import ipaddress
from urllib.parse import urlsplit

from aiohttp import web

from gateway.problems import Problem

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def check(request: web.Request) -> None:
    """Refuse what a page of another site sent.

    Raises:
        Problem: `forbidden_host` or `forbidden_origin`; the request was not looked at further.
    """
    host = request.headers.get("Host", "")
    if _came_over_loopback(request) and not _is_loopback(_hostname(host)):
        raise Problem(
            "forbidden_host",
            f"Host {host!r:.100} is not this machine's loopback: ask for localhost or 127.0.0.1",
        )
    origin = request.headers.get("Origin")
    is_safe = request.method in _SAFE_METHODS and "Upgrade" not in request.headers
    if is_safe or origin is None:
        return
    # A page may open a WebSocket to anywhere, with a GET; what it then sends is checked no more.
    if _authority(origin).lower() != host.lower() or not host:
        raise Problem("forbidden_origin", f"a page of {origin!r:.100} may not drive {host!r:.100}")


def _came_over_loopback(request: web.Request) -> bool:
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return name is not None and _is_loopback(str(name[0]))


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


@functools.lru_cache(maxsize=256)  # Nearly every request names one of a few.
def _is_loopback(name: str) -> bool:
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
