"""The files that pages need: style, script and vendored files, each by its hash."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from streams.console.pages import secured
from streams.reports.incident_graph import STYLE

FOLDER: Final = Path(__file__).parent.parent / "static"
KINDS: Final = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
GRAPH: Final = "graph.css"


def routes() -> list[BaseRoute]:
    """Return the routes of the files, which need no sign-in."""
    return [
        Route("/static/{name}", _file, methods=["GET"]),
        Route("/favicon.ico", _no_icon, methods=["GET"]),
    ]


@lru_cache(16)
def _content(name: str) -> tuple[bytes, str, str]:
    """Return a file's bytes, media type and tag."""
    raw = STYLE.encode() if name == GRAPH else (FOLDER / name).read_bytes()
    kind = KINDS.get(name, "text/css")
    return raw, kind, f'"{sha256(raw).hexdigest()[:32]}"'


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in KINDS and name != GRAPH:
        return secured(Response(status_code=HTTPStatus.NOT_FOUND))
    raw, kind, tag = _content(name)
    headers = {"etag": tag, "cache-control": "private, max-age=0, must-revalidate"}
    if request.headers.get("if-none-match") == tag:
        return secured(Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers))
    return secured(Response(raw, media_type=kind, headers=headers))


async def _no_icon(_request: Request) -> Response:
    return secured(Response(status_code=HTTPStatus.NOT_FOUND))
