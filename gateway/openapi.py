"""`GET /openapi.json`: the API described for programs (OpenAPI 3.1), from the routes themselves.

Nothing is listed here a second time: paths come from the routes, fields and limits from the shapes
that bodies and queries are read by, codes from the table of problems.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from gateway import answers, queries
from gateway.answers import Answer
from gateway.bodies import BODY_BYTES_MAX
from gateway.bulk import LINES, VALUES_MAX
from gateway.checks import Schema
from gateway.encoding import Format
from gateway.exchange import CONTENT_BYTES_MAX
from gateway.fields import Field, Shape
from gateway.frames import PATH, PROTOCOL
from gateway.idempotency import HEADER
from gateway.problems import CONTENT_TYPE, KINDS
from gateway.routes import ROUTES, STREAMS
from gateway.routing import Route, Stream
from gateway.shapes import IDEMPOTENCY_KEY, SUBMISSION

OPENAPI = "3.1.0"
DESCRIPTION = (
    "A durable task queue that replicates itself. Every path works on any node, whoever leads. "
    "Bodies are JSON or msgpack, by Content-Type and Accept; errors are problem+json (RFC 9457)."
)
_ALWAYS = ("forbidden_host", "starting")
_NEGOTIATED = ("not_acceptable",)
_WRITING = ("forbidden_origin", "overloaded", "no_quorum", "outcome_unknown")
_READING = ("overloaded", "no_quorum", "not_caught_up")
_WITH_BODY = ("undecodable", "request_timeout", "too_large", "unsupported_media_type", "invalid")
_STATIC = (  # Paths beside the routes: what each is, in which form.
    ("/openapi.json", "Describe the API for programs.", Format.JSON.value),
    ("/docs", "Describe the API for people.", "text/html"),
)
_STATE_HEADERS: Schema = {
    name: {"schema": {"type": "integer", "minimum": 0}}
    for name in ("Quorate-Applied-Index", "Quorate-Term")
}
_STALENESS: Schema = {
    "Quorate-Staleness": {
        "description": "Of a stale read: seconds since its node heard the leader, or `inf`.",
        "schema": {"type": "string"},
    }
}
_LOCATION: Schema = {"Location": {"description": "Of what was made.", "schema": {"type": "string"}}}
_LOCATED = (answers.SUBMITTED_TASK, answers.SESSION, answers.STARTED)
_APPLIED_PREFERENCE: Schema = {
    "Preference-Applied": {"description": "If one was.", "schema": {"type": "string"}}
}
_PREFER: Schema = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`return=minimal`: answer with id and status alone (RFC 7240).",
    "schema": {"type": "string"},
}


@cache
def document() -> Mapping[str, Any]:
    """The whole description. It is the same for as long as the program runs: do not change it."""
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for route in ROUTES:
        paths[route.path][route.method.lower()] = _operation(route)
    for stream in STREAMS:
        paths[stream.path]["get"] = _stream(stream)
    for path, says, media in _STATIC:
        paths[path]["get"] = _page(path, says, {"200": _content(media)})
    paths[PATH]["get"] = _connect()
    return {
        "openapi": OPENAPI,
        "info": {"title": "Quorate", "version": version("quorate"), "description": DESCRIPTION},
        "paths": dict(paths),
        "components": {"schemas": _schemas()},
    }


def problem_codes(route: Route) -> tuple[str, ...]:
    """Every code that a route's refusals can have, in the order of the table."""
    told = route.told
    codes = {*_ALWAYS, *_NEGOTIATED, *told.problems}
    if told.query.fields or route.method != "GET":
        codes.add("invalid")
    if route.method != "GET":
        codes.update(_WRITING)
    elif queries.CONSISTENCY in told.query.fields:
        codes.update(_READING)
    if told.body is not None:
        codes.update(_WITH_BODY)
    return tuple(code for code in KINDS if code in codes)


def _operation(route: Route) -> dict[str, Any]:
    told = route.told
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": told.says,
        "tags": [_tag(route.path)],
        "parameters": [*_path_parameters(route), *_query_parameters(told.query)],
        "responses": {
            str(status): _answered(told.answer, _headers(route))
            for status in (told.status, *told.also)
        }
        | _refused(problem_codes(route), but=told.also),
    }
    if told.body is SUBMISSION:
        operation["parameters"] += [_idempotency_header(), _PREFER]
    if told.body is not None:
        operation["requestBody"] = _body(told.body, is_bulk=told.takes_lines)
    return operation


def _stream(stream: Stream) -> dict[str, Any]:
    codes = {*_ALWAYS, *_NEGOTIATED, *stream.problems}
    if stream.query.fields:
        codes.add("invalid")
    refused = _refused(code for code in KINDS if code in codes)
    page = _page(stream.path, stream.says, {"200": _content(stream.media)} | refused)
    return page | {"parameters": _query_parameters(stream.query)}


def _connect() -> dict[str, Any]:
    says = f"Open the WebSocket of the subprotocol {PROTOCOL}: calls, and what is pushed."
    switched = {"101": {"description": "The connection speaks it from now on."}}
    return _page(
        PATH, says, switched | _refused((*_ALWAYS, "forbidden_origin", "upgrade_required"))
    )


def _page(path: str, says: str, responses: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "operationId": path.strip("/").replace(".", "_"),
        "summary": says,
        "tags": [_tag(path)],
        "parameters": [],
        "responses": dict(responses),
    }


def _content(media: str) -> Schema:
    return {"description": "As asked for.", "content": {media: {"schema": {}}}}


def _tag(path: str) -> str:
    first = path.split("/")[1]
    return first if first in {"tasks", "dlq", "queues", "workers", "operations"} else "node"


def _is_own(route: Route) -> bool:
    """Whether it tells what its node knows itself, whatever others hold."""
    return route.method == "GET" and queries.CONSISTENCY not in route.told.query.fields


def _path_parameters(route: Route) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "schema": route.told.path[name].schema}
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _query_parameters(query: Shape) -> list[Schema]:
    return [_parameter(field, "query") for field in query.fields]


def _idempotency_header() -> Schema:
    return _parameter(IDEMPOTENCY_KEY, "header") | {"name": HEADER}


def _parameter(field: Field[Any], place: str) -> dict[str, Any]:
    default = {"default": field.default} if field.has_default else {}
    schema = {**field.check.schema, **default}
    return {"name": field.name, "in": place, "description": field.says, "schema": schema}


def _body(shape: Shape, *, is_bulk: bool) -> Schema:
    is_required = any(field.is_required for field in shape.fields)
    schema = shape.reference
    # A line is one object of the list that the other formats have.
    lines = {"type": "string", "description": "A task a line."}
    media = [*Format, LINES] if is_bulk else [*Format]
    limit = (
        f"{BODY_BYTES_MAX >> 20} MiB and {VALUES_MAX:,} values at most."
        if is_bulk
        else f"{CONTENT_BYTES_MAX >> 20} MiB at most; of JSON, whitespace and escapes aside."
    )
    return {
        "required": is_required,
        "description": limit,
        "content": {each: {"schema": lines if each == LINES else schema} for each in media},
    }


def _headers(route: Route) -> Schema:
    """The headers of a route's answers: which state they show, and where a thing made is."""
    if _is_own(route):
        return {}
    headers = dict(_STATE_HEADERS)
    if route.method == "GET":
        headers |= _STALENESS
    if route.told.answer in _LOCATED:
        headers |= _LOCATION
    if route.told.body is SUBMISSION:
        headers |= _APPLIED_PREFERENCE
    return headers


def _answered(answer: Answer, headers: Schema) -> Schema:
    schema = {"$ref": f"#/components/schemas/{answer.name}"}
    answered: dict[str, Any] = {
        "description": answer.name,
        "content": {format_.value: {"schema": schema} for format_ in Format},
    }
    if headers:
        answered["headers"] = headers
    return answered


def _refused(codes: Iterable[str], *, but: Iterable[int] = ()) -> dict[str, Any]:
    """The answers to refusals, those of one status together."""
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in codes:
        by_status[KINDS[code].status].append(code)
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        str(status): {
            "description": " ".join(f"`{code}`: {KINDS[code].title}." for code in listed),
            "content": content,
        }
        for status, listed in by_status.items()
        if status not in but
    }


def _schemas() -> dict[str, Schema]:
    shapes = {route.told.body.name: route.told.body for route in ROUTES if route.told.body}
    answers = {route.told.answer.name: route.told.answer for route in ROUTES}
    return {
        **{name: shape.schema for name, shape in sorted(shapes.items())},
        **{name: answer.schema for name, answer in sorted(answers.items())},
        "Problem": _problem(),
    }


def _problem() -> Schema:
    text = {"type": "string"}
    error = {
        "type": "object",
        "properties": {"field": text, "message": text},
        "required": ["field", "message"],
    }
    members: dict[str, Schema] = {
        "type": text,
        "title": text,
        "status": {"type": "integer"},
        "detail": text,
        "code": {"type": "string", "enum": list(KINDS)},
        "error": {**text, "description": "The detail again, for clients that read only that."},
        "errors": {"type": "array", "items": error, "description": "What is wrong, by field."},
    }
    required = [name for name in members if name != "errors"]
    return {"type": "object", "properties": members, "required": required}
