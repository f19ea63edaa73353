"""The latency plot: how long each answer took, against when it was asked for.

Dots that would cover each other are drawn once: a page does not grow with its run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from chaos.checkers.evidence import Evidence
from chaos.history import Row, Type
from chaos.report import chart
from chaos.report.chart import LEFT, Scale
from chaos.report.markup import Html, join, tag

LEAST_SECONDS, MOST_SECONDS = 0.001, 10.0  # Faster and slower ones stand at the edge.
HEIGHT = 200.0
_TOP = 14.0
_GRAIN = 2.0  # Dots closer than that are one.
_DECADES = ((0.001, "1 ms"), (0.01, "10 ms"), (0.1, "100 ms"), (1.0, "1 s"), (10.0, "10 s"))


def latency(evidence: Evidence) -> Html:
    """The figure, wide and narrow."""
    span = chart.span_of(evidence)
    caption = tag(
        "span",
        "Every request, by when it was asked and how long its answer took (each line is ten times"
        " the one below). A dot: done. A cross: certainly not done. A ring: nobody knows; at the"
        " upper edge if no answer ever came.",
    )
    return chart.figure(
        "latency", caption, lambda width, prefix: _draw(evidence, Scale(span, width), prefix)
    )


def quantiles(rows: Sequence[Row]) -> tuple[float, float, float] | None:
    """Median, 99th percentile and slowest of those that were answered; None if none was."""
    took = sorted(row.returned - row.invoked for row in rows if math.isfinite(row.returned))
    if not took:
        return None
    return took[len(took) // 2], took[min(len(took) - 1, len(took) * 99 // 100)], took[-1]


def seconds_told(seconds: float) -> str:
    """A duration for people: `3.1 ms`, `2.50 s`."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _draw(evidence: Evidence, scale: Scale, prefix: str) -> Html:
    bottom = _TOP + HEIGHT
    grid = []
    for seconds, label in _DECADES:
        y = round(_y(seconds), 1)
        ends = {"x1": LEFT, "x2": scale.width - chart.RIGHT, "y1": y, "y2": y}
        grid.append(tag("line", **ends, class_="base"))
        grid.append(tag("text", label, x=LEFT - 8, y=y + 4, class_="end"))
    body = join(
        chart.shades(scale, evidence.faults, _TOP, bottom),
        chart.time_axis(scale, _TOP, bottom),
        *grid,
        *(_marks(evidence.rows, type_, scale) for type_ in Type),
    )
    title = "How long answers took"
    return chart.svg(prefix, title, _in_words(evidence.rows), scale.width, bottom + 24, body)


def _y(seconds: float) -> float:
    within = min(max(seconds, LEAST_SECONDS), MOST_SECONDS)
    share = math.log(within / LEAST_SECONDS) / math.log(MOST_SECONDS / LEAST_SECONDS)
    return _TOP + HEIGHT * (1 - share)


def _marks(rows: Sequence[Row], type_: Type, scale: Scale) -> Html:
    cells = {
        (
            round(scale.x(row.invoked) / _GRAIN) * _GRAIN,
            round(_y(row.returned - row.invoked) / _GRAIN) * _GRAIN,
        )
        for row in rows
        if row.type is type_
    }
    shape = {
        Type.OK: "h0",
        Type.FAIL: "m-3-3l6 6m0-6l-6 6",
        Type.INFO: "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0",
    }[type_]
    path = "".join(f"M{x:g} {y:g}{shape}" for x, y in sorted(cells))
    return tag("path", d=path, class_=f"mark {type_.value}") if path else join()


def _in_words(rows: Sequence[Row]) -> str:
    done = [row for row in rows if row.type is Type.OK]
    told = quantiles(done)
    if told is None:
        return "Nothing was answered."
    median, high, slowest = map(seconds_told, told)
    others = ", ".join(
        f"{sum(row.type is type_ for row in rows)} {word}"
        for type_, word in ((Type.FAIL, "failed"), (Type.INFO, "unknown"))
    )
    return (
        f"{len(done)} requests were done, half of them within {median}, 99 of 100 within {high},"
        f" the slowest after {slowest}; {others}."
    )
