"""Shapes of bodies: every field that a request may hold, with its limits and its meaning.

What is listed here is what `schema.py` reads and what `/openapi.json` tells: there is no other
list.
"""

from __future__ import annotations

from collections.abc import Mapping

from cluster.core.model import DEFAULT_QUEUE, PRIORITY_MAX, PRIORITY_NORMAL, SLOTS_MAX, Policy
from gateway import checks, defaults
from gateway.checks import Check, Invalid
from gateway.fields import Field, Shape

SECONDS_MAX = defaults.DELAY_SECONDS_MAX
EPOCH_MAX = (1 << 62) - 1  # Of an offer over `/connect`: the machine counts two for each.
LEASES_NAMED_MAX = 10 * SLOTS_MAX  # Tokens that a heartbeat may name, long lost ones among them.
BATCH_TASKS_MAX = 1_000

PRIORITIES: Mapping[str, int] = {"low": 1, "normal": PRIORITY_NORMAL, "high": 7, "critical": 9}


def _check_priority() -> Check[int]:
    words = ", ".join(PRIORITIES)
    number = checks.integer(0, PRIORITY_MAX)

    def read(value: object) -> int:
        if isinstance(value, str) and value in PRIORITIES:
            return PRIORITIES[value]
        try:
            return number(value)
        except Invalid:
            known = f"must be one of {words}, or an integer from 0 to {PRIORITY_MAX}"
            raise checks.refused(known) from None

    return Check(read, {"anyOf": [{"type": "string", "enum": list(PRIORITIES)}, number.schema]})


check_type = checks.text(characters_max=255)
check_name = checks.name()
check_token = checks.integer(1, (1 << 63) - 1)
_check_tags = checks.list_of(checks.text(characters_max=128), items_max=32)
_check_seconds = checks.thousandths(0, SECONDS_MAX)
_check_some_seconds = checks.thousandths(0.001, SECONDS_MAX)
_check_tokens = checks.list_of(check_token, items_max=LEASES_NAMED_MAX)

# A submission's waits between attempts.

INITIAL = Field("initial", defaults.check_delay, "Seconds before the first retry.")
MULTIPLIER = Field("multiplier", defaults.check_multiplier, "By how much each wait is longer.")
MAX = Field("max", defaults.check_delay, "The longest wait, in seconds.")
JITTER = Field("jitter", defaults.check_jitter, "The part of each wait that chance decides.")
BACKOFF_MEMBERS = Shape("Backoff", INITIAL, MULTIPLIER, MAX, JITTER, what="backoff")

# A submission.

ID = Field("id", checks.uuid, "An id of the caller's choosing: the same again is the same task.")
TYPE = Field("type", check_type, "Which handler runs it.", is_required=True)
DATA = Field("data", checks.anything, "What the handler is given; 1 MiB at most.", is_required=True)
QUEUE = Field("queue", check_name, "Where it waits.", default=DEFAULT_QUEUE)
PRIORITY = Field("priority", _check_priority(), "Which goes first; 9 before 0.", default="normal")
DELAY = Field("delay", _check_seconds, "Seconds before it may run; not with `run_at`.", default=0)
RUN_AT = Field("run_at", checks.instant, "The time from which it may run; not with `delay`.")
MAX_ATTEMPTS = Field(
    "max_attempts",
    defaults.check_attempts,
    "How many runs may fail; 4, unless the node is told otherwise.",
)
BACKOFF = Field("backoff", BACKOFF_MEMBERS.nested(), "How long it waits between attempts.")
TIMEOUT = Field("timeout", _check_some_seconds, "Seconds that one run may take.")
TTL = Field("ttl", _check_some_seconds, "Seconds that it may wait before it expires.")
RETENTION = Field(
    *("retention", _check_seconds, "Seconds for which it is kept once it has ended."),
    default=Policy().retention_ms // 1_000,
)
REQUIRES = Field("requires", _check_tags, "Tags that its worker must have.", default=[])
META = Field(
    "meta",
    checks.string_map(entries_max=64, name_characters_max=256, characters_max=1_024),
    "The caller's own notes; they go with the task.",
    default={},
)
IDEMPOTENCY_KEY = Field(
    "idempotency_key",
    checks.text(characters_max=255),
    "The same key and body again is the same task, for 24 hours.",
)

SUBMISSION = Shape(
    "Submission",
    *(TYPE, DATA, ID, QUEUE, PRIORITY, DELAY, RUN_AT, MAX_ATTEMPTS, BACKOFF, TIMEOUT, TTL),
    *(RETENTION, REQUIRES, META, IDEMPOTENCY_KEY),
    # What the public contract names and this version does not do yet: refused, never ignored.
    unserved={"depends_on", "on_dependency", "key"},
    never_together=(DELAY, RUN_AT),
)

TASKS = Field(
    "tasks",
    checks.list_of(
        Check(checks.anything.read, SUBMISSION.reference), items_min=1, items_max=BATCH_TASKS_MAX
    ),
    "The tasks, of which all or none are taken.",
    is_required=True,
)
BATCH = Shape("Batch", TASKS)

# A worker's session.

_check_names = checks.list_of(check_name, items_max=64, items_min=1)

WORKER_ID = Field("id", checks.uuid, "An id of the caller's choosing, so that it can be repeated.")
QUEUES = Field("queues", _check_names, "The queues that it serves.", default=[DEFAULT_QUEUE])
TYPES = Field(
    *("types", checks.list_of(check_type, items_max=1_000), "What it can run; all if left out."),
    default=[],
)
TAGS = Field("tags", _check_tags, "What tasks may require of it.", default=[])
SLOTS = Field("slots", checks.integer(1, SLOTS_MAX), "How many tasks it runs at once.", default=1)
NAME = Field("name", checks.text(characters_max=128), "How it is listed; its id if left out.")
REGISTRATION = Shape("Registration", WORKER_ID, QUEUES, TYPES, TAGS, SLOTS, NAME)

WANTED_MAX = Field("max", checks.integer(1, SLOTS_MAX), "How many tasks, at most.", default=1)
WAIT = Field("wait", checks.wait_seconds, "Seconds to wait for one; 60 at most.", default=0)
REQUEST_ID = Field(
    "request_id",
    checks.text(characters_max=128),
    "Repeated, it gives the same leases while they stand.",
)
HELD = Field(
    "lease_tokens",
    _check_tokens,
    "The leases that it holds: what it was given besides these is given again, at once.",
)
WISH = Shape("Wish", WANTED_MAX, WAIT, REQUEST_ID, HELD)

LEASE_TOKENS = Field("lease_tokens", _check_tokens, "The leases that it still holds.", default=[])
HEARTBEAT = Shape("Heartbeat", LEASE_TOKENS)

EPOCH = Field(
    *("epoch", checks.integer(1, EPOCH_MAX), "Higher with every offer that the worker makes."),
    is_required=True,
)
OFFERED_SLOTS = Field(
    *("slots", checks.integer(0, SLOTS_MAX), "How many tasks it takes, those it holds included."),
    is_required=True,
)
OFFER = Shape("Offer", EPOCH, OFFERED_SLOTS, HELD)

# What a worker says of a run.

LEASE_TOKEN = Field("lease_token", check_token, "The lease under which it ran.", is_required=True)
RESULT = Field("result", checks.anything, "What came of it; null if left out; 1 MiB at most.")
ERROR = Field("error", checks.string, "What went wrong; 1 MiB at most.", is_required=True)
RETRY = Field("retry", checks.boolean, "Whether another attempt makes sense.", default=True)
PROGRESS = Field(
    "progress", checks.anything, "How far it is, in any form; 1 MiB at most.", is_required=True
)
COMPLETION = Shape("Completion", LEASE_TOKEN, RESULT)
FAILURE = Shape("Failure", LEASE_TOKEN, ERROR, RETRY)
HAND_BACK = Shape("HandBack", LEASE_TOKEN)
REPORT = Shape("Report", LEASE_TOKEN, PROGRESS)

# Dead letters.

DEAD_QUEUE = Field("queue", check_name, "Only those of this queue.")
DEAD_TYPE = Field("type", check_type, "Only those of this type.")
DEAD_FILTER = Shape("DeadFilter", DEAD_QUEUE, DEAD_TYPE)

NOTHING = Shape("Nothing")
