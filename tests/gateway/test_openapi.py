"""The description of the API: complete, valid, and nothing beside what is served."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from jsonschema_rs import meta

from gateway import docs_page, openapi
from gateway.app import create_app
from gateway.bodies import BODY_BYTES_MAX
from gateway.defaults import SubmitDefaults
from gateway.exchange import CONTENT_BYTES_MAX
from gateway.problems import KINDS
from gateway.queries import STATUSES
from gateway.routes import ROUTES
from gateway.shapes import SUBMISSION


def served() -> set[tuple[str, str]]:
    """Every method and path that the application answers, but HEAD, which goes with each GET."""
    app: web.Application = create_app(defaults=SubmitDefaults())
    return {
        (route.method.lower(), resource.canonical)
        for resource in app.router.resources()
        for route in resource
        if route.method != "HEAD"
    }


def described() -> dict[tuple[str, str], Any]:
    return {
        (method, path): operation
        for path, methods in openapi.document()["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_is_described_and_nothing_else() -> None:
    assert described().keys() == served()


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for operation in described().values()]

    assert len(set(names)) == len(names)
    assert {route.name for route in ROUTES} < set(names)


def test_every_object_is_a_valid_schema_under_a_name_of_its_own() -> None:
    schemas = openapi.document()["components"]["schemas"]
    shapes = [route.told.body for route in ROUTES if route.told.body]
    answers = [route.told.answer for route in ROUTES]

    for schema in schemas.values():
        meta.validate(schema)
    assert {shape.name: shape.schema for shape in shapes}.items() <= schemas.items()
    for shape in shapes:
        assert schemas[shape.name] == shape.schema
    for answer in answers:
        assert schemas[answer.name] == answer.schema


def test_every_reference_leads_somewhere() -> None:
    schemas = openapi.document()["components"]["schemas"]
    referred = set(re.findall(r"'#/components/schemas/(\w+)'", str(openapi.document())))

    assert referred == set(schemas)


def test_limits_are_those_that_are_checked() -> None:
    submission = SUBMISSION.schema["properties"]
    assert isinstance(submission, dict)
    listing = {each["name"]: each["schema"] for each in described()["get", "/tasks"]["parameters"]}

    assert submission["type"] == {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "description": "Which handler runs it.",
    }
    assert submission["queue"]["default"] == "default"
    assert SUBMISSION.schema["required"] == ["type", "data"]
    assert SUBMISSION.schema["additionalProperties"] is False
    assert listing["status"]["enum"] == list(STATUSES)


def test_a_batch_is_taken_in_lines_too() -> None:
    content = described()["post", "/tasks/batch"]["requestBody"]["content"]

    assert list(content) == [*("application/json", "application/msgpack", "application/x-ndjson")]


def test_the_largest_body_is_told_by_route() -> None:
    told = {
        operation["operationId"]: operation["requestBody"]["description"]
        for operation in described().values()
        if "requestBody" in operation
    }

    assert told.pop("submit_batch").startswith(f"{BODY_BYTES_MAX >> 20} MiB ")
    assert all(limit.startswith(f"{CONTENT_BYTES_MAX >> 20} MiB ") for limit in told.values())
    assert {"submit", "complete", "retry_dead_letters"} <= told.keys()


def test_the_guide_names_every_call_and_no_other() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
    rows = [line.split("|")[1] for line in guide.splitlines() if line.startswith("| `")]
    named = {call for row in rows for call in re.findall(r"`([A-Z]+ /\S+)`", row)}

    assert named == {f"{route.method} {route.path}" for route in ROUTES}


class Page(HTMLParser):
    """What a page's markup holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        named = dict(attributes)
        self.ids += [str(named["id"])] if "id" in named else []
        self.links |= {str(named[name]) for name in ("href", "src") if name in named}


def test_the_page_has_an_anchor_for_every_problem_and_every_call() -> None:
    page = Page(docs_page.page())

    assert set(KINDS) <= set(page.ids)
    assert {route.name for route in ROUTES} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_the_page_loads_nothing_and_its_links_lead_somewhere() -> None:
    page = Page(docs_page.page())

    assert not page.tags & {"script", "link", "img", "iframe"}
    inner = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert inner <= set(page.ids)
    assert page.links - {f"#{name}" for name in inner} == {"/openapi.json"}


@pytest.mark.asyncio(loop_scope="module")
async def test_both_are_served(http: aiohttp.ClientSession) -> None:
    async with http.get("/openapi.json") as answer:
        assert await answer.json() == openapi.document()
    async with http.get("/docs") as answer:
        assert answer.content_type == "text/html"
        assert "script-src" not in answer.headers["Content-Security-Policy"]
        assert await answer.text() == docs_page.page()
