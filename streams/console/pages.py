"""Renders the console's pages: escaping templates, and restrictive headers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import Response

from agents.domain.network_values import defanged
from schemas.counting import counted
from schemas.findings import IndicatorType
from schemas.severity import Severity
from streams.cli.output import plain
from streams.reports.fact_words import versions_of
from streams.reports.incident_words import CODE, defanged_name, duration

_OPENED: Final = frozenset(
    {IndicatorType.URL, IndicatorType.DOMAIN, IndicatorType.IPV4, IndicatorType.IPV6}
)
"""Types of indicators whose values name a host."""
TEMPLATES: Final = Path(__file__).parent / "templates"
KEPT: Final = 2_000
"""The most characters of a text that a page shows."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""The content security policy of every page: nothing inline, nothing from elsewhere."""
HEADERS: Final = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_LONG: Final = re.compile(r"[^\s\u200b]{25,}")
_AFTER: Final = re.compile(r"(?<=[/:@_=,.+-])(?=[^\s/])")
_WHOLE: Final = 24
"""The most characters of a name that are kept on one line."""
_MILLISECONDS: Final = 1000.0


def shown(value: object) -> object:
    """Return the text that a template prints, without control characters or disguises.

    Every expression of every template passes through here, so no page can omit it.

    Args:
        value: The value of the expression; escaped markup stays as it is.
    """
    if isinstance(value, Markup):
        return value
    if value is None:
        return ""
    return plain(str(value), KEPT)


def breakable(value: object) -> Markup:
    """Return a long name with the places where a line may end.

    Args:
        value: A component key, a path, a digest.
    """
    text = plain(str(value), KEPT)
    parts = []
    at = 0
    for run in _LONG.finditer(text):
        parts.append(Markup.escape(text[at : run.start()]))
        pieces = (piece for part in _AFTER.split(run[0]) for piece in _cut(part))
        parts.append(Markup("<wbr>").join(pieces))
        at = run.end()
    parts.append(Markup.escape(text[at:]))
    return Markup().join(parts)


def _cut(part: str) -> Iterator[str]:
    """Yield a part of a name in pieces that fit a narrow line, all of about one length."""
    size = math.ceil(len(part) / math.ceil(len(part) / _WHOLE))
    for at in range(0, len(part), size):
        yield part[at : at + size]


def plain_lines(text: str) -> str:
    """Return a text of several lines without control characters or disguises.

    They are escaped as in TOML and JSON, where the escapes mean the same.

    Args:
        text: The text.
    """
    return "\n".join(plain(line, len(line)) for line in text.expandtabs(4).splitlines())


def preformatted(text: str) -> Markup:
    """Return a text with its lines, for a field that sends it back.

    Args:
        text: The text.
    """
    return Markup.escape(plain_lines(text))


def coded(text: object) -> Markup:
    """Return a text whose code is marked up as code.

    Args:
        text: A sentence, with the marks of Markdown.
    """
    escaped = str(Markup.escape(plain(str(text), KEPT)))
    return Markup(CODE.sub(r"<code>\1</code>", escaped))  # noqa: S704 -- escaped above


def time_of(value: datetime | int | None) -> Markup:
    """Return a time as people and programs read it.

    Args:
        value: A time, or milliseconds since the epoch; nothing for None and 0.
    """
    if not value:
        return Markup()
    at = value if isinstance(value, datetime) else datetime.fromtimestamp(value / 1000, UTC)
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(timespec="seconds"), f"{at:%Y-%m-%d %H:%M:%S} UTC", f"{at:%Y-%m-%d %H:%M}"
    )


def seconds_of(value: float | None) -> str:
    """Return a duration; a dash if it is not known."""
    if value is None:
        return "\N{EN DASH}"
    return f"{value:.1f} s" if value < 10 else duration(value)  # noqa: PLR2004 -- shorter ones need a digit


def link(path: str, **parameters: object) -> str:
    """Return an address of the console.

    Args:
        path: Its path, whose parts are quoted already.
        parameters: The query; None and empty values are left out.
    """
    given = [
        (name.rstrip("_"), item)
        for name, value in parameters.items()
        for item in (value if isinstance(value, list | tuple) else [value])
        if item not in (None, "", False)
    ]
    query = urlencode([(name, "1" if item is True else str(item)) for name, item in given])
    return f"{path}?{query}" if query else path


def part(text: object) -> str:
    """Return a text as one part of a path."""
    return quote(str(text), safe="")


def band(rank: int) -> str:
    """Return the name of a severity by its rank."""
    return tuple(Severity)[max(0, min(rank, len(Severity) - 1))].value


def unlinked(value: str, kind: str) -> str:
    """Return the value of an indicator; links are defanged.

    Args:
        value: As the indicator has it.
        kind: The indicator's type.
    """
    return defanged(value) if kind in _OPENED else value


@lru_cache(1)
def environment() -> Environment:
    """Return the environment of the templates."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        band=band,
        breakable=breakable,
        coded=coded,
        counted=counted,
        defanged=defanged_name,
        part=part,
        seconds=seconds_of,
        time=time_of,
        unlinked=unlinked,
        versions=versions_of,
    )
    made.globals.update(link=link)
    return made


def rendered(name: str, values: Mapping[str, Any]) -> str:
    """Return a template filled in.

    Args:
        name: Its file.
        values: Its variables.
    """
    return environment().get_template(name).render(values)


def page(name: str, values: Mapping[str, Any], status: int = 200) -> Response:
    """Return the answer of a page.

    Args:
        name: The template.
        values: Its variables.
        status: The HTTP status.
    """
    return secured(Response(rendered(name, values), status, media_type="text/html"))


def secured(response: Response, policy: str = POLICY) -> Response:
    """Return an answer with the headers that every answer of the console has.

    Args:
        response: The answer.
        policy: Its content security policy.
    """
    for header, value in HEADERS.items():
        response.headers[header] = value
    response.headers["content-security-policy"] = policy
    return response
