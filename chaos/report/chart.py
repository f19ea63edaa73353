"""What our two figures share: a scale of time, ticks, faults as shades, and the frame around."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from chaos.checkers.evidence import Evidence, Fault
from chaos.report.markup import Html, join, tag

WIDE, NARROW = 1080, 480  # Units of a figure's width; on a narrow screen the second one shows.
LEFT, RIGHT = 68, 10  # Room for words beside the plot.
TICKS_WIDE, TICKS_NARROW = 10, 5
LABEL_FITS = 13.0  # The width below which a shade carries no number.
ROW = 15.0  # Of the faults' own rows.


class Span(NamedTuple):
    """From when to when."""

    begin: float
    end: float


class Scale(NamedTuple):
    """Time to places from left to right."""

    span: Span
    width: int

    def x(self, moment: float) -> float:
        """Where a moment is; what lies outside is at the edge."""
        within = min(max(moment, self.span.begin), self.span.end) - self.span.begin
        room = self.width - LEFT - RIGHT
        return LEFT + room * within / (self.span.end - self.span.begin)


def span_of(evidence: Evidence) -> Span:
    """From the first thing that was done or asked to the last that is known."""
    begins = [row.invoked for row in evidence.rows]
    begins += [fault.injected for fault in evidence.faults]
    ends = [fault.healed for fault in evidence.faults]
    ends += [row.returned for row in evidence.rows if math.isfinite(row.returned)]
    begin = min(begins, default=0.0)
    return Span(begin, max([*begins, *ends, begin + 1.0]))


def ticks(begin: float, end: float, count: int) -> list[float]:
    """Round moments between the two, about *count* of them."""
    rough = (end - begin) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (1, 2, 5, 10) if step * power >= rough) * power
    first = math.ceil(begin / step)
    last = math.floor(end / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def figure(name: str, caption: Html, draw: Callable[[int, str], Html]) -> Html:
    """What *draw* makes of a width and a prefix for ids, for wide screens and for narrow ones."""
    drawn = [
        tag("div", draw(width, f"{name}-{kind}"), class_=kind)
        for kind, width in (("wide", WIDE), ("narrow", NARROW))
    ]
    return tag("figure", *drawn, tag("figcaption", caption))


def svg(prefix: str, title: str, description: str, width: int, height: float, body: Html) -> Html:
    """A picture that says in words what it shows."""
    return tag(
        "svg",
        tag("title", title, id=f"{prefix}-title"),
        tag("desc", description, id=f"{prefix}-desc"),
        body,
        viewBox=f"0 0 {width} {height:g}",
        role="img",
        aria_labelledby=f"{prefix}-title {prefix}-desc",
    )


def time_axis(scale: Scale, top: float, bottom: float) -> Html:
    """A line for each round moment, with its seconds below."""
    count = TICKS_WIDE if scale.width == WIDE else TICKS_NARROW
    parts = []
    for moment in ticks(*scale.span, count):
        x = round(scale.x(moment), 1)
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(tag("text", f"{moment:g} s", x=x, y=bottom + 16, class_="middle"))
    return join(*parts)


def shades(scale: Scale, faults: Sequence[Fault], top: float, bottom: float) -> Html:
    """Each fault's time, shaded, with an edge where it begins and where it is healed."""
    parts = []
    for fault in faults:
        x, width = _extent(scale, fault)
        place = {"x": x, "y": top, "width": width, "height": bottom - top}
        parts.append(tag("rect", **place, class_="shade"))
        parts += [
            tag("line", x1=edge, x2=edge, y1=top, y2=bottom, class_="edge")
            for edge in (x, round(x + width, 1))
        ]
    return join(*parts)


def fault_rows(scale: Scale, faults: Sequence[Fault], top: float) -> tuple[Html, float]:
    """The faults as numbered bars, in as many rows as overlap; and where they end below."""
    parts, ends = [], [-math.inf]
    for number, fault in enumerate(faults, start=1):
        x, width = _extent(scale, fault)
        row = next((row for row, end in enumerate(ends) if end <= x), len(ends))
        ends[row:] = [x + width + 1, *ends[row + 1 :]]
        y = top + row * ROW
        place = {"x": x, "y": y, "width": width, "height": ROW - 3}
        parts.append(tag("rect", **place, class_="fault"))
        if width >= LABEL_FITS:
            where = {"x": round(x + width / 2, 1), "y": y + 10, "class_": "middle onfault"}
            parts.append(tag("text", number, **where))
    label = tag("text", "faults", x=LEFT - 8, y=top + 10, class_="end") if faults else None
    return join(label, *parts), top + (len(ends) * ROW if faults else 0)


def bars(rects: Iterable[tuple[float, float, float, float]], class_: str) -> Html:
    """Bars by left, top, width and height, in one path: there may be thousands."""
    path = "".join(f"M{x:.1f} {y:.1f}h{w:.1f}v{h:.1f}h-{w:.1f}z" for x, y, w, h in rects)
    return tag("path", d=path, class_=class_) if path else join()


def _extent(scale: Scale, fault: Fault) -> tuple[float, float]:
    x = round(scale.x(fault.injected), 1)
    return x, round(max(2.0, scale.x(fault.healed) - x), 1)
