"""Problems: how every refusal and failure is told to a client (RFC 9457).

One table holds every code with its status and title; nothing else in the gateway spells a status of
an error. `error` repeats the detail for clients that read only that.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiohttp import web

from cluster.core.commands import Refusal, Refused
from cluster.errors import (
    ChangeRefused,
    EntriesGone,
    MemberUnknown,
    NotCaughtUp,
    NotCommitted,
    OutcomeUnknown,
    Overloaded,
    QuorateError,
)

CONTENT_TYPE = "application/problem+json"
ERRORS_MAX = 50  # A body of a million wrong members is told of its first fifty.
RETRY_LATER = {"Retry-After": "1"}  # Seconds: an election takes about as long.


class Kind(NamedTuple):
    """What all problems of one code share."""

    status: int
    title: str


KINDS: Mapping[str, Kind] = {
    "undecodable": Kind(400, "The body cannot be read"),
    "bad_request": Kind(400, "The request is not HTTP as it should be"),
    "forbidden_host": Kind(403, "The request was meant for another host"),
    "forbidden_origin": Kind(403, "The request comes from another site's page"),
    "not_found": Kind(404, "Nothing is served at this path"),
    "task_unknown": Kind(404, "There is no such task"),
    "worker_unknown": Kind(404, "There is no such worker"),
    "member_unknown": Kind(404, "There is no such member"),
    "operation_unknown": Kind(404, "There is no such operation"),
    "method_not_allowed": Kind(405, "This path does not take this method"),
    "not_acceptable": Kind(406, "Nothing that the client accepts can be served"),
    "request_timeout": Kind(408, "The body did not arrive in time"),
    "lease_lost": Kind(409, "The lease is no longer the caller's"),
    "id_conflict": Kind(409, "The id belongs to a task with another body"),
    "not_cancellable": Kind(409, "The task has already ended"),
    "not_retryable": Kind(409, "The task has not ended in failure"),
    "not_removable": Kind(409, "The task is no dead letter"),
    "idempotency_conflict": Kind(409, "The idempotency key stands for another body"),
    "operation_conflict": Kind(409, "The id belongs to another operation"),
    "change_refused": Kind(409, "The cluster cannot be changed so, now"),
    "offer_superseded": Kind(409, "A newer offer of the worker stands"),
    "worker_lost": Kind(410, "The worker's session has ended"),
    "events_gone": Kind(410, "The events after this position are no longer kept"),
    "entries_gone": Kind(410, "The log no longer reaches back so far"),
    "too_large": Kind(413, "The request holds more than is taken"),
    "unsupported_media_type": Kind(415, "The body is in a format that is not read here"),
    "expectation_failed": Kind(417, "The expectation cannot be met"),
    "invalid": Kind(422, "The request's fields are not as they should be"),
    "upgrade_required": Kind(426, "This path speaks WebSocket"),
    "cluster_full": Kind(429, "The cluster has no room for another task"),
    "idempotency_full": Kind(429, "The cluster has no room for another idempotency key"),
    "operations_full": Kind(429, "Too many operations are not finished yet"),
    "queues_full": Kind(429, "Too many queues are paused"),
    "overloaded": Kind(429, "The node has too much to do"),
    "internal": Kind(500, "The gateway failed"),
    "starting": Kind(503, "The node is loading its state: it did not happen"),
    "stopping": Kind(503, "The node is stopping: it did not happen"),
    "no_quorum": Kind(503, "The cluster has no quorum: it did not happen"),
    "not_caught_up": Kind(503, "This node is behind the asked-for index"),
    "outcome_unknown": Kind(504, "It may have happened: repeat it with the same id"),
}
_BY_STATUS = {
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    417: "expectation_failed",
}
_RETRIED_LATER = tuple(code for code, kind in KINDS.items() if kind.status in (429, 503))


class FieldError(NamedTuple):
    """What is wrong with one field: the path to it, and what, which and the limit."""

    field: str
    message: str


class Problem(Exception):
    """The answer is a problem. Raise it anywhere under a handler."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,  # Beyond those that every problem has.
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})
        if code in _RETRIED_LATER:
            self.headers = {**RETRY_LATER, **self.headers}

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return KINDS[self.code].status

    def body(self) -> dict[str, object]:
        """The problem's members, `error` among them for the simplest of clients."""
        members: dict[str, object] = {
            "type": f"/docs#{self.code}",
            "title": KINDS[self.code].title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "error": self.detail,
        }
        if self.errors:
            members["errors"] = [error._asdict() for error in self.errors[:ERRORS_MAX]]
        return members | self.members

    def response(self) -> web.Response:
        """The problem as an answer; always JSON, the only such format that the RFC knows."""
        body = json.dumps(self.body(), ensure_ascii=False).encode("utf-8", "replace")
        return web.Response(
            status=self.status, body=body, content_type=CONTENT_TYPE, headers=self.headers
        )


def invalid(errors: Sequence[FieldError]) -> Problem:
    """The problem of fields that are not as they should be, each named."""
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    where = f"{first.field}: " if first.field else ""  # Without a field it is the whole body.
    return Problem("invalid", f"{where}{first.message}{more}", errors=errors)


def of_refusal(refused: Refused, headers: Mapping[str, str]) -> Problem:
    """The machine's no, as a problem of the same code."""
    return Problem(_code_of(refused.refusal), refused.detail, headers=headers)


def of_error(error: QuorateError) -> Problem:
    """What the replica raised, as a problem: whether it may have happened decides the code."""
    if isinstance(error, Overloaded):
        return Problem("overloaded", str(error))
    if isinstance(error, NotCommitted):
        return Problem("no_quorum", str(error))
    if isinstance(error, OutcomeUnknown):
        return Problem("outcome_unknown", str(error))
    if isinstance(error, NotCaughtUp):
        return Problem("not_caught_up", str(error))
    if isinstance(error, MemberUnknown):
        return Problem("member_unknown", str(error))
    if isinstance(error, ChangeRefused):
        return Problem("change_refused", str(error))
    if isinstance(error, EntriesGone):
        return Problem("entries_gone", str(error), members={"first": error.first})
    return _unforeseen()


def of_failure(error: Exception, what: str, log: logging.Logger) -> Problem:
    """Whatever *what* raised, as a problem; what nobody foresaw is a 500 and a trace in *log*."""
    if isinstance(error, Problem):
        return error
    problem = of_error(error) if isinstance(error, QuorateError) else _unforeseen()
    if problem.code == "internal":
        log.error("%s failed", what, exc_info=error)
    return problem


def of_http(error: web.HTTPException, request: web.BaseRequest) -> Problem:
    """What aiohttp itself answers (no such path, no such method), as a problem."""
    code = _BY_STATUS.get(error.status, "bad_request" if error.status < 500 else "internal")
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    detail = f"{request.method} {request.path[:200]}: {error.reason}"
    return Problem(code, detail, headers=headers)


def too_large(limit: int) -> Problem:
    """The problem of a body that is over the limit, in bytes."""
    return Problem("too_large", f"the body is over the limit of {limit:,} bytes")


def _unforeseen() -> Problem:
    return Problem("internal", "an unexpected error; the node's log has it")


def _code_of(refusal: Refusal) -> str:
    # A refusal added to the core without a line in the table is a bug; a test compares the two.
    return str(refusal)
