"""Pages of an index: read in either form, written in either form, and hostile ones refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.index.pages import (
    HTML_TYPE,
    JSON_TYPE,
    PLAIN_HTML,
    IndexFile,
    ListedFile,
    PageError,
    html_page,
    json_page,
    read_page,
    wanted_type,
)
from tests.each import each

BASE = "https://index.example/simple/demo/"
DIGEST = "a" * 64
FILE = IndexFile(
    filename="demo-1.0-py3-none-any.whl",
    url="https://files.example/demo-1.0-py3-none-any.whl",
    sha256=DIGEST,
    requires_python=">=3.9,<4",
    size=123,
    uploaded=datetime(2026, 11, 1, 12, 30, 15, 250000, tzinfo=UTC),
    yanked='broken & "bad"',
    metadata="b" * 64,
)


def as_json(**changes: Any) -> bytes:
    file = {
        "filename": FILE.filename,
        "url": "../../files/demo-1.0-py3-none-any.whl",
        "hashes": {"sha256": DIGEST.upper(), "md5": "x"},
        "upload-time": "2026-11-01T12:30:15.250000Z",
        **changes,
    }
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "files": [file]}).encode()


def test_json_says_when_a_file_was_uploaded() -> None:
    (file,) = read_page(as_json(**{"core-metadata": {"sha256": DIGEST}}), JSON_TYPE, BASE)
    assert file.uploaded == FILE.uploaded
    assert (file.sha256, file.metadata) == (DIGEST, DIGEST)
    assert file.url == "https://index.example/files/demo-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"upload-time": "yesterday"}, "uploaded", None),
        ({"upload-time": "0001-01-01T00:00:00+23:59"}, "uploaded", None),
        ({"upload-time": "9999-12-31T23:59:59-23:59"}, "uploaded", None),
        ({"upload-time": "2026-11-01T12"}, "uploaded", datetime(2026, 11, 1, 12, tzinfo=UTC)),
        ({"hashes": {"sha256": "short"}}, "sha256", None),
        ({"core-metadata": False, "dist-info-metadata": True}, "metadata", False),
        ({"data-dist-info-metadata": True}, "metadata", True),
        ({"yanked": "why"}, "yanked", "why"),
        ({"size": -1}, "size", None),
    ],
)  # fmt: skip
def test_fields_of_json(changes: dict[str, Any], field: str, value: Any) -> None:
    (file,) = read_page(as_json(**changes), JSON_TYPE, BASE)
    assert getattr(file, field) == value


def test_html_is_read_with_its_base_and_attributes() -> None:
    page = (
        b'<base href="https://files.example/x/"><a href="demo-1.0.tar.gz#sha256='
        + DIGEST.encode()
        + b'" data-requires-python="&gt;=3.9" data-yanked data-core-metadata="true">demo-1.0.tar.gz'
        b"</a><a>no link</a><a href='ftp://x/demo-2.0.tar.gz'>demo-2.0.tar.gz</a>"
        b"<a href='https://[bad/demo-3.0.tar.gz'>demo-3.0.tar.gz</a>"
    )
    (file,) = read_page(page, "text/html; charset=utf-8", BASE)
    assert file.url == "https://files.example/x/demo-1.0.tar.gz"
    assert (file.requires_python, file.yanked, file.metadata) == (">=3.9", True, True)
    assert (file.sha256, file.uploaded) == (DIGEST, None)


@each("url", ["https://x:99999/a.whl", "https://x:a/a.whl", "https://[bad/a.whl", "file:///a.whl"])
def test_a_file_without_an_address_that_can_be_asked_is_left_out(url: str) -> None:
    assert read_page(as_json(url=url), JSON_TYPE, BASE) == ()


@each("filename", ["", "../x.whl", "a/b.whl", "a b.whl", ".whl", "a\x1b.whl", "a" * 300, "é.whl"])
def test_a_file_without_a_plain_name_is_left_out(filename: str) -> None:
    assert read_page(as_json(filename=filename), JSON_TYPE, BASE) == ()


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"{", JSON_TYPE),
        (b'{"files": 1}', JSON_TYPE),
        (b"[" * 3000, JSON_TYPE),
        (b'{"meta": {"api-version": "2.0"}, "files": []}', JSON_TYPE),
        (b"\xff", JSON_TYPE),
        (b"pickle", "application/octet-stream"),
        (b"", ""),
        (b'<a href="x">&#' + b"9" * 5000 + b";</a>", "text/html"),
    ],
)
def test_malformed_page_is_refused(raw: bytes, kind: str) -> None:
    with pytest.raises(PageError):
        read_page(raw, kind, BASE)


@pytest.mark.parametrize("kind", [JSON_TYPE, HTML_TYPE])
def test_written_page_reads_back(kind: str) -> None:
    entry = ListedFile(file=FILE, url=FILE.url, yanked=FILE.yanked, metadata=FILE.metadata)
    written = (json_page if kind == JSON_TYPE else html_page)("demo", [entry])
    (file,) = read_page(written, kind, BASE)
    if kind == JSON_TYPE:
        assert file == FILE
    else:
        # HTML has no size and no time
        assert (file.filename, file.url, file.sha256) == (FILE.filename, FILE.url, DIGEST)
        assert (file.yanked, file.requires_python) == (FILE.yanked, FILE.requires_python)
        assert file.metadata == FILE.metadata


@settings(max_examples=60)
@given(st.text(max_size=60), st.sampled_from([JSON_TYPE, PLAIN_HTML]))
def test_no_reason_breaks_out_of_a_page(text: str, kind: str) -> None:
    entry = ListedFile(file=FILE, url="../x", yanked=text or True, metadata=False)
    text = text.encode("utf-8", "replace").decode()
    written = (json_page if kind == JSON_TYPE else html_page)("demo", [entry])
    assert [file.filename for file in read_page(written, kind, BASE)] == [FILE.filename]


@settings(max_examples=100)
@given(st.binary(max_size=300), st.sampled_from([JSON_TYPE, PLAIN_HTML]))
def test_any_bytes_are_a_page_or_refused(raw: bytes, kind: str) -> None:
    try:
        read_page(raw, kind, BASE)
    except PageError as error:
        assert error.what  # noqa: PT017 -- either is right; a traceback is not


@each(
    ("accept", "kind"),
    [
        (None, PLAIN_HTML),
        ("*/*", PLAIN_HTML),
        ("text/html", PLAIN_HTML),
        (f"{JSON_TYPE}, {HTML_TYPE}; q=0.1, text/html; q=0.01", JSON_TYPE),
        (f"{JSON_TYPE};q=0.1, text/html", PLAIN_HTML),
        ("application/vnd.pypi.simple.latest+json", JSON_TYPE),
        ("application/vnd.pypi.simple.v2+json", None),
        (f"{JSON_TYPE};q=0", None),
        (f"{JSON_TYPE};q=x", None),
    ],
)
def test_what_is_accepted_is_answered(accept: str | None, kind: str | None) -> None:
    assert wanted_type(accept) == kind
