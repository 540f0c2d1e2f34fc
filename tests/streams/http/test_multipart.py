"""Multipart forms: well-formed and malformed."""

from __future__ import annotations

import pytest
import requests

from streams.http.multipart import FormField, parts_of
from streams.http.problems import HttpError
from tests.each import each


def written(fields, files) -> tuple[bytes, str]:
    """Return a form as a client of its own writes it, and its content type."""
    made = requests.Request("POST", "http://127.0.0.1/", data=fields, files=files).prepare()
    return made.body, made.headers["content-type"]


@each(
    "raw",
    [
        b"",
        b"\r\n",
        b"\r\n--x\r\n--\r",
        b"\r\n-" * 9_000,
        b"a\r\n--b\r\n",
        b"--",
        bytes(range(256)) * 274,
        b"\r\n\r\n--\r\n",
    ],
)
def test_a_file_arrives_byte_for_byte(raw):
    body, kind = written({"csrf": "t", "text": "a\r\nb"}, {"file": ("å b.zip", raw)})
    assert parts_of(body, kind, 3) == [
        FormField("csrf", b"t"),
        FormField("text", b"a\r\nb"),
        FormField("file", raw, "å b.zip"),
    ]


KIND = "multipart/form-data; boundary=xx"
FIELD = b'\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'


def test_browser_form_is_read():
    body = (
        b'--xx\r\nContent-Disposition: form-data; name="a"; filename="f%22.txt"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\nhello\r\n--xx--\r\n"
    )
    assert parts_of(body, KIND, 1) == [FormField("a", b"hello", "f%22.txt")]
    assert parts_of(b"--xx" + FIELD + b"--xx--", KIND, 1) == [FormField("a", b"1")]
    assert parts_of(b"--xx--\r\n", KIND, 1) == []


@each(
    ("body", "kind"),
    [
        (b"", KIND),
        (b"--xx", KIND),
        (b"--xx" + FIELD, KIND),
        (b"--xx" + FIELD + b"--xx--\r\nmore", KIND),
        (b"before\r\n--xx" + FIELD + b"--xx--", KIND),
        (b"--xx" + FIELD * 2 + b"--xx--", KIND.replace("xx", "yy")),
        (b"--xx" + (FIELD + b"--xx") * 3 + b"--", KIND),
        (b"--xx\r\nContent-Disposition: form-data\r\n\r\n1\r\n--xx--", KIND),
        (b'--xx\r\nContent-Disposition: attachment; name="a"\r\n\r\n1\r\n--xx--', KIND),
        (b'--xx\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n1\r\n--xx--', KIND),
        (b"--xx\r\nX: " + b"y" * 5000 + FIELD + b"--xx--", KIND),
        (b"--xx" + b"\r\nX: y" * 8 + FIELD + b"--xx--", KIND),
        (b"--xx" + FIELD[:-7] + FIELD + b"--xx--", KIND),
        (b"--xx\r\n\r\n1\r\n--xx--", KIND),
        (b"--xx" + FIELD + b"--xx--", "multipart/form-data; boundary="),
        (b"--xx" + FIELD + b"--xx--", "multipart/form-data"),
        (b"--xx" + FIELD + b"--xx--", 'multipart/form-data; boundary="' + "x" * 71 + '"'),
    ],
)
def test_malformed_form_is_refused(body, kind):
    with pytest.raises(HttpError) as raised:
        parts_of(body, kind, 2)
    assert raised.value.status == 400
