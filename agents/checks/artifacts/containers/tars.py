"""Walks tar archives header by header, including past their end mark.

Source: POSIX.1-2001 pax, GNU tar's long names.
"""

from __future__ import annotations

from typing import Final

from agents.checks.artifacts.containers.zips import is_escaping
from agents.checks.artifacts.scanning import Scan, Source, SourceRange
from schemas.severity import Severity

BLOCK: Final = 512
END: Final = 2
"""Blocks of zeros that end an archive."""
RECORD: Final = 20 * BLOCK
"""The block size to which writers pad with zeros, if they pad."""
MAX_MEMBERS: Final = 100_000
MAX_NAME: Final = 1 << 16
_NUMERIC: Final = b"0123456789_+-oO"
"""The characters of a number: most other texts are rejected without an exception."""
_LINKS: Final = (b"1", b"2")
_DEVICES: Final = (b"3", b"4", b"6")
_FILES: Final = (b"0", b"\0", b"7", b"S")


def is_tar(head: bytes) -> bool:
    """Return whether bytes begin with a tar header: by its magic, or by its checksum."""
    if len(head) < BLOCK or not head[0]:
        return False
    if head[257:262] == b"ustar":
        return True
    return _sums_up(head)


def _sums_up(head: bytes) -> bool:
    claimed = _number(head[148:156])
    rest = head[:148] + head[156:512]
    return claimed > 0 and claimed == sum(rest) + 8 * 32


def _number(field: bytes) -> int:
    if field[:1] in (b"\x80", b"\xff"):
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0", 1)[0].strip()
    if text.translate(None, _NUMERIC):
        return -1
    try:
        return int(text, 8) if text else 0
    except ValueError:
        return -1


def ends_in_member(source: Source, span: tuple[int, int] | None) -> bool:
    """Return whether a span of bytes is exactly one member, with the padding of its last block.

    A zip archive that is a member can be found by its end, as one of the whole file is.
    """
    if span is None:
        return False
    begin, end = span
    offset = 0
    for _ in range(MAX_MEMBERS):
        header = source.read(offset, BLOCK)
        if len(header) < BLOCK or not header.strip(b"\0") or not is_tar(header):
            return False
        length = _number(header[124:136])
        if length < 0:
            return False
        if offset + BLOCK == begin:
            return end == begin + length and header[156:157] in _FILES
        offset += BLOCK + (length + BLOCK - 1) // BLOCK * BLOCK
    return False


def scan_tar(scan: Scan, source: Source) -> None:
    """Scan all members of a tar archive."""
    scan.formats.append("tar")
    offset, count = 0, 0
    long_name = long_link = ""
    seen: set[str] = set()
    size = source.size
    zeros = 0
    while offset + BLOCK <= size:
        header = source.read(offset, BLOCK)
        if not header.strip(b"\0"):
            zeros += 1
            offset += BLOCK
            scan.budget.step()
            continue
        if not is_tar(header):
            scan.mark_corrupt(f"no tar header at offset {offset}")
            return
        if not _sums_up(header):
            scan.mark_corrupt(f"the checksum of the tar header at offset {offset} is wrong")
        zeros = 0
        count += 1
        if count > MAX_MEMBERS:
            scan.mark_incomplete(f"more than {MAX_MEMBERS} members")
            return
        length = _number(header[124:136])
        kind = header[156:157]
        if length < 0:
            scan.mark_corrupt(f"a member of unreadable size at offset {offset}")
            return
        data = offset + BLOCK
        offset = data + (length + BLOCK - 1) // BLOCK * BLOCK
        if kind in (b"L", b"K", b"x"):
            body = source.read(data, min(length, MAX_NAME))
            if kind == b"L":
                long_name = _text(body)
            elif kind == b"K":
                long_link = _text(body)
            else:
                fields = _pax(body)
                long_name = fields.get("path", long_name)
                long_link = fields.get("linkpath", long_link)
            continue
        if kind == b"g":
            continue
        prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
        name = long_name or (f"{prefix}/" if prefix else "") + _text(header[:100])
        link = long_link or _text(header[157:257])
        long_name = long_link = ""
        _member(scan, name, link, kind, seen)
        if kind in _FILES and length:
            body_part = SourceRange(source, data, length)
            if body_part.size < length:
                scan.mark_corrupt(f"{name!r} is cut off")
            scan.descend(name or "unnamed", body_part)
    if zeros < END or size % BLOCK:
        scan.mark_corrupt("the tar archive has no end")
    elif zeros > END and size % RECORD:
        scan.mark_corrupt("the tar archive's last record is cut off")


def _member(scan: Scan, name: str, link: str, kind: bytes, seen: set[str]) -> None:
    shown = name[:200]
    if is_escaping(name):
        scan.report(
            "TW-ARCHIVE-TRAVERSAL", f"unpacking {shown!r} writes outside the folder", name=shown
        )
    if kind in _LINKS:
        scan.report("TW-ARCHIVE-LINK", f"{shown!r} is a link to {link[:200]!r}", name=shown)
        if is_escaping(link):
            scan.report(
                "TW-ARCHIVE-TRAVERSAL",
                f"the link {shown!r} leads outside the folder",
                name=shown,
            )
    elif kind in _DEVICES:
        scan.report(
            "TW-ARCHIVE-LINK",
            f"{shown!r} is a device or a pipe, which no model has",
            severity=Severity.CRITICAL,
            name=shown,
        )
    folded = name.casefold().removeprefix("./")
    if folded in seen and kind in _FILES:
        scan.report("TW-ARCHIVE-DUPLICATE", f"{shown!r} appears twice", name=shown)
    seen.add(folded)


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def _pax(body: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    while body:
        digits, _, _rest = body.partition(b" ")
        if not digits.isdigit() or not 0 < int(digits) <= len(body):
            break
        line = body[len(digits) + 1 : int(digits)]
        key, _, value = line.partition(b"=")
        fields[key.decode("utf-8", "replace")] = value.rstrip(b"\n").decode("utf-8", "replace")
        body = body[int(digits) :]
    return fields
