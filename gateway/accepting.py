"""What a client accepts: how much its Accept header wants a media type (RFC 9110, §12.5.1)."""

from __future__ import annotations

from aiohttp import web


def header_of(request: web.Request) -> str:
    """The whole of Accept, however many lines it came in; empty when it was left out."""
    return ",".join(request.headers.getall("Accept", []))


def weight(header: str, media: str) -> float:
    """How much *header* wants *media*: the most specific range that matches it decides."""
    ranges = (media, f"{media.partition('/')[0]}/*", "*/*")
    found: dict[str, float] = {}
    for written in header.split(","):
        named, *parameters = (part.strip().lower() for part in written.split(";"))
        if named in ranges:
            found[named] = _quality(parameters)
    return next((found[named] for named in ranges if named in found), 0.0)


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
