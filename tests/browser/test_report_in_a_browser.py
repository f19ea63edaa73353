"""The page of a run in a real browser: wide and narrow, by day and by night.

`QUORATE_TEST_BROWSER=1` runs them, with Debian's chromium or the one named in
QUORATE_TEST_CHROMIUM. QUORATE_TEST_SCREENSHOTS names a folder for pictures, for people to look at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from chaos.report import Record, page
from tests.chaos.sample_records import broken_record, held_record, hostile_record

pytestmark = pytest.mark.skipif(
    not os.environ.get("QUORATE_TEST_BROWSER"), reason="QUORATE_TEST_BROWSER is not set"
)

RECORDS = (held_record, broken_record, hostile_record)
WIDTHS = (400, 1400)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PATIENCE_MS = 180_000
CONTRAST_MIN = 4.5  # WCAG 2.2, 1.4.3.

# The contrast of every text with what is painted behind it, the least first: relative luminance as
# WCAG defines it.
LEAST_CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255).map(
    (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4,
  ).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  let least = { ratio: 99, text: "" };
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].filter((n) => n.nodeType === 3 && n.data.trim());
    if (!own.length || element.matches("svg .onfault, svg title, svg desc")) continue;
    const style = getComputedStyle(element);
    const ink = parse(element.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least.ratio) least = { ratio, text: own[0].data.trim().slice(0, 60) };
  }
  return least;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium; where tests of a browser were asked for, one must be there."""
    path = os.environ.get("QUORATE_TEST_CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.fail("no chromium is installed: apt-get install -y chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"], timeout=PATIENCE_MS
        )
        yield browser
        browser.close()


class Opened:
    """A page in the browser, and what it said and asked for while it was opened."""

    def __init__(self, browser: Browser, file: Path, width: int, scheme: str) -> None:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        context.set_default_timeout(PATIENCE_MS)
        self.view: Page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.view.on("console", lambda message: self.said.append(message.text))
        self.view.on("pageerror", lambda error: self.said.append(str(error)))
        self.view.on("request", lambda request: self.asked.append(request.url))
        self.view.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.url = file.as_uri()
        self.view.goto(self.url)


Open = Callable[..., Opened]


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open the page of a record."""
    opened: list[Opened] = []

    def open_(make: Callable[[], Record], width: int, scheme: str) -> Opened:
        file = tmp_path / f"{make.__name__}.html"
        file.write_text(page(make()), encoding="utf-8")
        opened.append(Opened(browser, file, width, scheme))
        return opened[-1]

    yield open_
    for each in opened:
        each.view.context.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("make", RECORDS, ids=lambda make: make.__name__)
def test_a_page_fits_is_quiet_and_asks_nobody(
    open_page: Open, make: Callable[[], Record], width: int, scheme: str
) -> None:
    opened = open_page(make, width, scheme)
    opened.view.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
    _take_picture(opened.view, f"{make.__name__}-{width}-{scheme}")

    wide = opened.view.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    assert opened.said == []
    assert opened.asked == [opened.url]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("make", [held_record, broken_record], ids=lambda make: make.__name__)
def test_all_text_stands_out_from_its_ground(
    open_page: Open, make: Callable[[], Record], scheme: str
) -> None:
    least = open_page(make, 1400, scheme).view.evaluate(LEAST_CONTRAST)

    assert least["ratio"] >= CONTRAST_MIN, least


@pytest.mark.parametrize(("width", "shown"), [(400, "narrow"), (1400, "wide")])
def test_each_width_has_a_figure_of_its_own(open_page: Open, width: int, shown: str) -> None:
    view = open_page(held_record, width, "light").view

    kinds = {
        kind: [each.is_visible() for each in view.locator(f"figure > .{kind}").all()]
        for kind in ("wide", "narrow")
    }
    assert kinds == {kind: [kind == shown] * 2 for kind in kinds}


def test_whoever_has_it_read_aloud_finds_tables_and_pictures_even_where_it_is_narrow(
    open_page: Open,
) -> None:
    view = open_page(held_record, 400, "light").view

    assert view.get_by_role("img").count() == 2
    assert view.get_by_role("table", name="The promises").is_visible()
    assert view.get_by_role("rowheader", name="linearizable").is_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_captions_and_cells_have_room(open_page: Open, width: int) -> None:
    view = open_page(held_record, width, "light").view

    boxes = [each.bounding_box() for each in view.locator("main > section > .scroll caption").all()]
    assert all(box is not None and box["width"] >= width / 2 for box in boxes)
    assert all(box is not None and box["height"] <= 50 for box in boxes)


def _take_picture(view: Page, name: str) -> None:
    folder = os.environ.get("QUORATE_TEST_SCREENSHOTS")
    if folder:
        view.screenshot(path=Path(folder) / f"{name}.png", full_page=True, timeout=PATIENCE_MS)
