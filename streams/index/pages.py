"""Pages of a project in a simple index, read and written: HTML (PEP 503) and JSON (PEP 691)."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.message import Message
from typing import Any, Final
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

import msgspec

from schemas.components import is_sha256
from schemas.errors import TidewatchError
from streams.index.anchors import anchors_of

JSON_TYPE: Final = "application/vnd.pypi.simple.v1+json"
HTML_TYPE: Final = "application/vnd.pypi.simple.v1+html"
PLAIN_HTML: Final = "text/html"
ACCEPT: Final = f"{JSON_TYPE}, {HTML_TYPE};q=0.2, {PLAIN_HTML};q=0.1"
MAX_FILES: Final = 50_000
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.+!-]{0,254}", re.ASCII)
_LATEST: Final = "application/vnd.pypi.simple.latest+"
_ANY: Final = frozenset({"*/*", "application/*"})


class PageError(TidewatchError):
    """A page that can't be read."""


class IndexFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a project."""

    filename: str
    url: str
    """Absolute, without a fragment."""
    sha256: str | None = None
    requires_python: str | None = None
    size: int | None = None
    uploaded: datetime | None = None
    yanked: bool | str = False
    metadata: bool | str = False
    """Whether its metadata is served beside it; its SHA-256 if the index gives it."""


class _JsonFile(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    filename: str
    url: str
    hashes: dict[str, str] = {}
    requires_python: str | None = None
    size: int | None = None
    upload_time: str | None = None
    yanked: bool | str = False
    core_metadata: bool | dict[str, str] | None = None
    dist_info_metadata: bool | dict[str, str] | None = None
    data_dist_info_metadata: bool | dict[str, str] | None = None


class _Meta(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    api_version: str = "1.0"


class _JsonPage(msgspec.Struct, frozen=True, kw_only=True):
    meta: _Meta = _Meta()
    files: list[_JsonFile]


_DECODER: Final = msgspec.json.Decoder(_JsonPage)


def read_page(raw: bytes, content_type: str, base: str) -> tuple[IndexFile, ...]:
    """Return the files of a page.

    Files without a plain name, or whose address is not http, are left out.

    Args:
        raw: The page.
        content_type: Its content type.
        base: Its URL, the base of relative addresses.

    Raises:
        PageError: It is of no known kind, or has more than `MAX_FILES` files.
    """
    message = Message()
    message["content-type"] = content_type.encode("ascii", "replace").decode()
    kind = message.get_content_type()
    if kind in {JSON_TYPE, f"{_LATEST}json", "application/json"}:
        found = _read_json(raw, base)
    elif kind in {HTML_TYPE, f"{_LATEST}html", PLAIN_HTML}:
        found = _read_html(raw, base)
    else:
        raise PageError("the answer is not a page of a simple index", where=kind[:100])
    if len(found) > MAX_FILES:
        raise PageError(f"the project has more than {MAX_FILES} files")
    return tuple(file for file in found if _is_plain(file))


def _is_plain(file: IndexFile) -> bool:
    try:
        parts = urlsplit(file.url)
        _ = parts.port  # the date may not exist
        return (
            _NAME.fullmatch(file.filename) is not None
            and parts.scheme in {"http", "https"}
            and bool(parts.hostname)
        )
    except ValueError:
        return False


def _read_json(raw: bytes, base: str) -> list[IndexFile]:
    try:
        page = _DECODER.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PageError("the index's JSON can't be read", remedy=str(error)[:200]) from error
    if page.meta.api_version.partition(".")[0] != "1":
        raise PageError(
            "the index uses an unsupported version of the JSON API",
            where=page.meta.api_version[:20],
        )
    found: list[IndexFile] = []
    for entry in page.files[: MAX_FILES + 1]:
        offered = entry.core_metadata
        if offered is None:
            offered = entry.dist_info_metadata
        if offered is None:
            offered = entry.data_dist_info_metadata
        metadata: bool | str = bool(offered)
        if isinstance(offered, dict):
            metadata = _sha256(offered.get("sha256")) or True
        found.append(
            IndexFile(
                filename=entry.filename,
                url=_absolute(base, entry.url),
                sha256=_sha256(entry.hashes.get("sha256")),
                requires_python=entry.requires_python,
                size=entry.size if entry.size is not None and entry.size >= 0 else None,
                uploaded=_moment(entry.upload_time),
                yanked=entry.yanked,
                metadata=metadata,
            )
        )
    return found


def _absolute(base: str, url: str) -> str:
    try:
        return urldefrag(urljoin(base, url)).url
    except ValueError:
        return ""


def _sha256(text: str | None) -> str | None:
    lowered = (text or "").strip().lower()
    return lowered if is_sha256(lowered) else None


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
        # at the ends of the calendar another time zone has no such day
        return found and (found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _read_html(raw: bytes, base: str) -> list[IndexFile]:
    try:
        page = anchors_of(raw.decode("utf-8", "replace"), MAX_FILES + 1)
    except ValueError as error:
        raise PageError("the index's HTML can't be read") from error
    if page.base:
        base = _absolute(base, page.base) or base
    found: list[IndexFile] = []
    for link in page.links:
        attributes = link.attributes
        href = attributes.get("href") or ""
        _, _, fragment = href.partition("#")
        url = _absolute(base, href)
        offered = attributes.get("data-core-metadata", attributes.get("data-dist-info-metadata"))
        has_metadata = {"data-core-metadata", "data-dist-info-metadata"} & attributes.keys()
        metadata: bool | str = bool(has_metadata) and offered != "false"
        if offered and offered.startswith("sha256="):
            metadata = _sha256(offered.removeprefix("sha256=")) or True
        yanked = attributes.get("data-yanked") or True if "data-yanked" in attributes else False
        digest = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None
        found.append(
            IndexFile(
                filename="".join(link.texts).strip() or unquote(url.rpartition("/")[2]),
                url=url,
                sha256=_sha256(digest),
                requires_python=attributes.get("data-requires-python"),
                yanked=yanked,
                metadata=metadata,
            )
        )
    return found


class ListedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it is listed."""

    file: IndexFile
    url: str
    """Relative to the page."""
    yanked: bool | str
    metadata: bool | str


def json_page(name: str, entries: Sequence[ListedFile]) -> bytes:
    """Return the page of a project as JSON (PEP 691, with the upload times of PEP 700)."""
    return msgspec.json.encode(
        {
            "meta": {"api-version": "1.0"},
            "name": name,
            "files": [_json_entry(entry) for entry in entries],
        }
    )


def _json_entry(entry: ListedFile) -> dict[str, Any]:
    file = entry.file
    metadata = {"sha256": entry.metadata} if isinstance(entry.metadata, str) else entry.metadata
    found: dict[str, Any] = {
        "filename": file.filename,
        "url": entry.url,
        "hashes": {"sha256": file.sha256} if file.sha256 else {},
        "yanked": entry.yanked,
        "core-metadata": metadata,
        "dist-info-metadata": metadata,
    }
    if file.requires_python is not None:
        found["requires-python"] = file.requires_python
    if file.size is not None:
        found["size"] = file.size
    if file.uploaded is not None:
        found["upload-time"] = file.uploaded.isoformat().replace("+00:00", "Z")
    return found


def html_page(name: str, entries: Iterable[ListedFile]) -> bytes:
    """Return the page of a project as HTML (PEP 503, 592 and 658)."""
    lines = [
        "<!DOCTYPE html>",
        '<html><head><meta name="pypi:repository-version" content="1.0">',
        f"<title>Links for {html.escape(name)}</title></head>",
        f"<body><h1>Links for {html.escape(name)}</h1>",
    ]
    for entry in entries:
        file = entry.file
        attributes = {"href": f"{entry.url}#sha256={file.sha256}" if file.sha256 else entry.url}
        if file.requires_python is not None:
            attributes["data-requires-python"] = file.requires_python
        if entry.yanked is not False:
            attributes["data-yanked"] = entry.yanked if isinstance(entry.yanked, str) else ""
        if entry.metadata is not False:
            digest = entry.metadata
            value = f"sha256={digest}" if isinstance(digest, str) else "true"
            attributes["data-core-metadata"] = attributes["data-dist-info-metadata"] = value
        written = " ".join(f'{key}="{html.escape(text)}"' for key, text in attributes.items())
        lines.append(f"<a {written}>{html.escape(file.filename)}</a><br>")
    lines.append("</body></html>")
    return "\n".join(lines).encode("utf-8", "replace")


def wanted_type(accept: str | None) -> str | None:
    """Return the content type to answer by an Accept header, None if it accepts none of ours."""
    ours: Mapping[str, str] = {
        JSON_TYPE: JSON_TYPE,
        f"{_LATEST}json": JSON_TYPE,
        HTML_TYPE: HTML_TYPE,
        f"{_LATEST}html": HTML_TYPE,
        PLAIN_HTML: PLAIN_HTML,
    }
    best: tuple[float, str] | None = None
    for part in (accept or "*/*").split(",")[:32]:
        kind, *parameters = (text.strip().lower() for text in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        answer = PLAIN_HTML if kind in {*_ANY, "text/*"} else ours.get(kind)
        if answer is not None and quality > 0 and (best is None or quality > best[0]):
            best = (quality, answer)
    return best[1] if best is not None else None


def file_path(*parts: str) -> str:
    """Return parts of a path, each quoted as a whole."""
    return "/".join(quote(part, safe="") for part in parts)
