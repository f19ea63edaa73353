"""The pages that describe the API: they need no replica, and are the same on every node."""

from __future__ import annotations

import json

from aiohttp import web

from gateway import docs_page, openapi

_NO_SCRIPT = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


async def description(_request: web.Request) -> web.Response:
    """`GET /openapi.json`."""
    return web.json_response(openapi.document(), dumps=_written)


async def docs(_request: web.Request) -> web.Response:
    """`GET /docs`."""
    headers = {"Content-Security-Policy": _NO_SCRIPT}
    return web.Response(text=docs_page.page(), content_type="text/html", headers=headers)


def _written(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
