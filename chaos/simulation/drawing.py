"""Messages between nodes over time, as an SVG: a line of life each, an arrow a message.

Only a window of a run can be drawn so that a person sees something in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from chaos.simulation.simulation import Simulation
from cluster.errors import QuorateError
from cluster.raft.wire import FRAME_BYTES_MAX, FrameReader

WIDTH = 1_400
ROW_HEIGHT = 90
MARGIN = 80
COLOURS = {
    "append_entries": "#2563eb",
    "next_node_idx": "#93c5fd",
    "heartbeat": "#9ca3af",
    "heartbeat_ack": "#d1d5db",
    "pre_vote": "#d97706",
    "pre_vote_granted": "#fbbf24",
    "request_vote": "#dc2626",
    "response_vote": "#f87171",
}
OTHER = "#7c3aed"


class Arrow(NamedTuple):
    """One frame on its way."""

    sent_at: float
    arrived_at: float
    source: str
    target: str
    kind: str


class Mark(NamedTuple):
    """Something that happened to a node, or to all."""

    at: float
    text: str


class Recorder:
    """Remembers what passes between the nodes within a window."""

    def __init__(self, simulation: Simulation, *, since: float, until: float) -> None:
        self.arrows: list[Arrow] = []
        self.marks: list[Mark] = []
        self.since = since
        self.until = until
        self._world = simulation.world
        self.names = [node.name for node in simulation.cluster.nodes]
        simulation.cluster.network.observe = self._observe
        told = simulation.judge.tell

        def tell(sentence: str) -> None:
            told(sentence)
            if since <= self._world.now <= until:
                self.marks.append(Mark(self._world.now, sentence))

        simulation.judge.tell = tell

    def _observe(self, source: str, target: str, sent_at: float, content: bytes) -> None:
        now = self._world.now
        if sent_at <= self.until and now >= self.since:
            self.arrows.append(Arrow(sent_at, now, source, target, kind_of(content)))

    def svg(self) -> str:
        """The drawing."""
        return draw(self.names, self.arrows, self.marks, since=self.since, until=self.until)


def kind_of(content: bytes) -> str:
    """What the first message of a frame is; a piece of a frame is just `bytes`."""
    reader = FrameReader()
    reader.bytes_max = FRAME_BYTES_MAX
    try:
        for channel, messages in reader.feed(content):
            if isinstance(messages, list) and messages and isinstance(messages[0], dict):
                return str(messages[0].get("type", channel.name.lower()))
            return channel.name.lower()
    except QuorateError:
        pass
    return "bytes"


def draw(
    names: Sequence[str],
    arrows: Sequence[Arrow],
    marks: Sequence[Mark],
    *,
    since: float,
    until: float,
) -> str:
    """An SVG of its own: no script, no font, no other file."""
    rows = {name: MARGIN + number * ROW_HEIGHT for number, name in enumerate(names)}
    height = MARGIN * 2 + ROW_HEIGHT * (len(names) - 1)

    def x(moment: float) -> float:
        share = (min(max(moment, since), until) - since) / (until - since)
        return MARGIN + share * (WIDTH - 2 * MARGIN)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        '<g font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for name, y in rows.items():
        parts.append(f'<text x="8" y="{y + 4}">{escape(name)}</text>')
        parts.append(f'<path d="M{MARGIN} {y}H{WIDTH - MARGIN}" stroke="#e5e7eb"/>')
    for arrow in arrows:
        if arrow.source in rows and arrow.target in rows:
            colour = COLOURS.get(arrow.kind, OTHER)
            parts.append(
                f'<path d="M{x(arrow.sent_at):.1f} {rows[arrow.source]}'
                f'L{x(arrow.arrived_at):.1f} {rows[arrow.target]}" stroke="{colour}">'
                f"<title>{escape(arrow.kind)} {arrow.sent_at:.4f} s</title></path>"
            )
    for mark in marks:
        at = x(mark.at)
        parts.append(
            f'<path d="M{at:.1f} 20V{height - 20}" stroke="#111827" stroke-dasharray="2 4"/>'
            f'<text x="{at + 3:.1f}" y="{24 + 14 * (int(at) % 3)}">{escape(mark.text)}</text>'
        )
    parts += [
        f'<text x="{MARGIN}" y="{height - 8}">+{since:.2f} s</text>',
        f'<text x="{WIDTH - MARGIN}" y="{height - 8}" text-anchor="end">+{until:.2f} s</text>',
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"
