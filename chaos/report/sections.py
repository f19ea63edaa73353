"""The sections of a report, each from a record to markup."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from chaos.checkers import CHECKERS
from chaos.checkers.verdicts import Status, Verdict
from chaos.history import Row, Type
from chaos.report import log_lines
from chaos.report.latency import latency, quantiles, seconds_told
from chaos.report.markup import Html, join, table, tag
from chaos.report.record import Record
from chaos.report.strip import strip, writes
from chaos.report.telling import bites_told, moment, witness_told

STORY_LINES_MAX = 300  # A longer one is folded.
FAULTS_WITH_LINES_MAX = 8
SIGNS = {Status.HELD: "✓", Status.BROKEN: "✕", Status.INCONCLUSIVE: "?"}


def section(name: str, title: str, *children: object) -> Html:
    """A part of the page under a heading of its own."""
    heading = tag("h2", title, id=name)
    return tag("section", heading, *children, aria_labelledby=name)


def verdict_badge(status: Status) -> Html:
    """A verdict's word with its sign; the colour only says it again."""
    sign = tag("span", SIGNS[status], aria_hidden="true")
    return tag("strong", sign, " ", status.word, class_=f"badge {status.word}")


def question(record: Record) -> Html:
    """What is asked, and what the learner said would come."""
    told = record.prediction.strip()
    said = (
        tag("blockquote", told)
        if told
        else tag("p", "Nobody wrote one down before this run.", class_="quiet")
    )
    asked = tag("p", record.asked) if record.asked else None
    return join(
        section("question", "The question", tag("p", record.question, class_="lead")),
        section("prediction", "Your prediction", asked, said) if record.asked else None,
    )


def timeline(record: Record) -> Html:
    """The story as it was told."""
    lines = [
        tag(
            "li",
            tag("time", moment(told.at)),
            " ",
            tag("span", told.text),
            class_="missed" if told.text.startswith("NOT as expected") else None,
        )
        for told in record.story
    ]
    story = tag("ol", *lines, class_="story")
    if len(lines) > STORY_LINES_MAX:  # A soak's: the verdicts are not to stand behind thousands.
        story = tag("details", tag("summary", f"The story, in {len(lines):,} lines"), story)
    return section("timeline", "What happened", story)


def availability(record: Record) -> Html:
    """The strip, the faults by number, and the same in figures."""
    rows = [
        (
            number,
            fault.name,
            fault.target,
            moment(fault.injected),
            moment(fault.healed),
            bites_told(fault.bites),
        )
        for number, fault in enumerate(record.evidence.faults, start=1)
    ]
    columns = ("", "fault", "of", "from", "to", "what shows that it bit")
    faults = (
        table("The faults", columns, rows, class_="stacked")
        if rows
        else tag("p", "Nothing was injected.")
    )
    return section(
        "availability",
        "Who answered",
        strip(record.evidence),
        faults,
        table(
            "Writes, by the node that was asked",
            ("node", "ok", "failed", "unknown"),
            [_counted(node, record.evidence.rows) for node in record.evidence.nodes],
        ),
    )


def latencies(record: Record) -> Html:
    """The plot, and the same in figures by operation."""
    by_f: dict[str, list[Row]] = {}
    for row in record.evidence.rows:
        by_f.setdefault(row.f, []).append(row)
    rows: list[tuple[object, ...]] = []
    for f, asked in sorted(by_f.items()):
        told = quantiles([row for row in asked if row.type is Type.OK])
        figures = ["none was"] * 3 if told is None else [seconds_told(each) for each in told]
        rows.append((f, f"{len(asked):,}", *figures))
    columns = ("operation", "asked", "median", "99 of 100", "slowest")
    return section(
        "latency",
        "How long it took",
        latency(record.evidence),
        table("Requests that were done, by operation", columns, rows),
    )


def expectations(record: Record) -> Html:
    """What should be seen beside what was."""
    rows = [
        (each.expected, each.observed, tag("span", "✓ yes") if each.is_met else tag("b", "✕ NO"))
        for each in record.expectations
    ]
    columns = ("expected", "observed", "as expected")
    body = (
        table("Expected beside observed", columns, rows, class_="stacked")
        if rows
        else tag("p", "Nothing was expected beyond the promises below.")
    )
    return section("expected", "What was expected", body)


def promises(record: Record) -> Html:
    """Each promise with what it says, how much was looked at, and the verdict."""
    judged = [each for each in CHECKERS if each.name in record.promises]
    rows = [
        (checker.name, checker.promise, *_judged(record.verdicts[checker.name]))
        for checker in judged
    ]
    columns = ("promise", "what must hold", "looked at", "verdict", "why")
    others = [each.name for each in CHECKERS if each not in judged]
    left_out = (
        tag("p", f"Not judged in a run like this: {', '.join(others)}.", class_="quiet")
        if others
        else None
    )
    return section(
        "promises",
        "What was promised",
        table("The promises", columns, rows, class_="stacked"),
        left_out,
    )


def witnesses(record: Record) -> Html | None:
    """Of each promise that did not hold, the least that shows it."""
    parts = []
    for name in record.promises:
        verdict = record.verdicts[name]
        if verdict.status is Status.HELD:
            continue
        shown = [tag("li", tag("code", witness_told(each))) for each in verdict.witness]
        title = tag("h3", name, " ", verdict_badge(verdict.status))
        parts.append(join(title, tag("p", verdict.why), tag("ol", *shown) if shown else None))
    return section("witness", "What shows it", *parts) if parts else None


def lines(record: Record) -> Html | None:
    """What the processes wrote around each fault."""
    if not record.logs:
        return None
    read = log_lines.read(record.logs, record.began)
    faults = record.evidence.faults
    parts = [
        _lines_around(f"{number}: {fault.name} of {fault.target}", log_lines.around(read, fault))
        for number, fault in enumerate(faults[:FAULTS_WITH_LINES_MAX], start=1)
    ]
    if len(faults) > len(parts):
        more = f"Of the other {len(faults) - len(parts)} faults no lines are shown."
        parts.append(tag("p", more, class_="quiet"))
    return section("logs", "What the processes wrote", *parts) if parts else None


def _lines_around(title: str, found: tuple[Sequence[log_lines.Line], int]) -> Html:
    shown, left_out = found
    rows: list[tuple[object, ...]] = [
        (moment(line.at), line.process, tag("code", _with_level(line))) for line in shown
    ]
    more = tag("p", f"{left_out} more lines.", class_="quiet") if left_out else None
    body = (
        table(
            f"Lines around fault {title}", ("at", "process", "line"), rows, class_="stacked lines"
        )
        if rows
        else tag("p", "Nobody wrote anything.", class_="quiet")
    )
    return tag("details", tag("summary", f"Around fault {title}"), body, more)


def _with_level(line: log_lines.Line) -> Html:
    loud = line.level in ("WARNING", "ERROR", "CRITICAL")
    level = tag("b", line.level, " ") if loud else join(line.level, " ") if line.level else None
    return join(level, line.text)


def _judged(verdict: Verdict) -> tuple[object, ...]:
    return f"{verdict.checked:,}", verdict_badge(verdict.status), verdict.why


def _counted(node: str, rows: Sequence[Row]) -> tuple[object, ...]:
    asked = Counter(row.type for row in writes(rows) if (row.node or row.args.get("node")) == node)
    return (node, *(f"{asked[type_]:,}" for type_ in (Type.OK, Type.FAIL, Type.INFO)))
