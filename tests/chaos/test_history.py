"""Histories: what is recorded, and that a file gives back what was written to it."""

from __future__ import annotations

import io

import pytest

from chaos.history import Recorder, Row, Type, read_rows, successor, write_rows


def test_a_request_is_a_row_from_its_call_to_its_answer() -> None:
    moments = iter((1.0, 2.0))
    recorder = Recorder(clock=lambda: next(moments))

    number = recorder.invoke("client", "submit", {"id": "a"}, request_id="r1")
    recorder.end(number, Type.OK, {"id": "a"}, node="node1", index=7)

    assert recorder.history() == [
        Row("client", "submit", {"id": "a"}, "r1", 1.0, 2.0, Type.OK, {"id": "a"}, "node1", 7)
    ]


def test_whoever_still_waits_may_have_been_heard() -> None:
    recorder = Recorder(clock=lambda: 1.0)

    recorder.invoke("client", "submit", {"id": "a"}, request_id="r1")

    (row,) = recorder.history()
    assert (row.type, row.returned) == (Type.INFO, float("inf"))


def test_rows_come_in_the_order_of_their_calls() -> None:
    moments = iter((1.0, 2.0, 3.0, 4.0))
    recorder = Recorder(clock=lambda: next(moments))
    first = recorder.invoke("a", "task", {"id": "a"}, request_id="r1")
    second = recorder.invoke("b", "task", {"id": "a"}, request_id="r2")

    recorder.end(second, Type.OK)
    recorder.end(first, Type.OK)

    assert [row.request_id for row in recorder.history()] == ["r1", "r2"]


def test_a_process_that_may_have_been_heard_has_a_successor() -> None:
    assert successor("client") == "client#1"
    assert successor("client#1") == "client#2"


def test_a_file_gives_back_what_was_written() -> None:
    rows = [
        Row("a", "submit", {"id": "ü"}, "r1", 1.0, 2.5, Type.OK, {"id": "ü"}, "node1", 7),
        Row("b", "complete", {"id": "x"}, "r2", 2.0, float("inf"), Type.INFO),
    ]
    file = io.StringIO()

    write_rows(rows, file)

    assert list(read_rows(file.getvalue().splitlines())) == rows


@pytest.mark.parametrize("line", ["", "{}", "[1, 2]", '["a","b",{},"r",1,2,"no",null,"n",0]'])
def test_a_line_that_is_no_row_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 1 is no row of a history"):
        list(read_rows([line]))
