"""Idempotency keys: where a submission gives its own, and which submissions are the same.

The machine compares digests of bodies and knows nothing of how they were written. Here two bodies
are one when they are equal after defaults are filled in, in whatever format and order of members.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from cluster.core.model import NO_EXTRAS, Idempotency, NewTask
from gateway import checks
from gateway.checks import Invalid
from gateway.encoding import canonical
from gateway.fields import Members
from gateway.shapes import IDEMPOTENCY_KEY

HEADER = "Idempotency-Key"
_DIGEST_BYTES = 16  # More than chance can make two bodies share.


def key_of(members: Members, headers: Mapping[str, str]) -> str | None:
    """The key that a submission gives as a member or as a header, or as both if they are equal."""
    given = members.get(IDEMPOTENCY_KEY, None)
    if HEADER not in headers:
        return given
    try:
        key = _check_header(headers[HEADER])
    except Invalid as error:
        members.refuse(HEADER, error.errors[0][1])
        return None
    if given is not None and given != key:
        members.refuse(HEADER, f"differs from {IDEMPOTENCY_KEY.name}: give one of the two")
    return key


def keyed(new: NewTask, key: str, data: object) -> NewTask:
    """*new*, whose payload is *data*, under *key*. Its id, sender and trace are not of its body."""
    meta = (new.extras or NO_EXTRAS).meta
    described = new.kind._replace(content_type="")
    body = canonical([data, described, new.delay_ms, new.run_at_ms, meta])
    digest = blake2b(body.encode(), digest_size=_DIGEST_BYTES).digest()
    return new._replace(idempotency=Idempotency(key, digest))


def _check_header(value: str) -> str:
    """The header's text: HTTP puts no end to its length, and carries any bytes."""
    if not value.isprintable():
        raise checks.refused("must be readable text in UTF-8")
    return IDEMPOTENCY_KEY.check(value)
