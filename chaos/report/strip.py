"""The availability strip: of each node, what became of the writes that were asked through it.

What an answer was is told by its row, the colour only says it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from chaos.checkers.evidence import Evidence, Sight
from chaos.history import Row, Type
from chaos.report import chart
from chaos.report.chart import LEFT, RIGHT, Scale, Span
from chaos.report.markup import Html, join, tag

READS = frozenset({"task"})
BAR = 4  # The width of a bar and the gap after it.
SILENT_SECONDS = 0.5  # Nodes are looked at ten times a second.
_ROWS = ((Type.OK, "ok", 24.0), (Type.FAIL, "failed", 12.0), (Type.INFO, "unknown", 12.0))
_LANE, _NAME, _LEADS = 98.0, 14.0, 12.0


def writes(rows: Sequence[Row]) -> list[Row]:
    """What would have changed something."""
    return [row for row in rows if row.f not in READS]


def strip(evidence: Evidence) -> Html:
    """The figure, wide and narrow."""
    asked = writes(evidence.rows)
    span = chart.span_of(evidence)
    caption = tag(
        "span",
        "For each node, over time: when it said that it leads, and the writes asked through it by"
        " what the client was told: done (ok), certainly not done (failed), or perhaps (unknown)."
        " A bar stands where the write was asked. Shaded: the faults, numbered as below.",
    )
    return chart.figure(
        "strip", caption, lambda width, prefix: _draw(evidence, asked, Scale(span, width), prefix)
    )


def _draw(evidence: Evidence, asked: Sequence[Row], scale: Scale, prefix: str) -> Html:
    fault_bars, top = chart.fault_rows(scale, evidence.faults, 4)
    bottom = top + _LANE * len(evidence.nodes)
    by_node = {node: [row for row in asked if _node_of(row) == node] for node in evidence.nodes}
    counts = {node: _binned(rows, scale) for node, rows in by_node.items()}
    most = {
        type_: max((n for each in counts.values() for n in each[type_].values()), default=1)
        for type_, _label, _height in _ROWS
    }
    lanes = [
        _lane(node, counts[node], most, _reigns(evidence.sights, node), scale, top + _LANE * number)
        for number, node in enumerate(evidence.nodes)
    ]
    body = join(
        chart.shades(scale, evidence.faults, top, bottom),
        chart.time_axis(scale, top, bottom),
        fault_bars,
        *lanes,
    )
    description = "; ".join(_in_words(node, rows) for node, rows in by_node.items())
    title = "Availability of each node over time"
    return chart.svg(prefix, title, description, scale.width, bottom + 24, body)


def _lane(
    node: str,
    counts: Mapping[Type, Mapping[int, int]],
    most: Mapping[Type, int],
    reigns: Sequence[Span],
    scale: Scale,
    top: float,
) -> Html:
    y = top + _NAME
    parts = [tag("text", node, x=LEFT - 8, y=y, class_="end name")]
    parts.append(tag("text", "leads", x=LEFT - 8, y=y + 13, class_="end"))
    lines = [(scale.x(each.begin), scale.x(each.end)) for each in reigns]
    parts.append(chart.bars(((x, y + 7, max(1, end - x), 4) for x, end in lines), "leads"))
    y += _LEADS
    for type_, label, height in _ROWS:
        y += height + 2
        parts.append(tag("text", label, x=LEFT - 8, y=y - height / 2 + 4, class_="end"))
        parts.append(tag("line", x1=LEFT, x2=scale.width - RIGHT, y1=y, y2=y, class_="base"))
        rects = (
            (LEFT + number * BAR, y - tall, BAR - 1, tall)
            for number, count in sorted(counts[type_].items())
            for tall in [max(2.0, height * count / most[type_])]
        )
        parts.append(chart.bars(rects, type_.value))
    return tag("g", *parts)


def _node_of(row: Row) -> str:
    return row.node or str(row.args.get("node", ""))


def _binned(rows: Sequence[Row], scale: Scale) -> Mapping[Type, Counter[int]]:
    counted: dict[Type, Counter[int]] = {type_: Counter() for type_ in Type}
    for row in rows:
        counted[row.type][int((scale.x(row.invoked) - LEFT) / BAR)] += 1
    return counted


def _reigns(sights: Sequence[Sight], node: str) -> list[Span]:
    """When *node* said that it leads, as far as it was heard."""
    found: list[Span] = []
    last: Sight | None = None
    for sight in sights:
        if sight.node != node:
            continue
        if sight.role == "leader":
            goes_on = last is not None and (last.role, last.term) == ("leader", sight.term)
            if goes_on and found and sight.at - found[-1].end <= SILENT_SECONDS:
                found[-1] = Span(found[-1].begin, sight.at)
            else:
                found.append(Span(sight.at, sight.at))
        last = sight
    return found


def _in_words(node: str, rows: Sequence[Row]) -> str:
    by_type = Counter(row.type for row in rows)
    told = ", ".join(f"{by_type[type_]} {label}" for type_, label, _height in _ROWS)
    return f"{node}: {len(rows)} writes, {told}"
