"""Sizes: nothing that is told takes more of a frame than was reckoned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.model import Lease, Policy, TaskStatus
from cluster.core.queries import Progress, TaskView
from gateway import render
from gateway.encoding import Format, draft, encode
from gateway.frames import FRAME_BYTES_MAX
from gateway.ids import new_id
from gateway.sizes import ANSWER_BYTES_MAX, leases_fitting, tasks_fitting

WORST = encode([0.5] * 10_000, Format.JSON)  # Four bytes each become nine.
NOTES = tuple((f"{place:02}" + "n" * 254, "日" * 1_024) for place in range(64))
JSON = Format.JSON.value

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | texts
    | st.integers(-(1 << 63), (1 << 64) - 1) | st.binary(max_size=20),
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=50,
)  # fmt: skip

TASK = TaskView(
    id=new_id(),
    type="t" * 255,
    payload=b"null",
    content_type=JSON,
    queue="q" * 128,
    priority=9,
    policy=Policy(timeout_ms=(1 << 40) + 1, ttl_ms=(1 << 40) + 1),
    requires=(),
    meta=(),
    traceparent="0" * 55,
    submitted_by=None,
    status=TaskStatus.PROCESSING,
    created_at_ms=1 << 40,
    run_at_ms=1 << 40,
    started_at_ms=1 << 40,
    finished_at_ms=1 << 40,
    retry_at_ms=1 << 40,
    attempts=1_000,
    deliveries=1 << 40,
    worker_id=new_id(),
    lease_token=(1 << 63) - 1,
    progress=None,
    progress_content_type=None,
    result=None,
    result_content_type=None,
    error=None,
    cancel_requested=False,
    waiting_for="worker",
)


def lease(payload: bytes = b"null", meta: tuple[tuple[str, str], ...] = ()) -> Lease:
    """A lease of the task."""
    about = (TASK.id, TASK.lease_token or 0, TASK.type, TASK.queue, payload, JSON, 1, 1 << 40)
    return Lease(*about, meta, TASK.traceparent, 9, False)


def frame_bytes(told: object) -> int:
    """What it takes in a frame."""
    return len(draft(told, Format.MSGPACK).filled())


def short_of(taken: int) -> int:
    """Of bytes as they are counted, too few for what takes so many in a frame."""
    return (taken - 1) * 4 // 9


def is_bounded(given: Lease, *progress: Progress) -> bool:
    """Whether two of the lease count as too much for a frame that two of it do not fit."""
    taken = frame_bytes(render.leases([given, given], progress))
    return leases_fitting([given, given], progress, short_of(taken)) == 1


@pytest.mark.parametrize(
    "task",
    [
        TASK,
        TASK._replace(payload=WORST),
        TASK._replace(result=WORST, result_content_type=JSON),
        TASK._replace(progress=WORST, progress_content_type=JSON),
        TASK._replace(error="é" * 10_000),
        TASK._replace(meta=NOTES),
        TASK._replace(requires=("日" * 128,) * 32, type="日" * 255),
    ],
)
def test_a_task_takes_no_more_than_was_reckoned(task: TaskView) -> None:
    taken = frame_bytes([render.task(task), render.task(task)])

    assert tasks_fitting([task, task], short_of(taken)) == 1


@pytest.mark.parametrize("given", [lease(WORST), lease(meta=NOTES)])
def test_a_lease_takes_no_more_than_was_reckoned(given: Lease) -> None:
    assert is_bounded(given)


def test_what_was_reported_of_a_run_counts() -> None:
    assert is_bounded(lease(), Progress(lease().token, WORST, JSON))


@given(values, st.sampled_from(Format))
def test_whatever_it_holds_a_lease_takes_no_more_than_was_reckoned(
    value: object, written_in: Format
) -> None:
    progress = Progress(lease().token, encode(value, written_in), written_in.value)

    assert is_bounded(lease(encode(value, Format.JSON)), progress)


def test_what_an_answer_may_have_goes_into_a_frame_at_the_worst() -> None:
    assert ANSWER_BYTES_MAX * 9 // 4 < FRAME_BYTES_MAX


def test_one_always_fits() -> None:
    assert leases_fitting([lease(), lease()], (), 1) == 1
    assert tasks_fitting([TASK, TASK], 1) == 1
    assert (leases_fitting([], (), 1), tasks_fitting([], 1)) == (0, 0)
