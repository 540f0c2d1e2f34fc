"""Recognises where pickles and other files begin: by first bytes, within others, in text."""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

import base64
import binascii
import re
import zlib
from typing import Final

from agents.checks.artifacts.scanning import Source
from agents.domain.late_pattern import late_pattern

SEARCH: Final = 1 << 20
SEARCH_OVERLAP: Final = 1 << 10
MAX_NAME: Final = 201
_NEWLINE, _MARK = b"\n("
_NAME = rb"[A-Za-z_][\w.]{0,200}"
_STRING = rb"(?:\x8c.|X.\0\0\0|U.|V|S['\"])"
_MEMO = rb"(?:\x94|q.|r....|p\d+\n)?"
_NEXT: Final = tuple(
    late_pattern(pattern, re.DOTALL)
    for pattern in (
        rb"\x80[\x00-\x05](?=[\x95\x80-\x93}\]()cKJMINXUSVTBCGLFiq\x8a\x8c])",
        rb"\x8c." + _NAME + _MEMO + rb"(?:\x8c.|X.\0\0\0)" + _NAME + _MEMO + rb"\x93",
        rb"X.\0\0\0" + _NAME + _MEMO + rb"(?:\x8c.|X.\0\0\0)" + _NAME + _MEMO + rb"\x93",
        rb"U." + _NAME + _MEMO + rb"U." + _NAME + _MEMO + rb"\x93",
        rb"\n" + _NAME + rb"(?=\n)",
    )
)
"""Where another stream may begin: each pattern has a fixed first byte, which is found fast."""
_FIRST_LINE: Final = late_pattern(rb"[ci]" + _NAME + rb"\Z")
IMPORTS: Final = late_pattern(
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
_TEXTUAL: Final = late_pattern(
    rb"[(\]}lt0-9]{0,8}(?:[ci]"
    + _NAME
    + rb"\n"
    + _NAME
    + rb"\n|[SV]['\"]?[^\n]{0,200}\n(?:p\d+\n)?[SV])"
)
_BASE64: Final = late_pattern(r"[A-Za-z0-9+/_-]{12,}[\sA-Za-z0-9+/_=-]*")
_HEX: Final = late_pattern(r"(?:\\?x?[0-9A-Fa-f]{2}){8,}")
_ARCHIVES: Final = (
    b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd",
    b"7z\xbc\xaf\x27\x1c", b"\x93NUMPY", b"\x04\x22\x4d\x18", b"\x7fELF", b"\x5d\x00\x00", b"Rar!",
)  # fmt: skip
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


def starts_like_pickle(head: bytes) -> bool:
    """Return whether bytes begin as a pickle of any protocol does."""
    return (len(head) > 1 and head[0] == 0x80 and head[1] <= 5) or bool(_TEXTUAL.match(head))


OPENING: Final = bytes(
    (*b"()]}CNIJKLMFGSTUVXBPchigjp", 0x80, 0x82, 0x83, 0x84, 0x88, 0x89, 0x8A, 0x8B, 0x8C, 0x8D,
     0x8E, 0x8F, 0x95, 0x96, 0x97)
)  # fmt: skip
"""Opcodes that can start a stream: all others pop from the still empty stack."""


def holds_file(raw: bytes) -> bool:
    """Return whether a constant begins as a pickle, an archive or a program does."""
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


class Candidates:
    """Finds where further streams may begin; searches each part once, forward."""

    def __init__(self, source: Source) -> None:
        """Read nothing yet."""
        self._source = source
        self._chunk = b""
        self._base = 0
        self._last = False
        """The chunk reaches up to the file's end."""
        self._found: list[int | None] = []
        """The next match of each pattern within the chunk, None if there is none."""

    def next(self, floor: int) -> int:
        """Return the first offset from `floor` on where a stream may begin, else the file's size.

        Args:
            floor: At least that of the previous call.
        """
        size = self._source.size
        if not self._found or floor >= self._base + len(self._chunk):
            self._read(floor)
        while True:
            begin = max(floor - self._base, 0)
            offsets = [
                offset
                for index, pattern in enumerate(_NEXT)
                if (offset := self._place(index, pattern, begin)) is not None
            ]
            if offsets:
                return self._base + min(offsets)
            if self._last:
                return size
            self._read(max(self._base + len(self._chunk) - SEARCH_OVERLAP, floor))

    def _read(self, offset: int) -> None:
        self._base = offset
        self._chunk = self._source.read(offset, SEARCH)
        self._last = len(self._chunk) < SEARCH
        self._found = [-1] * len(_NEXT)

    def _place(self, index: int, pattern: re.Pattern[bytes], begin: int) -> int | None:
        """Return where in the chunk a stream may begin by one pattern, from `begin` on."""
        chunk = self._chunk
        at = self._found[index]
        while at is not None:
            if at >= begin:
                if chunk[at] != _NEWLINE:
                    break
                # The second of an import's two lines: the first precedes it.
                before = _FIRST_LINE.search(chunk, max(at - MAX_NAME - 1, begin), at)
                if before:
                    start = before.start()
                    return start - 1 if start > begin and chunk[start - 1] == _MARK else start
            match = pattern.search(chunk, max(at + 1, begin))
            at = self._found[index] = match.start() if match else None
        return at
