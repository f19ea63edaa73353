"""One exchange over HTTP: a request as a call, and a reply as an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from aiohttp import web

from gateway import accepting
from gateway.aside import aside
from gateway.bodies import bodies
from gateway.bulk import LINES, decode_bulk
from gateway.calls import Body, Call, Handler
from gateway.encoding import Format, Undecodable, decode, json_bytes_min
from gateway.problems import FieldError, Problem, invalid, too_large
from gateway.service import Service
from gateway.writing import INLINE_BYTES_MAX, written

T = TypeVar("T")

CONTENT_BYTES_MAX = 2 << 20  # Of one task or outcome, whitespace and escapes aside.

FORM = "application/x-www-form-urlencoded"  # What curl -d says when it is not told otherwise.


class HttpCall(Call):
    """A call that came as an HTTP request."""

    __slots__ = ("_request",)

    def __init__(self, service: Service, request: web.Request) -> None:
        super().__init__(service, path=request.match_info, headers=request.headers)
        self._request = request

    @property
    def query(self) -> Mapping[str, object]:
        query = self._request.query
        doubled = sorted({name for name in query if len(query.getall(name)) > 1})
        if doubled:
            raise invalid([FieldError(name[:64], "is given more than once") for name in doubled])
        return query

    async def parse(
        self, parse: Callable[[Body], T], *, empty: object | None = None, many: str | None = None
    ) -> T:
        if empty is not None and not self._request.can_read_body:
            return parse(Body(empty, Format.JSON))  # Whatever format a client names for nothing.
        media = _media_of(self._request, is_bulk=many is not None)
        with bodies.reading(self._request) as reader:
            content = await reader.content()
            if not content and empty is not None:
                return parse(Body(empty, _written_in(media)))
            if len(content) <= INLINE_BYTES_MAX:
                return _parsed(content, media, parse, many)
            return await aside(_parsed, content, media, parse, many)


async def exchange(request: web.Request, handler: Handler, service: Service) -> web.Response:
    """Answer *request* in the format that it accepts, which is settled before anything is done."""
    accepted = _accepted(request)
    reply = await handler(HttpCall(service, request))
    return web.Response(
        status=reply.status,
        body=await written(reply.value, accepted),
        content_type=accepted.value,
        headers=reply.headers,
    )


def _parsed(content: bytes, media: str, parse: Callable[[Body], T], many: str | None) -> T:
    try:
        value = _decoded(content, media) if many is None else decode_bulk(content, media, many)
    except Undecodable as error:
        raise Problem("undecodable", str(error)) from None
    return parse(Body(value, _written_in(media)))


def _decoded(content: bytes, media: str) -> object:
    # Looked at before it is read: five million empty lists hold the loop up even from a thread.
    size = json_bytes_min(content) if media == Format.JSON else len(content)
    if size > CONTENT_BYTES_MAX:
        raise too_large(CONTENT_BYTES_MAX)
    return decode(content, Format(media))


def _written_in(media: str) -> Format:
    """The format of each object in a body of that media type."""
    return Format.JSON if media == LINES else Format(media)


def _accepted(request: web.Request) -> Format:
    """The format with the highest weight in Accept (RFC 9110, §12.5.1); JSON when all are equal."""
    header = accepting.header_of(request)
    if not header.strip():
        return Format.JSON
    weights = {format_: accepting.weight(header, format_) for format_ in Format}
    best = max(Format, key=lambda format_: weights[format_])
    if weights[best] > 0:
        return best
    served = " and ".join(Format)
    raise Problem("not_acceptable", f"Accept: {header[:100]!r} matches none of {served}")


def _media_of(request: web.Request, *, is_bulk: bool) -> str:
    """The media type that the body says it has; one that says nothing is JSON."""
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding != "identity":
        raise Problem(
            "unsupported_media_type", f"Content-Encoding {coding[:64]!r} is not read here"
        )
    given = request.headers.get("Content-Type", "").strip()
    if not given:
        return Format.JSON
    charset = (request.charset or "utf-8").lower()
    taken = (*Format, LINES) if is_bulk else tuple(Format)
    if request.content_type in taken and charset in ("utf-8", "utf8"):
        return request.content_type
    hint = f"; send the header Content-Type: {Format.JSON}" if request.content_type == FORM else ""
    raise Problem(
        "unsupported_media_type",
        f"Content-Type {given[:100]!r} is none of {', '.join(taken)}, in UTF-8{hint}",
        headers={"Accept": ", ".join(taken)},
    )
