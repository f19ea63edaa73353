"""A run as one page of HTML: no script, no font, no request; a pure function of its record."""

from __future__ import annotations

from chaos.report import sections
from chaos.report.markup import Html, tag
from chaos.report.record import Record
from chaos.report.style import STYLE

# Should anything ever slip in, the browser neither runs nor fetches it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(record: Record) -> str:
    """The whole page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{record.name}: {record.status.word} - Quorate"),
        tag("style", Html(STYLE)),
    )
    body = tag(
        "body",
        _header(record),
        tag(
            "main",
            sections.question(record),
            sections.timeline(record),
            sections.availability(record),
            sections.latencies(record),
            sections.expectations(record),
            sections.promises(record),
            sections.witnesses(record),
            sections.lines(record),
            _verdict(record),
            _onward(record),
        ),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _header(record: Record) -> Html:
    command = tag("p", tag("code", record.command)) if record.command else None
    return tag(
        "header",
        tag("h1", record.name),
        tag("p", sections.verdict_badge(record.status), " ", tag("span", record.ran_on)),
        command,
    )


def _verdict(record: Record) -> Html:
    badge = tag("p", sections.verdict_badge(record.status))
    return sections.section("verdict", "The verdict, and why", badge, tag("p", record.why))


def _onward(record: Record) -> Html | None:
    if not record.onward_command:
        return None
    command = tag("pre", tag("code", record.onward_command))
    return sections.section("onward", record.onward, command)
