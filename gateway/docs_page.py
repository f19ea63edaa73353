"""`GET /docs`: the description of the API as one page for people, without any script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from typing import Any

from gateway.openapi import document
from gateway.problems import KINDS

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 3rem; } h3 { margin-top: 2.5rem; overflow-wrap: anywhere; }
code { font: 0.9em ui-monospace, monospace; }
h3 b { display: inline-block; min-width: 4.5rem; }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
nav { columns: 18rem; } nav a { display: block; } tr:target { outline: 2px solid; }
.table { overflow-x: auto; }
"""


@cache
def page() -> str:
    """The whole page."""
    described = document()
    info = described["info"]
    schemas = described["components"]["schemas"]
    operations = list(_operations(described["paths"]))
    links = "".join(
        f'<a href="#{escape(each["operationId"])}">{method} {escape(path)}</a>'
        for method, path, each in operations
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{escape(info['description'])}</p>"
        '<p>For programs: <a href="/openapi.json">/openapi.json</a>.</p>'
        f'<nav aria-label="Calls">{links}<a href="#objects">Objects</a>'
        '<a href="#problems">Problems</a></nav>'
        f"<h2>Calls</h2>{''.join(_call(*each) for each in operations)}"
        f'<h2 id="objects">Objects</h2>{"".join(_object(*each) for each in schemas.items())}'
        f'<h2 id="problems">Problems</h2>{_problems()}</main></body></html>'
    )


def _operations(paths: Mapping[str, Any]) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _call(method: str, path: str, operation: Mapping[str, Any]) -> str:
    anchor, says = escape(operation["operationId"]), escape(operation["summary"])
    title = f'<h3 id="{anchor}"><b>{method}</b> <code>{escape(path)}</code></h3>'
    parts = [f"{title}<p>{says}</p>"]
    if operation["parameters"]:
        rows = [
            (each["name"], each["in"], _limits(each["schema"]), each.get("description", ""))
            for each in operation["parameters"]
        ]
        parts.append(_table(("parameter", "in", "takes", ""), rows))
    if "requestBody" in operation:
        body = operation["requestBody"]
        media = ", ".join(f"<code>{escape(each)}</code>" for each in body["content"])
        name = _name_in(next(iter(body["content"].values()))["schema"])
        need = "Body" if body["required"] else "Body, if any"
        parts.append(f"<p>{need}: {name} as {media}. {escape(body['description'])}</p>")
    answers = sorted(operation["responses"].items())
    told = [(status, _answer(response)) for status, response in answers]
    parts.append(_table(("status", "answer"), told, is_html=True))
    return "".join(parts)


def _answer(response: Mapping[str, Any]) -> str:
    names = {_name_in(content["schema"]) for content in response.get("content", {}).values()}
    if names == {_link("Problem")}:
        codes = response["description"].split("`")[1::2]
        return ", ".join(f'<a href="#{code}">{code}</a>' for code in codes)
    return ", ".join(sorted(name for name in names if name)) or escape(response["description"])


def _object(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (
            member,
            "yes" if member in required else "",
            _limits(each),
            each.get("description", ""),
        )
        for member, each in schema["properties"].items()
    ]
    title = f'<h3 id="object-{escape(name)}"><code>{escape(name)}</code></h3>'
    if not rows:
        return f"{title}<p>An empty object.</p>"
    return title + _table(("member", "always", "is", ""), rows)


def _problems() -> str:
    rows = "".join(
        f'<tr id="{code}"><td>{kind.status}</td><td><code>{code}</code></td>'
        f"<td>{escape(kind.title)}.</td></tr>"
        for code, kind in KINDS.items()
    )
    return f'<div class="table"><table><tr><th>status<th>code<th></tr>{rows}</table></div>'


def _limits(schema: Mapping[str, Any]) -> str:
    """What a schema allows, in a few words of its own."""
    if "$ref" in schema:
        return _referred(schema)
    if "anyOf" in schema:
        return " or ".join(_limits(each) for each in schema["anyOf"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return ", ".join("null" if each is None else str(each) for each in schema["enum"])
    kind = schema.get("format") or schema.get("type") or "any value"
    if kind == "array":
        kind = f"list of {_limits(schema['items'])}"
    bounds = [schema.get(name) for name in _BOUNDS if name in schema]
    limits = f" ({' to '.join(f'{bound:,}' for bound in bounds)})" if bounds else ""
    default = f"; {json.dumps(schema['default'])} if left out" if "default" in schema else ""
    return f"{kind}{limits}{default}"


_BOUNDS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]], *, is_html: bool = False) -> str:
    head = "".join(f"<th>{each}</th>" for each in heads)
    body = "".join(
        f"<tr>{''.join(f'<td>{each if is_html else _text(each)}</td>' for each in row)}</tr>"
        for row in rows
    )
    return f'<div class="table"><table><tr>{head}</tr>{body}</table></div>'


def _text(written: str) -> str:
    """Words of ours, in which names stand between backquotes."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(written))


def _name_in(schema: Mapping[str, Any]) -> str:
    return _link(_referred(schema)) if "$ref" in schema else ""


def _referred(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _link(name: str) -> str:
    return f'<a href="#object-{escape(name)}">{escape(name)}</a>'
