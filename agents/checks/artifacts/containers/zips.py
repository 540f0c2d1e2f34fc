"""Walks zip archives by the union of local headers and central directory, trusting neither.

Source: PKWARE APPNOTE 6.3.10; miniz as PyTorch uses it (flags and CRC are not looked at).
Over 500 lines, since every step compares the two.
"""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

import itertools
import re
import stat
import zlib
from collections.abc import Iterator
from typing import Final

import msgspec

from agents.checks.artifacts.containers.inflation import inflate, report_bomb
from agents.checks.artifacts.scanning import (
    BytesSource,
    CorruptFileError,
    Scan,
    Source,
    SourceRange,
)

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
TAIL: Final = 22 + 65_535
MAX_MEMBERS: Final = 100_000
MAX_GAP: Final = 64 << 20
"""Bytes outside all known members that are searched for hidden ones."""
CRC_LIMIT: Final = 4 << 20
"""Larger stored members are tensors: their CRC is not computed."""
SMALL: Final = 64 << 10
STORED, DEFLATED, BZIP2, LZMA, ZSTD, XZ = 0, 8, 12, 14, 93, 95
_METHODS: Final = {DEFLATED: "deflate", BZIP2: "bz2", ZSTD: "zstd", XZ: "xz"}
_ENCRYPTION: Final = 0x1 | 0x40 | 0x2000
_PATCHED: Final = 0x20
_DESCRIPTOR: Final = 0x8
_UNKNOWN_SIZE: Final = 0xFFFFFFFF


class Member(msgspec.Struct):
    """One member, as one of its two headers describes it."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    """Offset of its local header in the source."""
    data: int = 0
    """Offset of its bytes."""
    mode: int = 0


def find_zip(source: Source, head: bytes) -> bool:
    """Return whether a source is or ends in a zip archive."""
    return head.startswith((LOCAL, END, b"PK\x07\x08PK\x03\x04")) or _find_end(source) is not None


def _find_end(source: Source) -> tuple[int, bytes] | None:
    """Return the offset and bytes of the end record that readers use: the last that fits."""
    size = source.size
    start = max(size - TAIL, 0)
    tail = source.read(start, TAIL)
    position = tail.rfind(END)
    while position >= 0:
        record = tail[position : position + 22]
        if len(record) == 22:
            length = int.from_bytes(record[12:16], "little")
            at = start + position
            if (
                length == _UNKNOWN_SIZE
                or (
                    at - length >= 0
                    and (
                        length == 0
                        or source.read(at - length, 4) == CENTRAL
                        or source.read(int.from_bytes(record[16:20], "little"), 4) == CENTRAL
                    )
                )
            ) and (length or size <= 64 or position == 0):
                return at, record
        position = tail.rfind(END, 0, position)
    return None


def zip_span(source: Source) -> tuple[int, int] | None:
    """Return where the archive that readers find begins and ends, by its end record alone."""
    found = _find_end(source)
    if found is None:
        return None
    at, record = found
    begin = at - int.from_bytes(record[12:16], "little") - int.from_bytes(record[16:20], "little")
    return max(begin, 0), at + 22 + int.from_bytes(record[20:22], "little")


def _is_constant(source: Source, begin: int) -> bool:
    """Return whether an archive is a constant of the pickle that the file begins as.

    The whole pickle is read, including its constants; nothing precedes them.
    """
    if source.read(0, 1) != b"\x80":
        return False
    span = zip_span(source)
    end = span[1] if span else source.size
    before = source.read(begin - 9, 9) if begin >= 9 else b""
    for opcodes, width in ((b"\x8e\x96", 8), (b"BT", 4), (b"CU", 1)):
        opcode, number = before[8 - width : 9 - width], before[9 - width :]
        if opcode and opcode in opcodes:
            length = int.from_bytes(number, "little")
            if begin + length == end <= source.size:
                return True
    return False


def scan_zip(scan: Scan, name: str, source: Source, head: bytes) -> None:  # noqa: ARG001
    """Scan all members of a zip archive, listed and hidden."""
    scan.formats.append("zip")
    directory, shift, begin = _directory(scan, source)
    covered: list[tuple[int, int]] = []
    local: dict[int, Member] = {}
    for member in directory:
        own = _local(source, member.offset)
        if own is None:
            if member.name and not member.name.endswith("/"):
                scan.mark_corrupt(f"no local header of {member.name!r}")
            continue
        local[own.offset] = own
        _compare(scan, member, own)
        member.data = own.data
        covered.append((own.offset, own.data + member.packed))
    _overlaps(scan, directory, covered)
    if begin is not None:
        covered.append((begin, source.size))
    hidden = list(_hidden(scan, source, covered, local))
    if directory and hidden:
        for member in hidden:
            scan.report(
                "TW-ARCHIVE-HIDDEN-MEMBER",
                f"the directory does not list {member.name!r}",
                offset=member.offset,
                name=member.name[:200],
            )
    elif not directory and begin is None:
        scan.mark_corrupt("the zip archive has no directory")
    _names(scan, directory or hidden)
    first = min((start for start, _ in covered), default=0)
    if not (first and _is_constant(source, first)):
        if shift:
            scan.report("TW-ARCHIVE-PREPENDED", f"{shift} bytes precede the zip archive", offset=0)
        _around(scan, source, [start for start, _ in covered])
    everything = [*directory, *hidden]
    script = any(
        "/code/" in f"/{member.name}" and member.name.endswith(".py") for member in everything
    )
    script = script and any(member.name.endswith("constants.pkl") for member in everything)
    if any(member.name.endswith("data.pkl") for member in everything):
        scan.formats.append("torchscript" if script else "pytorch")
    elif everything and all(member.name.endswith(".npy") for member in everything):
        scan.formats.append("npz")
    if any(member.name.endswith(".dist-info/RECORD") for member in directory):
        scan.members = frozenset(member.name for member in everything)
    known = {member.offset for member in directory}
    for member in everything:
        _guarded(scan, source, member)
        own = local.get(member.offset)
        if own is not None and member.offset in known and _reads_otherwise(own, member):
            _guarded(scan, source, own)
    if scan.storages and not scan.corrupt:
        from agents.checks.artifacts.pickle.storages import report_storages  # noqa: PLC0415 -- of archives alone

        report_storages(scan, {member.name: member.size for member in everything})


def _reads_otherwise(own: Member, listed: Member) -> bool:
    """Return whether a reader of the local header gets different bytes or a different name."""
    if own.raw_name != listed.raw_name or own.method != listed.method:
        return True
    return own.packed != listed.packed and not own.flags & _DESCRIPTOR and own.packed > 0


def _guarded(scan: Scan, source: Source, member: Member) -> None:
    """Scan a member; if it can't be unpacked, read its raw bytes and continue with the next."""
    try:
        _scan_member(scan, source, member)
    except CorruptFileError as error:
        scan.mark_corrupt(f"{member.name!r}: {error.what}")
        scan.descend(member.name or "unnamed", SourceRange(source, member.data, member.packed))


def _around(scan: Scan, source: Source, begins: list[int]) -> None:
    """Scan the bytes before the first and after the last byte of the archive."""
    first = min(begins, default=0)
    if first:
        scan.descend("prepended", SourceRange(source, 0, first))
    found = _find_end(source)
    if found is not None and found[0] + 22 < source.size:
        behind = found[0] + 22
        scan.descend("appended", SourceRange(source, behind, source.size - behind))


def _directory(scan: Scan, source: Source) -> tuple[list[Member], int, int | None]:
    """Return the members of the central directory, their common shift, and where it begins."""
    found = _find_end(source)
    if found is None:
        return [], 0, None
    at, record = found
    count = int.from_bytes(record[10:12], "little")
    length = int.from_bytes(record[12:16], "little")
    offset = int.from_bytes(record[16:20], "little")
    end = at
    locator = source.read(max(at - 20, 0), 20)
    if locator[:4] == b"PK\x06\x07":
        at64 = int.from_bytes(locator[8:16], "little")
        record64 = source.read(at64, 56)
        if record64[:4] != b"PK\x06\x06":
            at64 = at - 20 - 56
            record64 = source.read(max(at64, 0), 56)
        if record64[:4] == b"PK\x06\x06":
            count = int.from_bytes(record64[32:40], "little")
            length = int.from_bytes(record64[40:48], "little")
            offset = int.from_bytes(record64[48:56], "little")
            end = at64
    begin = end - length
    shift = begin - offset
    if shift < 0 or (source.read(begin, 4) not in (CENTRAL, b"") and count):
        begin, shift = offset, 0
    if length > source.size:
        scan.mark_corrupt("the zip directory is larger than the file")
        return [], 0, None
    raw = source.read(begin, length)
    members: list[Member] = []
    position = 0
    while raw[position : position + 4] == CENTRAL and len(members) < MAX_MEMBERS:
        fields = raw[position : position + 46]
        if len(fields) < 46:
            break
        n, e, c = (int.from_bytes(fields[i : i + 2], "little") for i in (28, 30, 32))
        name = raw[position + 46 : position + 46 + n]
        extra = raw[position + 46 + n : position + 46 + n + e]
        member = Member(
            name=_decode(name),
            raw_name=name,
            flags=int.from_bytes(fields[8:10], "little"),
            method=int.from_bytes(fields[10:12], "little"),
            crc=int.from_bytes(fields[16:20], "little"),
            packed=int.from_bytes(fields[20:24], "little"),
            size=int.from_bytes(fields[24:28], "little"),
            offset=int.from_bytes(fields[42:46], "little"),
            mode=int.from_bytes(fields[38:42], "little") >> 16,
        )
        _zip64(member, extra, local=False)
        member.offset += shift
        members.append(member)
        position += 46 + n + e + c
    if len(members) != count and len(members) < MAX_MEMBERS and count != 0xFFFF:
        scan.mark_corrupt(f"the zip directory lists {len(members)} members and counts {count}")
    if len(members) >= MAX_MEMBERS:
        scan.mark_incomplete(f"more than {MAX_MEMBERS} members")
    return members, shift, begin


def _decode(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("cp437")


def _zip64(member: Member, extra: bytes, *, local: bool) -> None:
    position = 0
    while position + 4 <= len(extra):
        kind = int.from_bytes(extra[position : position + 2], "little")
        length = int.from_bytes(extra[position + 2 : position + 4], "little")
        body = extra[position + 4 : position + 4 + length]
        if kind == 1:
            values = [int.from_bytes(body[i : i + 8], "little") for i in range(0, len(body) - 7, 8)]
            if member.size == _UNKNOWN_SIZE and values:
                member.size = values.pop(0)
            if member.packed == _UNKNOWN_SIZE and values:
                member.packed = values.pop(0)
            if not local and member.offset == _UNKNOWN_SIZE and values:
                member.offset = values.pop(0)
        position += 4 + length


def _local(source: Source, offset: int) -> Member | None:
    head = source.read(offset, 512)
    if len(head) < 30 or not head.startswith(LOCAL):
        return None
    n, e = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
    if 30 + n + e > len(head):
        head = source.read(offset, 30 + n + e)
    name = head[30 : 30 + n]
    member = Member(
        name=_decode(name),
        raw_name=name,
        flags=int.from_bytes(head[6:8], "little"),
        method=int.from_bytes(head[8:10], "little"),
        crc=int.from_bytes(head[14:18], "little"),
        packed=int.from_bytes(head[18:22], "little"),
        size=int.from_bytes(head[22:26], "little"),
        offset=offset,
        data=offset + 30 + n + e,
    )
    _zip64(member, head[30 + n : 30 + n + e], local=True)
    return member


def _compare(scan: Scan, listed: Member, own: Member) -> None:
    """Report where a member's two headers differ."""
    differ = [
        field
        for field, ours, theirs in (
            ("name", own.raw_name, listed.raw_name),
            ("method", own.method, listed.method),
            ("encryption flag", own.flags & _ENCRYPTION, listed.flags & _ENCRYPTION),
        )
        if ours != theirs
    ]
    if not own.flags & _DESCRIPTOR and not listed.flags & _DESCRIPTOR:
        differ += [
            field
            for field, ours, theirs in (
                ("packed size", own.packed, listed.packed),
                ("size", own.size, listed.size),
                ("CRC", own.crc, listed.crc),
            )
            if ours != theirs and _UNKNOWN_SIZE not in (ours, theirs)
        ]
    if differ:
        scan.report(
            "TW-ARCHIVE-MISMATCH",
            f"local header and directory of {listed.name!r} differ in {', '.join(differ)}",
            offset=own.offset,
            name=listed.name[:200],
            local=own.name[:200],
        )


def _overlaps(scan: Scan, directory: list[Member], covered: list[tuple[int, int]]) -> None:
    spans = sorted(covered)
    overlapping = sum(1 for (_, a), (b, _) in itertools.pairwise(spans) if b < a)
    if overlapping:
        expanded = sum(member.size for member in directory)
        packed = sum(member.packed for member in directory)
        scan.report(
            "TW-ARCHIVE-OVERLAP",
            f"{overlapping} members share their bytes",
            expanded=expanded,
            packed=packed,
        )
        if overlapping > 100 and expanded > 1 << 30:
            report_bomb(scan, packed, expanded)


def _hidden(
    scan: Scan, source: Source, covered: list[tuple[int, int]], local: dict[int, Member]
) -> Iterator[Member]:
    """Yield members whose local headers the directory does not list."""
    position, searched = 0, 0
    for begin, end in [*sorted(covered), (source.size, source.size)]:
        while position < begin:
            gap = min(begin - position, 1 << 20)
            if searched > MAX_GAP:
                scan.mark_incomplete("more unlisted bytes in the zip archive than are searched")
                return
            raw = source.read(position, gap + 3)
            searched += gap
            found = raw.find(LOCAL)
            if found < 0 or position + found >= begin:
                position += gap
                continue
            own = _local(source, position + found)
            if own is None or own.offset in local or own.method > 99 or not own.raw_name:
                position += found + 4
                continue
            local[own.offset] = own
            if (own.flags & _DESCRIPTOR and not own.packed) or own.packed > source.size:
                own.packed = max(begin - own.data, 0)
                own.size = 0
                yield own
                position = own.data
            else:
                yield own
                position = max(own.data + own.packed, position + found + 4)
        position = max(position, end)


_TRAVERSAL: Final = re.compile(r"(^|[/\\])\.\.([/\\]|$)|^[/\\]|^[A-Za-z]:[/\\]|\0")


def is_escaping(name: str) -> bool:
    """Return whether unpacking under this name writes outside the folder."""
    return bool(_TRAVERSAL.search(name))


def _names(scan: Scan, members: list[Member]) -> None:
    seen: dict[str, str] = {}
    for member in members:
        if is_escaping(member.name):
            scan.report(
                "TW-ARCHIVE-TRAVERSAL",
                f"unpacking {member.name[:200]!r} writes outside the folder",
                name=member.name[:200],
            )
        folded = member.name.casefold()
        if folded in seen:
            scan.report(
                "TW-ARCHIVE-DUPLICATE",
                f"{member.name[:200]!r} appears twice"
                + ("" if seen[folded] == member.name else " but for case"),
                name=member.name[:200],
                offset=member.offset,
            )
        seen[folded] = member.name


def _scan_member(scan: Scan, source: Source, member: Member) -> None:
    if member.name.endswith("/") and not member.packed:
        return
    body = SourceRange(source, member.data, member.packed)
    if body.size < member.packed:
        scan.mark_corrupt(f"{member.name!r} is cut off")
    if stat.S_ISLNK(member.mode):
        _report_link(scan, member, body.read(0, 4096).decode("utf-8", "replace"))
        return
    if member.flags & (_ENCRYPTION | _PATCHED):
        scan.report(
            "TW-ARCHIVE-FLAGS",
            f"flags 0x{member.flags:x} of {member.name[:200]!r} mislead readers",
            name=member.name[:200],
            offset=member.offset,
        )
    content: Source
    if member.method == STORED:
        content = body
        if member.size != member.packed and not member.flags & _ENCRYPTION and member.size:
            scan.report(
                "TW-ARCHIVE-MISMATCH",
                f"{member.name[:200]!r} is stored with two different sizes",
                name=member.name[:200],
            )
    elif member.method in _METHODS:
        content = inflate(scan, _METHODS[member.method], body, member.size)
    elif member.method == LZMA:
        content = _lzma(scan, body, member)
    else:
        scan.mark_incomplete(f"{member.name!r}: compression method {member.method}")
        scan.report(
            "TW-ARCHIVE-UNREADABLE",
            f"{member.name[:200]!r} is packed by method {member.method}, which is not read",
            name=member.name[:200],
        )
        content = body
    if member.flags & 1 and member.method == STORED and _looks_encrypted(content):
        scan.mark_incomplete(f"{member.name!r} is encrypted")
    limit = CRC_LIMIT if member.name.endswith((".pkl", ".json", ".py")) else SMALL
    if content.size <= limit and member.crc and not member.flags & 1:
        actual = zlib.crc32(content.read(0, content.size))
        if actual != member.crc and body.size == member.packed:
            scan.report(
                "TW-ARCHIVE-CRC",
                f"the CRC of {member.name[:200]!r} is wrong",
                name=member.name[:200],
                expected=f"{member.crc:08x}",
                actual=f"{actual:08x}",
            )
            scan.mark_corrupt(f"the CRC of {member.name!r} is wrong")
    scan.descend(member.name or "unnamed", content)


def _report_link(scan: Scan, member: Member, target: str) -> None:
    scan.report(
        "TW-ARCHIVE-LINK",
        f"{member.name[:200]!r} is a link to {target[:200]!r}",
        name=member.name[:200],
    )
    if is_escaping(target):
        scan.report(
            "TW-ARCHIVE-TRAVERSAL",
            f"the link {member.name[:200]!r} leads outside the folder",
            name=member.name[:200],
        )


def _looks_encrypted(content: Source) -> bool:
    raw = content.read(0, 4096)
    return len(set(raw)) > min(len(raw) // 2, 200) and len(raw) >= 12


def _lzma(scan: Scan, body: Source, member: Member) -> Source:
    """Decompress LZMA as zip stores it: version, length of properties, properties, raw stream."""
    head = body.read(0, 9)
    if len(head) < 9 or head[2:4] != b"\x05\0":
        scan.mark_corrupt(f"{member.name!r} is not LZMA data")
        return BytesSource(b"")
    alone = head[4:9] + member.size.to_bytes(8, "little") + body.read(9, 64 << 20)
    return inflate(scan, "lzma", BytesSource(alone), member.size)
