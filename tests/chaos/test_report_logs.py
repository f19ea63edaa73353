"""The processes' own lines around a fault: by the run's clock, of all processes in one order."""

from __future__ import annotations

from datetime import UTC, datetime

from chaos.checkers.evidence import Fault
from chaos.report.log_lines import LINE_CHARACTERS_MAX, LINES_MAX, Line, around, read

BEGAN = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC).timestamp()


def at(second: int) -> str:
    return f"2026-01-31T12:00:{second:02}.000Z"


def test_lines_of_all_processes_are_one_story() -> None:
    logs = {
        "node1": f"{at(2)} INFO node1 cluster.raft leads term 4\n",
        "node2": f"{at(1)} WARNING node2 cluster.raft hears nobody\n",
    }

    assert read(logs, BEGAN) == [
        Line(1.0, "node2", "WARNING", "cluster.raft hears nobody"),
        Line(2.0, "node1", "INFO", "cluster.raft leads term 4"),
    ]


def test_lines_as_json_are_read_alike() -> None:
    line = f'{{"time": "{at(3)}", "level": "info", "logger": "a", "message": "b", "process": "n"}}'

    assert read({"n": line}, BEGAN) == [Line(3.0, "n", "INFO", "a b")]


def test_what_no_logger_wrote_belongs_to_the_line_before_it() -> None:
    text = f"{at(1)} INFO n a b\n  File one, line 2\n{{broken\n99-99Z INFO n c d\n"

    assert [(line.at, line.text) for line in read({"n": text}, BEGAN)] == [
        (1.0, "a b"),
        (1.0, "  File one, line 2"),
        (1.0, "{broken"),
        (1.0, "99-99Z INFO n c d"),
    ]


def test_a_long_line_is_cut_and_says_so() -> None:
    [line] = read({"n": "x" * 5_000}, BEGAN)

    assert line.text == "x" * LINE_CHARACTERS_MAX + " … (5000 characters)"


def test_only_lines_around_the_fault_are_shown_and_the_rest_is_counted() -> None:
    lines = [Line(second / 10, "n", "INFO", "x") for second in range(200)]

    shown, left_out = around(lines, Fault("killed", "n", 5.0, 10.0, {}))

    assert shown[0].at == 4.0
    assert len(shown) == LINES_MAX
    assert len(shown) + left_out == len([line for line in lines if 4.0 <= line.at <= 13.0])
