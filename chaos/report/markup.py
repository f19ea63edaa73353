"""Markup that cannot be forgotten to escape: what is not `Html` already is text.

Nothing else in this package writes a tag.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

# Neither HTML nor UTF-8 has a place for these; a lone surrogate could not even be written.
_UNFIT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
# They would turn the direction of what comes after them, out of their own element too.
_TURNING = re.compile(r"[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_EMPTY = frozenset({"meta", "br", "path", "line", "rect"})


class Html(str):
    """Markup that is safe to stand in a page: made by `tag`, `text` and `join` alone."""

    __slots__ = ()


def text(value: object) -> Html:
    """Whatever it is, as text: in an element or in a quoted attribute."""
    if isinstance(value, Html):
        return value
    fit = _TURNING.sub(_REPLACEMENT, _UNFIT.sub(_REPLACEMENT, str(value)))
    return Html(escape(fit, quote=True))


def join(*parts: object) -> Html:
    """One after the other; None is nothing."""
    return Html("".join(text(part) for part in parts if part is not None))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. An underscore in an attribute's name is a hyphen, one at its end is nothing;
    True is an attribute without a value, None is none."""
    told = "".join(
        f" {_named(key)}" if value is True else f' {_named(key)}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _EMPTY:
        return Html(f"<{name}{told}>") if name in ("meta", "br") else Html(f"<{name}{told}/>")
    return Html(f"<{name}{told}>{join(*children)}</{name}>")


def table(
    caption: str, columns: Sequence[str], rows: Sequence[Sequence[object]], **attributes: object
) -> Html:
    """A table; the first cell of a row is its heading.

    A narrow screen shows each row of a `stacked` one as a block, each cell after its column's name:
    so that it stays a table to whoever has it read aloud, its parts say what they are.
    """
    heads = [tag("th", column, scope="col", role="columnheader") for column in columns]
    body = [
        tag(
            "tr",
            tag("th", first, scope="row", role="rowheader"),
            *(
                tag("td", cell, role="cell", data_column=column)
                for cell, column in zip(cells, columns[1:], strict=True)
            ),
            role="row",
        )
        for first, *cells in rows
    ]
    inner = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *heads, role="row"), role="rowgroup"),
        tag("tbody", *body, role="rowgroup"),
        role="table",
        **attributes,
    )
    return tag("div", inner, class_="scroll", role="region", aria_label=caption, tabindex="0")


def _named(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
