"""What a body may hold, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cluster.answers import Consistency
from cluster.core.model import Backoff, Extras, Policy, TaskStatus
from gateway import queries, schema
from gateway.defaults import SubmitDefaults
from gateway.encoding import Format
from gateway.ids import normalized
from gateway.problems import Problem

ID = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
TASK = {"type": "process", "data": 1}


def new_task(body: object, **headers: str) -> Any:
    """The task of a JSON submission under plain defaults."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return schema.new_task(body, names, SubmitDefaults(), Format.JSON)


def complaints(call: Callable[[], object]) -> dict[str, str]:
    """What the call says of each field."""
    with pytest.raises(Problem) as raised:
        call()
    assert raised.value.status == 422
    return {error.field: error.message for error in raised.value.errors}


def test_what_the_submitter_leaves_out_is_filled_in() -> None:
    task = new_task(TASK)

    assert normalized(task.id) == task.id
    assert task.payload == b"1"
    assert task.kind.content_type == "application/json"
    assert (task.kind.queue, task.kind.priority, task.delay_ms, task.run_at_ms) == (
        "default",
        4,
        0,
        None,
    )
    assert task.kind.policy == Policy()


def test_seconds_become_milliseconds_and_fractions_thousandths() -> None:
    backoff = {"initial": 0.5, "multiplier": 1.25, "max": 10, "jitter": 0}

    task = new_task(
        TASK | {"delay": 0.0015, "backoff": backoff, "timeout": 1, "ttl": 2.5, "retention": 0}
    )

    assert task.delay_ms == 2
    assert task.kind.policy == Policy(4, Backoff(500, 1_250, 10_000, 0), 1_000, 2_500, 0)


def test_defaults_of_the_node_stand_where_the_submitter_is_silent() -> None:
    standard = SubmitDefaults(max_attempts=9, backoff=Backoff(1, 2_000, 3, 4))

    task = schema.new_task(TASK | {"backoff": {"max": 60}}, {}, standard, Format.JSON)

    assert task.kind.policy.max_attempts == 9
    assert task.kind.policy.backoff == Backoff(1, 2_000, 60_000, 4)


@pytest.mark.parametrize(
    ("priority", "number"),
    [("low", 1), ("normal", 4), ("high", 7), ("critical", 9), (0, 0), (9, 9), (4.0, 4)],
)
def test_priorities_are_words_or_digits(priority: object, number: int) -> None:
    assert new_task(TASK | {"priority": priority}).kind.priority == number


@pytest.mark.parametrize(
    ("run_at", "milliseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1_500),
        ("1970-01-01t01:00:00.001+01:00", 1),
        ("2024-02-29T00:00:00-23:59", 1_709_251_140_000),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999),
    ],
)
def test_run_at_is_rfc_3339(run_at: str, milliseconds: int) -> None:
    assert new_task(TASK | {"run_at": run_at}).run_at_ms == milliseconds


def test_tags_are_a_sorted_set_and_meta_is_ordered() -> None:
    task = new_task(TASK | {"requires": ["gpu", "arm", "gpu"], "meta": {"b": "2", "a": ""}})

    assert task.kind.requires == ("arm", "gpu")
    assert task.extras == Extras(meta=(("a", ""), ("b", "2")))


def test_a_well_formed_trace_is_carried_and_another_ignored() -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"

    assert new_task(TASK, traceparent=trace).extras == Extras(traceparent=trace)
    assert new_task(TASK, traceparent=trace.upper()).extras is None
    assert new_task(TASK, traceparent=f"00-{'0' * 32}-{'b' * 16}-01").extras is None


@pytest.mark.parametrize(
    ("members", "field", "message"),
    [
        ({"typ": "x"}, "typ", "not a field that is known"),
        ({"priorty": 1}, "priorty", "not a field that is known"),
        ({"x" * 1_000: 1}, "x" * 64, "not a field that is known"),
        ({"id": 7}, "id", "must be a UUID"),
        ({"id": "x"}, "id", "must be a UUID"),
        ({"id": None}, "id", "must be a UUID"),
        ({"type": ""}, "type", "1 to 255 characters, has 0"),
        ({"type": "x" * 256}, "type", "1 to 255 characters, has 256"),
        ({"type": 5}, "type", "must be a string"),
        ({"type": b"process"}, "type", "must be a string"),
        ({"queue": ""}, "queue", "1 to 128 letters"),
        ({"queue": "a/b"}, "queue", "1 to 128 letters"),
        ({"queue": "a\n"}, "queue", "1 to 128 letters"),
        ({"queue": ".."}, "queue", "1 to 128 letters"),
        ({"queue": ["a"]}, "queue", "1 to 128 letters"),
        ({"priority": 10}, "priority", "0 to 9"),
        ({"priority": -1}, "priority", "0 to 9"),
        ({"priority": True}, "priority", "0 to 9"),
        ({"priority": 4.5}, "priority", "0 to 9"),
        ({"priority": "urgent"}, "priority", "low, normal, high, critical"),
        ({"delay": -1}, "delay", "0 to 3.1536e+08"),
        ({"delay": 1e300}, "delay", "0 to 3.1536e+08"),
        ({"delay": "5"}, "delay", "must be a number"),
        ({"delay": False}, "delay", "must be a number"),
        ({"delay": 2**64 - 1}, "delay", "must be a number"),
        ({"run_at": 5}, "run_at", "RFC 3339"),
        ({"run_at": "2024-01-01"}, "run_at", "RFC 3339"),
        ({"run_at": "2024-01-01T00:00:00"}, "run_at", "RFC 3339"),
        ({"run_at": "2023-02-29T00:00:00Z"}, "run_at", "RFC 3339"),
        ({"run_at": "2024-01-01T24:00:01Z"}, "run_at", "RFC 3339"),
        ({"run_at": "2024-01-01T00:00:60Z"}, "run_at", "RFC 3339"),
        ({"run_at": "2024-01-01T00:00:00+25:00"}, "run_at", "RFC 3339"),
        ({"run_at": "٢٠٢٤-01-01T00:00:00Z"}, "run_at", "RFC 3339"),
        ({"run_at": "2024-01-01T00:00:00Z", "delay": 1}, "run_at", "goes without delay"),
        ({"max_attempts": 0}, "max_attempts", "1 to 1000"),
        ({"max_attempts": 1_001}, "max_attempts", "1 to 1000"),
        ({"max_attempts": 2.5}, "max_attempts", "1 to 1000"),
        ({"backoff": 5}, "backoff", "must be an object"),
        ({"backoff": {"initial": -1}}, "backoff.initial", "must be a number from 0"),
        ({"backoff": {"jitter": 1.1}}, "backoff.jitter", "from 0 to 1"),
        ({"backoff": {"multiplier": 0.5}}, "backoff.multiplier", "from 1 to 1000"),
        ({"backoff": {"factor": 2}}, "backoff.factor", "not a field that is known"),
        ({"timeout": 0}, "timeout", "from 0.001"),
        ({"timeout": None}, "timeout", "must be a number"),
        ({"ttl": -5}, "ttl", "from 0.001"),
        ({"retention": []}, "retention", "must be a number"),
        ({"requires": "gpu"}, "requires", "must be a list"),
        ({"requires": ["gpu", 5]}, "requires[1]", "must be a string"),
        ({"requires": ["x"] * 33}, "requires", "0 to 32 items, has 33"),
        ({"meta": []}, "meta", "object of strings"),
        ({"meta": {"a": 1}}, "meta.a", "must be a string"),
        ({"meta": {"a": "x" * 1_025}}, "meta.a", "0 to 1024 characters, has 1025"),
        ({"meta": {"x" * 257: ""}}, "meta", "0 to 256 characters, has 257"),
        ({"meta": {str(n): "" for n in range(65)}}, "meta", "at most 64 members, has 65"),
        ({"depends_on": []}, "depends_on", "not served by this version"),
        ({"key": "a"}, "key", "not served by this version"),
        ({"idempotency_key": 5}, "idempotency_key", "must be a string"),
        ({"idempotency_key": ""}, "idempotency_key", "1 to 255 characters, has 0"),
        ({"idempotency_key": "x" * 256}, "idempotency_key", "1 to 255 characters, has 256"),
    ],
)
def test_a_wrong_member_is_named_with_its_limit(
    members: dict[str, object], field: str, message: str
) -> None:
    assert message in complaints(lambda: new_task(TASK | members))[field]


@pytest.mark.parametrize("body", [None, 5, "x", [], [TASK], b"{}", True])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    assert complaints(lambda: new_task(body)) == {"": "the body must be an object"}


def test_every_mistake_is_told_at_once() -> None:
    told = complaints(lambda: new_task({"priority": 99, "nope": 1, "backoff": {"max": "x"}}))

    assert set(told) == {"type", "data", "priority", "nope", "backoff.max"}


def test_data_is_counted_as_it_is_stored() -> None:
    largest = "x" * (schema.PAYLOAD_BYTES_MAX - 2)

    assert len(new_task({"type": "t", "data": largest}).payload) == schema.PAYLOAD_BYTES_MAX
    with pytest.raises(Problem, match=r"1,048,577 bytes, the limit is 1,048,576") as raised:
        new_task({"type": "t", "data": largest + "x"})
    assert raised.value.status == 413


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: schema.register({"slots": 0}, node="n"), "slots"),
        (lambda: schema.register({"queues": []}, node="n"), "queues"),
        (lambda: schema.register({"queues": ["a", "b/c"]}, node="n"), "queues[1]"),
        (lambda: schema.register({"types": "x"}, node="n"), "types"),
        (lambda: schema.wanted({"max": 0}), "max"),
        (lambda: schema.wanted({"wait": -1}), "wait"),
        (lambda: schema.wanted({"slots": 1}), "slots"),
        (lambda: schema.heartbeat({"lease_tokens": 1}, worker_id=ID, node="n"), "lease_tokens"),
        (
            lambda: schema.heartbeat({"lease_tokens": [1, "2"]}, worker_id=ID, node="n"),
            "lease_tokens[1]",
        ),
        (lambda: schema.complete({}, task_id=ID, written_in=Format.JSON), "lease_token"),
        (lambda: schema.fail({"lease_token": 1}, task_id=ID), "error"),
        (lambda: schema.fail({"lease_token": 1, "error": "", "retry": 0}, task_id=ID), "retry"),
        (lambda: schema.release({"lease_token": 0}, task_id=ID), "lease_token"),
        (lambda: schema.release({"lease_token": 1.5}, task_id=ID), "lease_token"),
        (lambda: schema.release({"lease_token": 2**63}, task_id=ID), "lease_token"),
        (
            lambda: schema.report({"lease_token": 1}, task_id=ID, written_in=Format.JSON),
            "progress",
        ),
        (lambda: schema.nothing({"a": 1}), "a"),
    ],
)
def test_a_workers_wrong_member_is_named(call: Callable[[], object], field: str) -> None:
    assert field in complaints(call)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"status": "done"}, "status"),
        ({"status": ""}, "status"),
        ({"limit": "0"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "1.5"}, "limit"),
        ({"limit": "1e3"}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"limit": "9" * 40}, "limit"),
        ({"cursor": "t"}, "cursor"),
        ({"cursor": "t-1"}, "cursor"),
        ({"cursor": "17"}, "cursor"),
        ({"cursor": "w17"}, "cursor"),
        ({"worker": "w1"}, "worker"),
        ({"queue": "a b"}, "queue"),
        ({"consistency": "eventual"}, "consistency"),
        ({"min_index": "-1"}, "min_index"),
        ({"parent": ID}, "parent"),
        ({"wait": "1"}, "wait"),
    ],
)
def test_a_wrong_filter_is_named(query: dict[str, str], field: str) -> None:
    assert field in complaints(lambda: queries.listing(query))


@pytest.mark.parametrize("wait", ["", "-1", "nan", "inf", "1e9", "0x10", " 1", "1s", "9" * 13])
def test_a_wait_that_is_no_plain_number_is_refused(wait: str) -> None:
    assert "wait" in complaints(lambda: queries.task_reading({"wait": wait}))


def test_limits_and_waits_beyond_the_most_are_capped() -> None:
    tasks, _ = queries.listing({"limit": "5000", "status": "failed"})
    wait_seconds, _ = queries.task_reading({"wait": "3600"})

    assert (tasks.limit, tasks.status) == (1_000, TaskStatus.FAILED)
    assert wait_seconds == 60
    assert schema.wanted({"wait": 3_600}).wait_seconds == 60
    assert schema.wanted({"wait": 4e8}).wait_seconds == 60


def test_a_read_is_linearizable_unless_it_says_otherwise() -> None:
    plain = queries.reading({})
    stale = queries.reading({"consistency": "stale", "min_index": "7"})

    assert plain == (Consistency.LINEARIZABLE, 0)
    assert stale == (Consistency.STALE, 7)


def test_a_cursor_reads_back() -> None:
    of_tasks, of_workers = (queries.cursor_text(each, 123_456) for each in "tw")
    assert of_tasks is not None
    assert of_workers is not None

    tasks, _ = queries.listing({"cursor": of_tasks})
    workers, _ = queries.roster({"cursor": of_workers})

    assert tasks.cursor == workers.cursor == 123_456


@pytest.mark.parametrize("query", [{"cursor": "t17"}, {"limit": "0"}, {"status": "lost"}])
def test_a_wrong_page_of_workers_is_named(query: dict[str, str]) -> None:
    assert complaints(lambda: queries.roster(query)).keys() == query.keys()
