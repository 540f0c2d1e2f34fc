"""Walks HDF5 object headers: attributes, links and storage outside the file; never the data.

Over 500 lines, since the structures of the format refer to each other.
"""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import Final

import msgspec

from agents.checks.artifacts.formats.hdf5 import SIGNATURE
from agents.checks.artifacts.formats.keras import report_keras_text
from agents.checks.artifacts.readers.embedded import report_text
from agents.checks.artifacts.readers.window import Cursor, Window
from agents.checks.artifacts.scanning import (
    BudgetExceededError,
    BytesSource,
    CorruptFileError,
    Scan,
    Source,
)

UNDEFINED: Final = (1 << 64) - 1
MAX_OBJECTS, MAX_MESSAGES, MAX_TEXTS, MAX_TEXT = 200_000, 100_000, 100_000, 32 << 20
LINK_INFO, LINK, EXTERNAL, LAYOUT, ATTRIBUTE = 0x02, 0x06, 0x07, 0x08, 0x0C
CONTINUATION, SYMBOLS, ATTRIBUTE_INFO, SPACE, TYPE = 0x10, 0x11, 0x15, 0x01, 0x03
LARGEST: Final = 1 << 36
"""Bytes of one dataset; those of real models are smaller, regardless of the file's size."""
RATIO: Final = 1100
"""Deflate's best is 1,032 to 1."""
HARD, SOFT, OUTSIDE = 0, 1, 64
STRING, VARIABLE, VIRTUAL = 3, 9, 3
_LAMBDA: Final = re.compile(rb'"class_name":\s*"(Lambda|__lambda__|TorchModuleWrapper|TFSMLayer)"')


class _Link(msgspec.Struct, frozen=True):
    """An entry of a group: an object's address, or its location outside."""

    name: str
    address: int = UNDEFINED
    outside: str = ""


def parse(scan: Scan, name: str, source: Source) -> None:
    """Report code in attributes, and data outside the file.

    Raises:
        CorruptFileError: not HDF5, or damaged.

    Source: the HDF5 File Format Specification 3.0; CVE-2026-1669, CVE-2025-9905.
    """
    del name
    _Walker(scan, source).walk()


class _Walker:
    """Follows every hard link from the superblock, once."""

    def __init__(self, scan: Scan, source: Source) -> None:
        self._scan = scan
        self._source = source
        self._window = Window(source)
        self._base = 0

    def walk(self) -> None:
        root = self._superblock()
        queue, seen = [(root, "/")], {root}
        damage: CorruptFileError | None = None
        while queue:
            address, path = queue.pop()
            if len(seen) > MAX_OBJECTS:
                raise BudgetExceededError(f"more than {MAX_OBJECTS} objects")
            try:
                for link in self._object(address, path):
                    if link.outside:
                        self._scan.report(
                            "TW-MODEL-HDF5-EXTERNAL",
                            f"{path}{link.name[:80]} is in the file {link.outside[:120]!r}",
                            key=f"{path}{link.name}"[:200],
                            name=link.outside[:200],
                        )
                    elif link.address not in seen and link.address != UNDEFINED:
                        seen.add(link.address)
                        queue.append((link.address, f"{path}{link.name[:80]}/"[:400]))
            except CorruptFileError as error:
                damage = damage or error
        if damage:
            self._raw_search()
            raise damage

    def _superblock(self) -> int:
        for offset in (0, 512, 1024, 2048, 4096):
            if offset + 96 > self._window.size:
                break
            if self._window.read(offset, 8) == SIGNATURE:
                break
        else:
            raise CorruptFileError("no HDF5 signature")
        if self._window.size < offset + 48 or self._window.read(offset, 8) != SIGNATURE:
            raise CorruptFileError("no HDF5 signature")
        version = self._window.number(offset + 8, 1)
        if version in (0, 1):
            sizes = self._window.read(offset + 13, 2)
            shift = 4 if version else 0
            self._base = self._window.number(offset + 24 + shift, 8)
            end = self._window.number(offset + 40 + shift, 8)
            root = self._window.number(offset + 64 + shift, 8)
        elif version in (2, 3):
            sizes = self._window.read(offset + 9, 2)
            self._base = self._window.number(offset + 12, 8)
            end = self._window.number(offset + 28, 8)
            root = self._window.number(offset + 36, 8)
        else:
            raise CorruptFileError(f"superblock version {version} is unknown")
        if sizes != b"\x08\x08":
            raise BudgetExceededError("addresses of other than 8 bytes are not analysed")
        if self._base not in (0, offset):
            raise CorruptFileError("the base address is not where the superblock is")
        if end != UNDEFINED and self._base + end > self._window.size and end > self._window.size:
            self._scan.mark_corrupt(f"the file ends before its declared end {end}")
        return root

    def _at(self, address: int) -> int:
        return address + self._base

    # object headers

    def _object(self, address: int, path: str) -> Iterator[_Link]:
        cells = width = 0
        for kind, flags, body in self._messages(address):
            if flags & 2:
                continue  # shared: its content is in another object
            if kind == SPACE:
                cells = _cells(body)
            elif kind == TYPE and len(body) >= 8:
                width = int.from_bytes(body[4:8], "little")
            if kind == LINK:
                yield self._link(Cursor(_memory(body)))
            elif kind == SYMBOLS and len(body) >= 16:
                yield from self._symbols(_u64(body, 0), _u64(body, 8))
            elif kind == LINK_INFO:
                for raw in self._dense(body, order_bytes=8, id_at=4):
                    yield self._link(Cursor(_memory(raw)))
            elif kind == ATTRIBUTE:
                self._attribute(body, path)
            elif kind == ATTRIBUTE_INFO:
                for raw in self._dense(body, order_bytes=2, id_at=0):
                    self._attribute(raw, path)
            elif kind == EXTERNAL:
                self._external_storage(body, path)
            elif kind == LAYOUT and body[:1] >= bytes([VIRTUAL]) and body[1:2] == bytes([VIRTUAL]):
                self._virtual(body, path)
        declared = cells * width
        if declared > max(LARGEST, RATIO * self._window.size):
            self._scan.report(
                "TW-MODEL-HDF5-BOUNDS",
                f"{path} declares {declared} bytes in a file of {self._window.size}",
                key=path[:200],
            )

    def _messages(self, address: int) -> Iterator[tuple[int, int, bytes]]:
        at = self._at(address)
        first = self._window.read(at, 4)
        blocks: list[tuple[int, int]] = []
        ordered = False
        modern = first == b"OHDR"
        if modern:
            flags = self._window.number(at + 5, 1)
            begin = at + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            width = 1 << (flags & 3)
            blocks.append((begin + width, self._window.number(begin, width)))
            ordered = bool(flags & 4)
        elif first[0] == 1:
            blocks.append((at + 16, self._window.number(at + 8, 4)))
        else:
            raise CorruptFileError(f"no object header at {at}")
        count = 0
        seen = set()
        while blocks:
            offset, length = blocks.pop(0)
            if offset in seen:
                raise CorruptFileError(f"an object header continues into itself at {offset}")
            seen.add(offset)
            cursor = Cursor(self._window, offset, offset + length)
            if cursor.end < offset + length:
                raise CorruptFileError(f"an object header reaches beyond the file at {offset}")
            least = (6 if ordered else 4) if modern else 8
            while cursor.left >= least:
                count += 1
                self._scan.budget.step(1)
                if count > MAX_MESSAGES:
                    raise BudgetExceededError("an object header has too many messages")
                if modern:
                    kind, size, flags = cursor.unsigned(1), cursor.unsigned(2), cursor.unsigned(1)
                    if ordered:
                        cursor.skip(2)
                else:
                    kind, size, flags = cursor.unsigned(2), cursor.unsigned(2), cursor.unsigned(1)
                    cursor.skip(3)
                if size > cursor.left and not modern:
                    raise CorruptFileError(f"a message reaches beyond its header at {offset}")
                body = cursor.take(size)
                if kind == CONTINUATION and size >= 16:
                    to, span = self._at(_u64(body, 0)), _u64(body, 8)
                    if span > self._window.size:
                        raise CorruptFileError("an object header continues beyond the file")
                    if modern:
                        if self._window.read(to, 4) != b"OCHK":
                            raise CorruptFileError(f"no continuation at {to}")
                        to, span = to + 4, span - 8
                    blocks.append((to, span))
                else:
                    yield kind, flags, body

    # links

    def _link(self, cursor: Cursor) -> _Link:
        if cursor.unsigned(1) != 1:
            raise CorruptFileError("a link of an unknown version")
        flags = cursor.unsigned(1)
        kind = cursor.unsigned(1) if flags & 8 else HARD
        if flags & 4:
            cursor.skip(8)
        if flags & 0x10:
            cursor.skip(1)
        name = cursor.take(cursor.unsigned(1 << (flags & 3))).decode("utf-8", "replace")
        if kind == HARD:
            return _Link(name, cursor.unsigned(8))
        target = cursor.take(cursor.unsigned(2))
        if kind == OUTSIDE:
            return _Link(name, outside=target[1:].split(b"\0")[0].decode("utf-8", "replace") or "?")
        if kind > SOFT:
            return _Link(name, outside=f"user-defined link {kind}")
        return _Link(name)

    def _symbols(self, tree: int, heap: int) -> Iterator[_Link]:
        at = self._at(heap)
        if self._window.read(at, 4) != b"HEAP":
            raise CorruptFileError(f"no local heap at {at}")
        size, segment = self._window.number(at + 8, 8), self._at(self._window.number(at + 24, 8))
        queue, seen = [tree], set()
        while queue:
            node = queue.pop()
            self._scan.budget.step(1)
            if node in seen:
                raise CorruptFileError("a group's tree leads into itself")
            seen.add(node)
            at = self._at(node)
            kind = self._window.read(at, 4)
            if kind == b"TREE":
                count = self._window.number(at + 6, 2)
                queue.extend(self._window.number(at + 32 + 16 * index, 8) for index in range(count))
            elif kind == b"SNOD":
                for index in range(self._window.number(at + 6, 2)):
                    entry = at + 8 + 40 * index
                    name = self._window.number(entry, 8)
                    if name >= size:
                        raise CorruptFileError("a name is outside its heap")
                    raw = self._window.read(segment + name, min(256, size - name))
                    text = raw.split(b"\0")[0].decode("utf-8", "replace")
                    cached = self._window.number(entry + 16, 4)
                    target = UNDEFINED if cached == 2 else self._window.number(entry + 8, 8)
                    yield _Link(text, target)
            else:
                raise CorruptFileError(f"no group node at {at}")

    def _dense(self, body: bytes, *, order_bytes: int, id_at: int) -> Iterator[bytes]:
        """Yield the links or attributes that are stored outside the object header.

        Args:
            body: The message that locates their heap and tree.
            order_bytes: Size of the creation order that precedes the two addresses if tracked.
            id_at: The offset of the heap id in a record of the tree.
        """
        if len(body) < 2:
            raise CorruptFileError("a message is too short")
        offset = 2 + (order_bytes if body[1] & 1 else 0)
        heap, tree = _u64(body, offset), _u64(body, offset + 8)
        if heap != UNDEFINED:
            yield from self._heap_objects(heap, tree, id_at)

    def _heap_objects(self, heap: int, tree: int, id_at: int) -> Iterator[bytes]:
        """Yield the managed objects of a fractal heap that a version 2 tree names."""
        at = self._at(heap)
        if self._window.read(at, 4) != b"FRHP":
            raise CorruptFileError(f"no fractal heap at {at}")
        id_length = self._window.number(at + 5, 2)
        if self._window.number(at + 7, 2):
            raise BudgetExceededError("a filtered heap is not analysed")
        most = self._window.number(at + 10, 4)
        table = Cursor(self._window, at + 110)
        width, start, largest, bits, _, root, rows = table.unpack("HQQHHQH")
        offset_length = -(-bits // 8)
        length_length = -(-min(largest, most).bit_length() // 8)
        for record in self._tree_records(tree):
            identity = record[id_at : id_at + id_length]
            if len(identity) < 1 + offset_length + length_length:
                raise CorruptFileError("a heap id is too short")
            if identity[0] & 0x30:
                if identity[0] & 0x30 == 0x20:
                    yield identity[1:]
                    continue
                self._raw_search()
                raise BudgetExceededError("a huge object of a heap is not analysed")
            offset = int.from_bytes(identity[1 : 1 + offset_length], "little")
            length = int.from_bytes(
                identity[1 + offset_length : 1 + offset_length + length_length], "little"
            )
            at = self._place(offset, root, rows, width, start, largest, bits)
            yield self._window.read(at, length)

    def _place(
        self, offset: int, root: int, rows: int, width: int, start: int, largest: int, bits: int
    ) -> int:
        """Return the byte of the file at an offset of a heap."""
        if not rows:
            return self._at(root) + offset
        if not start or not width:
            raise CorruptFileError("a heap without blocks")
        passed = 0
        entry = self._at(root) + 5 + 8 + -(-bits // 8)
        for row in range(min(rows, 64)):
            size = start << max(row - 1, 0)
            for _ in range(width):
                if passed <= offset < passed + size:
                    if size > largest:
                        self._raw_search()
                        raise BudgetExceededError("a heap of many blocks is not analysed")
                    return self._at(self._window.number(entry, 8)) + offset - passed
                passed += size
                entry += 8
        raise CorruptFileError("a heap id is outside its heap")

    def _tree_records(self, tree: int) -> Iterator[bytes]:
        at = self._at(tree)
        if self._window.read(at, 4) != b"BTHD":
            raise CorruptFileError(f"no tree at {at}")
        node_size, size, depth = Cursor(self._window, at + 6).unpack("IHH")
        root, count = Cursor(self._window, at + 16).unpack("QH")
        total = self._window.number(at + 26, 8)
        if not size or not total:
            return
        fits = max((node_size - 10) // size, 1)
        count_width = max(-(-fits.bit_length() // 8), 1)
        queue = [(root, count, depth)]
        capacity = {0: fits}
        width = {0: 0}
        for level in range(1, min(depth, 8) + 1):
            pointer = 8 + count_width + width[level - 1]
            here = max((node_size - 10 - pointer) // (size + pointer), 1)
            capacity[level] = here + (here + 1) * capacity[level - 1]
            width[level] = max(-(-capacity[level].bit_length() // 8), 1)
        seen = set()
        while queue:
            node, records, level = queue.pop()
            at = self._at(node)
            self._scan.budget.step(1 + records)
            if at in seen or level not in width:
                raise CorruptFileError("a tree leads into itself")
            seen.add(at)
            if self._window.read(at, 4) != (b"BTIN" if level else b"BTLF"):
                raise CorruptFileError(f"no tree node at {at}")
            cursor = Cursor(self._window, at + 6)
            for _ in range(records):
                yield cursor.take(size)
            if level:
                for _ in range(records + 1):
                    child, inner = cursor.unsigned(8), cursor.unsigned(count_width)
                    if level > 1:
                        cursor.skip(width[level - 1])
                    queue.append((child, inner, level - 1))

    # attributes and storage

    def _attribute(self, body: bytes, path: str) -> None:
        cursor = Cursor(_memory(body))
        version, flags = cursor.unsigned(1), cursor.unsigned(1)
        name_size, type_size, space_size = cursor.unpack("HHH")
        if version == 3:
            cursor.skip(1)
        elif version not in (1, 2):
            raise CorruptFileError(f"an attribute of version {version}")
        pad = 8 if version == 1 else 1
        name = cursor.take(-(-name_size // pad) * pad).split(b"\0")[0].decode("utf-8", "replace")
        kind = cursor.take(-(-type_size // pad) * pad)
        cursor.take(-(-space_size // pad) * pad)
        if flags & 1 or len(kind) < 8:
            return
        key = f"{path}@{name}"[:200]
        if cursor.left > MAX_TEXT:
            self._scan.mark_incomplete(f"the attribute {key} has {cursor.left} bytes")
        value = cursor.take(min(cursor.left, MAX_TEXT))
        if kind[0] & 0x0F == STRING:
            self._text(key, name, value.rstrip(b"\0"))
        elif kind[0] & 0x0F == VARIABLE:
            for index in self._scan.first(range(len(value) // 16), MAX_TEXTS, f"texts in {key}"):
                length = int.from_bytes(value[16 * index : 16 * index + 4], "little")
                heap = _u64(value, 16 * index + 4)
                item = int.from_bytes(value[16 * index + 12 : 16 * index + 16], "little")
                if heap not in (0, UNDEFINED) and length:
                    self._text(key, name, self._global(heap, item)[:length])

    def _global(self, heap: int, wanted: int) -> bytes:
        at = self._at(heap)
        if self._window.read(at, 4) != b"GCOL":
            raise CorruptFileError(f"no global heap at {at}")
        size = self._window.number(at + 8, 8)
        cursor = Cursor(self._window, at + 16, at + size)
        while cursor.left >= 16:
            self._scan.budget.step(1)
            index = cursor.unsigned(2)
            cursor.skip(6)
            length = cursor.unsigned(8)
            if index == wanted:
                if length > MAX_TEXT:
                    raise BudgetExceededError(f"an attribute of {length} bytes")
                return cursor.take(length)
            if not index:
                break
            cursor.skip(-(-length // 8) * 8)
        raise CorruptFileError(f"object {wanted} is not in its heap at {at}")

    def _text(self, key: str, name: str, raw: bytes) -> None:
        text = raw.decode("utf-8", "replace")
        self._scan.budget.step(1 + len(text) // 16)
        if name.endswith("_config") or '"class_name"' in text:
            report_keras_text(self._scan, text, key)
        else:
            report_text(self._scan, key, text)

    def _external_storage(self, body: bytes, path: str) -> None:
        names = ""
        if len(body) >= 16:
            heap = self._at(_u64(body, 8))
            if self._window.read(heap, 4) == b"HEAP":
                size, segment = self._window.number(heap + 8, 8), self._window.number(heap + 24, 8)
                raw = self._window.read(self._at(segment), min(size, 512))
                names = raw.replace(b"\0", b" ").strip().decode("utf-8", "replace")
        self._scan.report(
            "TW-MODEL-HDF5-EXTERNAL",
            f"the data of {path} is in another file: {names[:120]!r}",
            key=path[:200],
            name=names[:200],
        )

    def _virtual(self, body: bytes, path: str) -> None:
        source = ""
        if len(body) >= 14:
            heap, item = _u64(body, 2), int.from_bytes(body[10:14], "little")
            if heap not in (0, UNDEFINED):
                raw = self._global(heap, item)
                source = raw[9:300].split(b"\0")[0].decode("utf-8", "replace")
        self._scan.report(
            "TW-MODEL-HDF5-EXTERNAL",
            f"the data of {path} is put together from other files: {source[:120]!r}",
            key=path[:200],
            name=source[:200],
        )

    def _raw_search(self) -> None:
        """Search for code in the bytes of structures that can't be walked."""
        offset = 0
        while offset < self._window.size and offset < MAX_TEXT:
            raw = self._source.read(offset, 1 << 20)
            self._scan.budget.step(1 + len(raw) // 64)
            if found := _LAMBDA.search(raw):
                self._scan.report(
                    "TW-MODEL-KERAS-LAMBDA",
                    f"a damaged model holds the layer {found.group(1).decode()}",
                    offset=offset + found.start(),
                )
                return
            offset += (1 << 20) - 64


def _memory(raw: bytes) -> Window:
    return Window(BytesSource(raw))


def _u64(raw: bytes, offset: int) -> int:
    if offset + 8 > len(raw):
        raise CorruptFileError("a message is too short")
    return int.from_bytes(raw[offset : offset + 8], "little")


def _cells(body: bytes) -> int:
    """Return the current number of elements of a dataspace, not the maximum."""
    if len(body) < 4:
        return 0
    rank, start = body[1], 8 if body[0] == 1 else 4
    if not 0 < rank <= 32 or len(body) < start + 8 * rank:
        return 0
    return prod(_u64(body, start + 8 * index) for index in range(rank))
