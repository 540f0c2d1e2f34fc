"""Recognises where pickles and other files begin: by first bytes, within others, in text."""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from typing import Final

_NAME = rb"[A-Za-z_][\w.]{0,200}"
_STRING = rb"(?:\x8c.|X.\0\0\0|U.|V|S['\"])"
_MEMO = rb"(?:\x94|q.|r....|p\d+\n)?"
_NEXT: Final = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        rb"\x80[\x00-\x05](?=[\x95\x80-\x93}\]()cKJMINXUSVTBCGLFiq\x8a\x8c])",
        rb"\x8c." + _NAME + _MEMO + rb"(?:\x8c.|X.\0\0\0)" + _NAME + _MEMO + rb"\x93",
        rb"X.\0\0\0" + _NAME + _MEMO + rb"(?:\x8c.|X.\0\0\0)" + _NAME + _MEMO + rb"\x93",
        rb"U." + _NAME + _MEMO + rb"U." + _NAME + _MEMO + rb"\x93",
        rb"\n" + _NAME + rb"(?=\n)",
    )
)
"""Where another stream may begin: each pattern has a fixed first byte, which is found fast."""
_FIRST_LINE: Final = re.compile(rb"[ci]" + _NAME + rb"\Z")
IMPORTS: Final = re.compile(
    rb"[ci](" + _NAME + rb")\n(" + _NAME + rb")\n"
    rb"|"
    + _STRING
    + rb"("
    + _NAME
    + rb")['\"]?\n?"
    + _MEMO
    + _STRING
    + rb"("
    + _NAME
    + rb")['\"]?\n?"
    + _MEMO
    + rb"\x93",
    re.DOTALL,
)
_TEXTUAL: Final = re.compile(
    rb"[(\]}lt0-9]{0,8}(?:[ci]"
    + _NAME
    + rb"\n"
    + _NAME
    + rb"\n|[SV]['\"]?[^\n]{0,200}\n(?:p\d+\n)?[SV])"
)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{12,}[\sA-Za-z0-9+/_=-]*")
_HEX: Final = re.compile(r"(?:\\?x?[0-9A-Fa-f]{2}){8,}")
_ARCHIVES: Final = (
    b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd",
    b"7z\xbc\xaf\x27\x1c", b"\x93NUMPY", b"\x04\x22\x4d\x18", b"\x7fELF", b"\x5d\x00\x00", b"Rar!",
)  # fmt: skip
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


def starts_like_pickle(head: bytes) -> bool:
    """Tell whether bytes begin as a pickle does, of protocol 0 or any later one."""
    return (len(head) > 1 and head[0] == 0x80 and head[1] <= 5) or bool(_TEXTUAL.match(head))


def holds_file(raw: bytes) -> bool:
    """Tell whether a constant begins as a pickle, an archive or a program does."""
    if starts_like_pickle(raw) or raw.startswith(_ARCHIVES):
        return True
    if raw[:3] == b"BZh" and raw[4:10] == b"1AY&SY":
        return True
    if raw[:1] == b"x" and len(raw) > 2 and (raw[0] << 8 | raw[1]) % 31 == 0:
        try:
            inner = zlib.decompressobj().decompress(raw[:4096], 64)
        except zlib.error:
            return False
        return starts_like_pickle(inner) or inner.startswith(_ARCHIVES)
    return False


def decoded(raw: bytes) -> list[bytes]:
    """Return what base64 or hexadecimal text decodes to, if it is such a text."""
    try:
        text = raw[:64].decode("ascii").strip()
    except UnicodeDecodeError:
        return []
    whole: list[bytes] = []
    if _HEX.fullmatch(text[: len(text) & ~1]) or _HEX.match(text):
        digits = re.sub(r"\\x|0x|\s", "", raw.decode("ascii", "ignore"))
        try:
            whole.append(bytes.fromhex(digits))
        except ValueError:
            whole.clear()
    if _BASE64.fullmatch(text):
        flat = b"".join(raw.split()).rstrip(b"=")
        try:
            whole.append(base64.b64decode(flat.translate(_URL_SAFE) + b"=" * (-len(flat) % 4)))
        except (ValueError, binascii.Error):
            return whole
    return whole


def _beginnings(pattern: re.Pattern[bytes], chunk: bytes) -> Iterator[int]:
    """Yield where a stream may begin by one of the patterns."""
    for match in pattern.finditer(chunk):
        at = match.start()
        if chunk[at] != ord("\n"):
            yield at
        # The second of an import's two lines: the first stands before it.
        elif before := _FIRST_LINE.search(chunk, max(at - 202, 0), at):
            start = before.start()
            yield start - 1 if chunk[start - 1 : start] == b"(" else start


def beginnings(chunk: bytes) -> list[int]:
    """Return where in a chunk streams may begin, in order."""
    return sorted(at for pattern in _NEXT for at in _beginnings(pattern, chunk))
