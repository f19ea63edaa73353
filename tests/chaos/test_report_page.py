"""The page of a run: whole, readable without its colours, and safe whatever it tells of."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from chaos.report import Record, page
from chaos.report.sections import STORY_LINES_MAX
from chaos.report.style import STYLE
from tests.chaos.sample_records import (
    HOSTILE,
    NODES,
    broken_record,
    held_record,
    hostile_record,
)

RECORDS = (held_record, broken_record, hostile_record)
VOID = {"meta", "br"}
DOCUMENT = {"html", "head", "meta", "title", "style", "body", "header", "main", "section"}
WORDS = {"h1", "h2", "h3", "p", "span", "strong", "b", "blockquote", "ol", "li", "time", "pre"}
TABLES = {"div", "table", "caption", "thead", "tbody", "tr", "th", "td"}
FIGURES = {"figure", "figcaption", "svg", "desc", "g", "line", "rect", "path", "text"}
TAGS = DOCUMENT | WORDS | TABLES | FIGURES | {"details", "summary", "code"}


class Page(HTMLParser):
    """A page, parsed: its elements in order, and their text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = source
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.texts.append(text)

    @property
    def text(self) -> str:
        return " ".join("".join(f"{text} " for text in self.texts).split())

    @property
    def transcript(self) -> str:
        """All that is read, one piece a line."""
        lines = (" ".join(text.split()) for text in self.texts if text != STYLE)
        return "".join(f"{line}\n" for line in lines if line)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(params=RECORDS, ids=lambda record: record.__name__)
def parsed(request: pytest.FixtureRequest) -> Page:
    """The page of each record; that it parses says that its elements nest."""
    record: Callable[[], Record] = request.param
    return Page(page(record()))


def test_a_page_needs_nothing_but_itself(parsed: Page) -> None:
    names = {name for _tag, attributes in parsed.elements for name in attributes}

    assert {tag for tag, _attributes in parsed.elements} <= TAGS
    assert not names & {"src", "href", "srcset", "data", "action", "style"}
    assert not [name for name in names if name.startswith("on")]
    assert "url(" not in parsed.source.partition("</style>")[0]
    assert "@import" not in parsed.source.partition("</style>")[0]


def test_the_browser_is_told_to_run_and_fetch_nothing(parsed: Page) -> None:
    policies = [each["content"] for each in parsed.all("meta") if "http-equiv" in each]

    assert policies
    assert str(policies[0]).startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_headings_name_every_section_and_skip_no_level(parsed: Page) -> None:
    levels = [int(tag[1]) for tag, _attributes in parsed.elements if re.fullmatch("h[1-6]", tag)]
    ids = [attributes["id"] for _tag, attributes in parsed.elements if "id" in attributes]

    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(ids) == len(set(ids))
    for section in parsed.all("section"):
        assert section["aria-labelledby"] in ids


def test_pictures_say_in_words_what_they_show(parsed: Page) -> None:
    ids = {attributes.get("id") for _tag, attributes in parsed.elements}
    pictures = parsed.all("svg")

    assert len(pictures) == 4
    for picture in pictures:
        assert picture["role"] == "img"
        assert set(str(picture["aria-labelledby"]).split()) <= ids


def test_tables_have_captions_and_headings(parsed: Page) -> None:
    assert len(parsed.all("table")) == len(parsed.all("caption")) >= 3
    assert {each["scope"] for each in parsed.all("th")} == {"col", "row"}


def test_a_verdict_is_told_by_word_and_sign_not_by_colour_alone() -> None:
    told = Page(page(broken_record())).text

    assert "✕ broken" in told
    assert "✓ held" in told
    assert "? inconclusive" in told


def test_a_page_tells_the_whole_story() -> None:
    record = held_record()
    told = Page(page(record)).text

    assert record.question in told
    assert record.prediction in told
    assert "+5.02 s" in told
    assert "1.02 s" in told
    assert record.onward_command in told
    assert "held back: 3,401" in told
    for name in record.promises:
        assert name in told


@pytest.mark.parametrize("make", [held_record, broken_record], ids=lambda make: make.__name__)
def test_a_page_reads_as_it_did(make: Callable[[], Record]) -> None:
    """`QUORATE_REGENERATE=1` writes the transcripts anew, for a person to look at what changed."""
    file = Path(__file__).with_name("report_pages") / f"{make.__name__}.txt"
    told = Page(page(make())).transcript
    if os.environ.get("QUORATE_REGENERATE"):
        file.write_text(told, encoding="utf-8")

    assert told == file.read_text("utf-8")


def test_nobodys_prediction_is_told_as_such() -> None:
    told = Page(page(broken_record())).text

    assert "Nobody wrote one down" in told


def test_what_shows_a_broken_promise_stands_in_the_page() -> None:
    told = Page(page(broken_record())).text

    assert "1 acknowledged tasks never ended" in told
    assert '+1.00 s client1 asks node1: submit {"id": "a"}; +1.01 s: ok {"id": "a"}' in told
    assert "entry 9, term 2: completed, task_id a" in told
    assert "nothing was counted" in told


def test_a_promise_that_held_has_no_witness() -> None:
    assert "What shows it" not in Page(page(held_record())).text


def test_writes_are_counted_by_node_and_answer() -> None:
    told = Page(page(held_record())).text

    assert "node1: 100 writes, 70 ok, 10 failed, 20 unknown" in told
    for node in NODES[1:]:
        assert f"{node}: 100 writes, 100 ok, 0 failed, 0 unknown" in told


def test_malice_stays_text() -> None:
    source = page(hostile_record())

    assert "<script" not in source
    assert "<img" not in source
    assert source.count("</style>") == 1
    assert source.encode()
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\u202e\ud800]", source)
    for bad in HOSTILE[:4]:
        assert " ".join(bad.split()) in Page(source).text


def test_fifty_times_the_requests_make_no_larger_a_page_than_can_be_seen() -> None:
    record = held_record()
    few = record.evidence
    rows = [
        each._replace(invoked=each.invoked + number / 1e6)
        for each in few.rows
        for number in range(50)
    ]
    many = replace(record, evidence=replace(few, rows=rows))

    assert len(page(many)) < 2 * len(page(record))


def test_a_long_story_is_folded_and_whole() -> None:
    told = held_record().story[0]

    short, long = (
        page(replace(held_record(), story=[told._replace(text=f"line {n}") for n in range(count)]))
        for count in (STORY_LINES_MAX, STORY_LINES_MAX + 1)
    )

    assert "The story, in" not in short
    assert f"The story, in {STORY_LINES_MAX + 1} lines" in long
    assert f"line {STORY_LINES_MAX}</span>" in long
