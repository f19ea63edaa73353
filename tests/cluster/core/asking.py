"""What may be asked of the machine, well or badly chosen: strategies for its commands.

Ids are few, so that most of what is asked is about something that is there.
"""

from __future__ import annotations

from hypothesis import strategies as st

from cluster.core.commands import (
    BeginTerm,
    Cancel,
    Complete,
    Drain,
    Fail,
    Heartbeat,
    Leave,
    Offer,
    Register,
    Release,
    Report,
    Resume,
    Retry,
    Submit,
    Suspend,
)
from cluster.core.model import Backoff, Idempotency, NewTask, Policy
from cluster.core.queue_commands import (
    PauseQueue,
    PurgeQueue,
    RemoveDead,
    ResumeQueue,
    RetryDead,
)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

IDS = st.sampled_from([f"t{n}" for n in range(12)])
WORKERS = st.sampled_from([f"w{n}" for n in range(5)])
NODES = st.sampled_from(["n1", "n2"])
QUEUES = st.sampled_from(["default", "other"])
TYPES = st.sampled_from(["x", "y"])
OPERATION_IDS = ("o0", "o1", "o2", "o3")
OPERATIONS = st.sampled_from(OPERATION_IDS)
TOKENS = st.integers(0, 20)
RESULTS = st.sampled_from([b"", b"1"])
SOME = st.integers(0, 11)  # Which of those there are.

POLICIES = st.builds(
    Policy,
    max_attempts=st.sampled_from([3, 2, 1]),
    backoff=st.just(Backoff(initial_ms=100, jitter_thousandths=0)),
    timeout_ms=st.sampled_from([None, 300]),
    ttl_ms=st.sampled_from([None, None, None, 500]),
    retention_ms=st.sampled_from([0, 2_000, DAY_MS, DAY_MS, DAY_MS]),
)
TASKS = st.builds(
    NewTask.of,
    id=IDS,
    type=TYPES,
    payload=st.sampled_from([b"", b"", b"", b"other"]),
    content_type=st.just("json"),
    queue=QUEUES,
    priority=st.sampled_from([0, 3, 4, 4, 5, 9]),
    delay_ms=st.sampled_from([0, 0, 200]),
    run_at_ms=st.sampled_from([None, None, None, 50, 1_500]),
    policy=POLICIES,
    requires=st.sampled_from([(), (), (), ("gpu",)]),
    meta=st.sampled_from([(), (), (("k", "v"),)]),
    idempotency=st.sampled_from(
        [*[None] * 8, Idempotency("k", b"1"), Idempotency("k", b"2"), Idempotency("l", b"1")]
    ),
)
SUBMISSIONS = st.builds(Submit, st.lists(TASKS, min_size=1, max_size=4).map(tuple))
REGISTRATIONS = st.builds(
    Register,
    worker_id=WORKERS,
    name=st.just("name"),
    queues=st.sampled_from([("default", "other"), ("default", "other"), ("other",)]),
    types=st.sampled_from([(), (), (), ("x",)]),
    tags=st.sampled_from([(), ("gpu",)]),
    slots=st.sampled_from([1, 2, 3, 3, 0]),
    node=NODES,
)
OFFERS = st.builds(Offer, WORKERS, st.integers(0, 20), st.integers(0, 4), st.booleans())
HEARTBEATS = st.builds(Heartbeat, WORKERS, st.lists(TOKENS, max_size=20).map(tuple), NODES)
PARTINGS = st.builds(Drain, WORKERS) | st.builds(Leave, WORKERS)
OUTCOMES = st.one_of(
    st.builds(Complete, IDS, TOKENS, RESULTS),
    st.builds(Fail, IDS, TOKENS, st.just("broken"), st.booleans()),
    st.builds(Release, IDS, TOKENS),
    st.builds(Report, IDS, TOKENS, RESULTS),
)
WISHES = st.builds(Cancel, IDS) | st.builds(Retry, IDS) | st.builds(RemoveDead, IDS)
CLOSINGS = st.builds(PauseQueue, QUEUES) | st.builds(ResumeQueue, QUEUES)
DEAD_RETRIES = st.builds(RetryDead, OPERATIONS, st.none() | QUEUES, st.none() | TYPES)
BULK = st.builds(PurgeQueue, OPERATIONS, QUEUES) | DEAD_RETRIES
SUSPENSIONS = st.builds(Suspend, NODES) | st.builds(Resume, NODES)
TERMS = st.builds(
    BeginTerm,
    NODES,
    lease_ms=st.sampled_from([None, None, 1_000, 3_000, 6_000]),
    heartbeat_ms=st.sampled_from([None, 100, 300]),
    memory_bytes_max=st.sampled_from([*[None] * 4, 12_000, 24_000, 1 << 30]),
)
ANYTHING = st.one_of(
    SUBMISSIONS,
    REGISTRATIONS,
    OFFERS,
    HEARTBEATS,
    PARTINGS,
    OUTCOMES,
    WISHES,
    CLOSINGS,
    BULK,
    TERMS,
)
