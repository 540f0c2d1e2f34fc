"""Reads the metadata and the tensor table of a GGUF file; never its weights."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

import re
from typing import Final, Literal

from agents.checks.artifacts.formats.format import Content, Format, Suffix, Trait, endings
from agents.checks.artifacts.formats.ggml_whisper import WHISPER, read_whisper
from agents.checks.artifacts.formats.templates import report_template
from agents.checks.artifacts.readers.embedded import report_text
from agents.checks.artifacts.readers.torn_tails import Span, report_torn_tail
from agents.checks.artifacts.readers.window import Cursor, Window
from agents.checks.artifacts.scanning import (
    BudgetExceededError,
    BytesSource,
    CorruptFileError,
    Scan,
    Source,
)

SUFFIXES: Final = (
    Suffix(
        ".gguf",
        Trait.NAMED | Trait.WEIGHTS | Trait.SIZED | Trait.NONEMPTY | Trait.BINARY | Trait.VARIANTS,
        Content.TENSORS,
        promises=("gguf",),
        claim="gguf",
    ),
    Suffix(".ggml", Trait.WEIGHTS | Trait.NONEMPTY | Trait.BINARY),
    Suffix(".ggmlv3"),
    Suffix(".bin"),
)
_ENDINGS: Final = endings(SUFFIXES)
_NAMED: Final = endings(SUFFIXES, Trait.NAMED)
MAGIC: Final = b"GGUF"
_EITHER_ORDER: Final = re.compile(rb"GGUF|FUGG")
LEGACY: Final = (b"lmgg", b"tjgg", b"fmgg", b"algg", b"ggml", b"ggmf", b"ggjt", b"ggla")
MAX_STRING: Final = 16 << 20
TOKENS: Final = "tokenizer.ggml.tokens"
_NEGATIVE_BYTE: Final = re.compile(r"<0x-[0-9A-Fa-f]+>$")
"""A token that PLaMo-2's tokenizer writes before its table of bytes."""
MAX_NAME: Final = 64
"""Bytes of a tensor's name; GGML_MAX_NAME."""
MAX_DIMENSIONS: Final = 4
ABSURD: Final = 1 << 32
"""A count or length this large is an attempt to overflow a reader, not damage."""
SCALARS: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING: Final = 8
ARRAY: Final = 9
INTEGERS: Final = frozenset((0, 1, 2, 3, 4, 5, 10, 11))
KINDS: Final = {
    "general.architecture": STRING, "general.name": STRING, "general.type": STRING,
    "general.alignment": 4, "general.file_type": 4, "general.quantization_version": 4,
    "tokenizer.ggml.model": STRING, "tokenizer.ggml.pre": STRING, "tokenizer.chat_template": STRING,
    "tokenizer.ggml.bos_token_id": 4, "tokenizer.ggml.eos_token_id": 4,
    "tokenizer.ggml.unknown_token_id": 4, "tokenizer.ggml.padding_token_id": 4,
    "tokenizer.ggml.add_bos_token": 7, "tokenizer.ggml.add_eos_token": 7,
}  # fmt: skip
"""Value types that readers assume without a check; llama.cpp `gguf_get_val_*`."""
ELEMENTS: Final = {
    TOKENS: frozenset((STRING,)),
    "tokenizer.ggml.merges": frozenset((STRING,)),
    "tokenizer.ggml.scores": frozenset((6,)),
    "tokenizer.ggml.token_type": frozenset((4, 5)),
}
COUNTS: Final = (
    ".block_count", ".context_length", ".embedding_length", ".feed_forward_length",
    ".attention.head_count", ".attention.head_count_kv", ".expert_count", ".vocab_size",
)  # fmt: skip
BLOCKS: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110),
    22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36),
    41: (128, 18),
}  # fmt: skip
"""Tensor type to elements and bytes of a block; ggml.c `type_traits`."""
RETIRED: Final = frozenset((4, 5, 9, 31, 32, 33, 36, 37, 38, 42, 43, 44, 45, 46, 47, 48))
VERSIONS: Final = (1, 2, 3)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is GGUF, or GGML, its predecessor."""
    del source
    return (
        _EITHER_ORDER.match(head) is not None
        or (head[:4] in LEGACY and name.lower().endswith(_ENDINGS))
        or (
            name.lower().endswith(_NAMED)
            and not head.startswith(
                (b"PK", b"version https://git-lfs", b"\x7fELF", b"MZ", b"\xcf\xfa")
            )
        )
    )


def parse(scan: Scan, name: str, source: Source) -> None:
    """Report counts that overflow, keys that repeat and templates that escape.

    Raises:
        CorruptFileError: the file ends early, or is not GGUF.

    Source: the GGUF specification of ggml, versions 1 to 3; CVE-2024-34359, CVE-2026-7482.
    """
    del name
    _Reader(scan, source).read()


class _Reader:
    def __init__(self, scan: Scan, source: Source) -> None:
        self._scan = scan
        self._cursor = Cursor(Window(source))
        self._size = source.size
        self._order: Literal["little", "big"] = "little"
        self._width = 8
        self._source = source
        self._unsized = False
        self._counts: dict[str, int] = {}

    def read(self) -> None:
        magic = self._cursor.take(4)
        if magic in LEGACY:
            if magic != WHISPER or not read_whisper(self._scan, self._cursor):
                self._scan.mark_incomplete("GGML files older than GGUF are not analysed")
            return
        if magic not in (MAGIC, b"FUGG"):
            raise CorruptFileError("no GGUF magic")
        raw = self._cursor.take(4)
        version = int.from_bytes(raw, "little")
        if version not in VERSIONS and int.from_bytes(raw, "big") in VERSIONS:
            self._order = "big"
            version = int.from_bytes(raw, "big")
        if version not in VERSIONS:
            raise CorruptFileError(f"GGUF version {version} is unknown")
        self._width = 4 if version == 1 else 8
        tensors, keys = self._number(self._width), self._number(self._width)
        damage = None
        for count, what, least in ((tensors, "tensors", 24), (keys, "metadata keys", 13)):
            if count * least > self._size:
                self._bounds(count, f"{count} {what}", 8)
                damage = CorruptFileError(f"{count} {what} in {self._size} bytes")
        seen: dict[str, object] = {}
        for _ in range(keys):
            self._scan.budget.step(1)
            key = self._string("a metadata key")
            if not key:
                self._scan.report("TW-MODEL-GGUF-BOUNDS", "a metadata key is empty", key="(empty)")
            kind = self._number(4)
            self._expect(key, kind)
            value = self._value(key, kind)
            if key in seen:
                self._scan.report(
                    "TW-MODEL-GGUF-DUPLICATE",
                    f"the key {key[:80]!r} appears twice; readers differ in which one counts",
                    key=key[:200],
                )
            seen[key] = value
        self._compare_counts()
        if damage:
            raise damage
        alignment = seen.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20 or alignment % 8:
            self._scan.report(
                "TW-MODEL-GGUF-BOUNDS", f"an alignment of {alignment}", key="general.alignment"
            )
            raise CorruptFileError(f"an alignment of {alignment}")
        self._tensors(tensors, alignment)

    def _number(self, width: int) -> int:
        raw = self._cursor.take(width)
        return int.from_bytes(raw, self._order)

    def _bounds(self, count: int, what: str, size: int = 1) -> None:
        """Report a count that damage does not explain."""
        if count >= ABSURD or count * size >= 1 << 64:
            self._scan.report(
                "TW-MODEL-GGUF-BOUNDS", f"declares {what}", offset=self._cursor.offset
            )

    def _string(self, what: str) -> str:
        length = self._number(self._width)
        if length > self._cursor.left:
            self._bounds(length, f"{length} bytes for {what}")
            raise CorruptFileError(f"{length} bytes declared for {what}, {self._cursor.left} left")
        if length > MAX_STRING:
            raise BudgetExceededError(f"{what} has {length} bytes")
        self._scan.budget.step(1 + length // 64)
        return self._cursor.take(length).decode("utf-8", "replace")

    def _value(self, key: str, kind: int) -> object:
        if kind in SCALARS:
            return self._number(SCALARS[kind])
        if kind == STRING:
            text = self._string(key[:80])
            self._judge_text(key, text)
            return text
        if kind == ARRAY:
            self._array(key)
            return None
        raise CorruptFileError(f"the value of {key[:80]!r} has the unknown type {kind}")

    def _array(self, key: str) -> None:
        """Skip an array and its nested arrays, without recursion."""
        left = [1]
        while left:
            left[-1] -= 1
            if left[-1] < 0:
                left.pop()
                continue
            kind, count = self._number(4), self._number(self._width)
            if len(left) == 1:
                self._expect_elements(key, kind, count)
            if kind in SCALARS:
                if count * SCALARS[kind] > self._cursor.left:
                    self._bounds(count, f"{count} values for {key[:80]!r}", SCALARS[kind])
                self._cursor.skip(count * SCALARS[kind])
            elif kind == STRING:
                if count * self._width > self._cursor.left:
                    self._bounds(count, f"{count} strings for {key[:80]!r}", self._width)
                    raise CorruptFileError(f"{count} strings declared for {key[:80]!r}")
                for index in range(count):
                    text = self._string(key[:80])
                    if key == TOKENS and _NEGATIVE_BYTE.match(text):
                        self._scan.report(
                            "TW-MODEL-GGUF-BOUNDS",
                            f"the token {text!r} is a negative byte, which readers use as an index",
                            key=key,
                        )
                    if not key.startswith("tokenizer.ggml."):  # a vocabulary holds any text
                        self._judge_text(f"{key}[{index}]", text)
            elif kind == ARRAY:
                if count * (4 + self._width) > self._cursor.left:
                    self._bounds(count, f"{count} arrays for {key[:80]!r}")
                    raise CorruptFileError(f"{count} arrays declared for {key[:80]!r}")
                if len(left) > 16:
                    self._scan.report(
                        "TW-MODEL-GGUF-BOUNDS",
                        f"arrays in {key[:80]!r} are nested deeper than readers can",
                        name=key[:80],
                    )
                    raise BudgetExceededError(f"arrays in {key[:80]!r} are nested too deep")
                left.append(count)
            else:
                raise CorruptFileError(f"an array of the unknown type {kind} for {key[:80]!r}")
            self._scan.budget.step(1)

    def _expect(self, key: str, kind: int) -> None:
        """Report a key whose value has a different type than its readers expect."""
        if kind not in SCALARS and kind not in (STRING, ARRAY):
            return  # damage, which the reader of values reports
        expected = ARRAY if key in ELEMENTS else KINDS.get(key)
        if expected is None and key.endswith(COUNTS):
            fine = kind in INTEGERS or kind == ARRAY  # per layer, for some architectures
        else:
            fine = expected is None or kind == expected or (expected == 4 and kind in INTEGERS)
        if not fine:
            self._scan.report(
                "TW-MODEL-GGUF-TYPE",
                f"the value of {key[:80]!r} has the type {kind}, which readers do not expect",
                key=key[:200],
            )

    def _expect_elements(self, key: str, kind: int, count: int) -> None:
        expected = ELEMENTS.get(key)
        known = kind in SCALARS or kind in (STRING, ARRAY)
        if expected is not None and kind not in expected and count and known:
            self._scan.report(
                "TW-MODEL-GGUF-TYPE",
                f"the elements of {key[:80]!r} have the type {kind}, which readers do not expect",
                key=key[:200],
            )
        if key in ELEMENTS:
            self._counts[key] = count

    def _compare_counts(self) -> None:
        """Report a vocabulary whose parts differ in length: readers index all by the first."""
        tokens = self._counts.get(TOKENS)
        for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
            count = self._counts.get(key)
            if tokens is not None and count is not None and count < tokens:
                self._scan.report(
                    "TW-MODEL-GGUF-BOUNDS",
                    f"{key} has {count} values for {tokens} tokens",
                    key=key,
                )

    def _judge_text(self, key: str, text: str) -> None:
        opens = "{%" in text or "{{" in text
        if "template" in key.lower() or (opens and ("%}" in text or "}}" in text)):
            report_template(self._scan, text, key[:200])
        else:
            report_text(self._scan, key[:200], text)

    def _tensors(self, count: int, alignment: int) -> None:
        spans: list[tuple[int, int, str]] = []
        shapes: dict[str, tuple[int, int]] = {}
        names: set[str] = set()
        for _ in range(count):
            self._scan.budget.step(1)
            name = self._string("a tensor's name")
            if len(name.encode()) > MAX_NAME:
                self._scan.report(
                    "TW-MODEL-GGUF-BOUNDS", f"a tensor's name of {len(name)} bytes", key=name[:200]
                )
            if name in names:
                self._scan.report(
                    "TW-MODEL-GGUF-DUPLICATE", f"the tensor {name[:80]!r} appears twice", key=name
                )
            names.add(name)
            dimensions = self._number(4)
            if dimensions > MAX_DIMENSIONS:
                self._scan.report(
                    "TW-MODEL-GGUF-BOUNDS",
                    f"tensor {name[:80]!r} declares {dimensions} dimensions",
                    key=name[:200],
                )
                raise CorruptFileError(f"tensor {name[:80]!r} has {dimensions} dimensions")
            elements = first = 1
            for index in range(dimensions):
                side = self._number(self._width)
                elements *= side
                first = side if index == 0 else first
                if not side:
                    self._scan.report(
                        "TW-MODEL-GGUF-BOUNDS",
                        f"a side of tensor {name[:80]!r} is zero, and readers divide by it",
                        key=name[:200],
                    )
                if side >= 1 << 63:  # negative to a reader, and no size when another is zero
                    self._bounds(side, f"a side of {side} for tensor {name[:80]!r}")
            kind, offset = self._number(4), self._number(8)
            if kind not in BLOCKS and kind not in RETIRED:
                raise CorruptFileError(f"tensor {name[:80]!r} has the unknown type {kind}")
            self._unsized = self._unsized or kind not in BLOCKS
            per_block, bytes_per_block = BLOCKS.get(kind, (256, 1))
            size = elements // per_block * bytes_per_block
            if elements >= 1 << 63 or size >= 1 << 63 or offset >= 1 << 63:
                self._scan.report(
                    "TW-MODEL-GGUF-BOUNDS",
                    f"tensor {name[:80]!r} declares {elements} elements at offset {offset}",
                    key=name[:200],
                )
            spans.append((offset, offset + size, name))
            row = first // per_block * bytes_per_block if dimensions > 1 else bytes_per_block
            shapes[name] = (bytes_per_block, max(row, bytes_per_block))
        start = -(-self._cursor.offset // alignment) * alignment
        self._judge_spans(spans, start, alignment)
        if not self._unsized:
            placed = [Span(start + a, start + b, *shapes[name], name) for a, b, name in spans]
            end = max((span.end for span in placed), default=0)
            report_torn_tail(self._scan, self._source, placed, end)

    def _judge_spans(self, spans: list[tuple[int, int, str]], start: int, alignment: int) -> None:
        room = self._size - start
        spans.sort()
        reached = 0
        for offset, end, name in spans:
            if end > max(room, 0):
                if offset > reached:  # a truncated file has its tensors one after another
                    self._scan.report(
                        "TW-MODEL-GGUF-BOUNDS",
                        f"tensor {name[:80]!r} is at {offset}, beyond the others and the file",
                        offset=start + offset,
                    )
                self._bounds(offset, f"tensor {name[:80]!r} at {offset}")
                self._bounds(end - offset, f"{end - offset} bytes for tensor {name[:80]!r}")
                raise CorruptFileError(f"tensor {name[:80]!r} reaches beyond the file")
            reached = max(reached, -(-end // alignment) * alignment)
            if offset % alignment:
                self._scan.mark_corrupt(f"tensor {name[:80]!r} is not aligned")
        reached = 0
        for offset, end, name in spans:
            if offset < reached:
                self._scan.report(
                    "TW-MODEL-GGUF-OVERLAP",
                    f"tensor {name[:80]!r} shares bytes with the one before it",
                    offset=start + offset,
                )
            reached = max(reached, end)
        if not spans and self._cursor.left > alignment:
            reached = 0
        if not self._unsized:
            self._judge_tail(start + -(-reached // alignment) * alignment)
            last = start + max((end for _, end, _ in spans), default=0)
            # Writers also pad after the last tensor: part of the padding is missing.
            if spans and last < self._size < -(-last // alignment) * alignment:
                self._scan.mark_corrupt("the padding after the last tensor is truncated")

    def _judge_tail(self, offset: int) -> None:
        """Report what follows the last tensor, unless it is padding."""
        left = self._size - offset
        if left <= 0:
            return
        tail = self._source.read(offset, min(left, MAX_STRING))
        if tail.strip(b"\0"):
            self._scan.report(
                "TW-MODEL-GGUF-TRAILING", f"{left} bytes follow the last tensor", offset=offset
            )
            self._scan.descend("trailing", BytesSource(tail))


FORMAT: Final = Format(
    name="gguf",
    suffixes=SUFFIXES,
    firsts=bytes({magic[0] for magic in (b"GGUF", b"FUGG", *LEGACY)}),
    magic=_EITHER_ORDER,
    matches=matches,
    parse=parse,
    begins=lambda head: _EITHER_ORDER.match(head) is not None,
    numeric=True,
    programless=True,
    rules=(
        "TW-MODEL-GGUF-BOUNDS",
        "TW-MODEL-GGUF-DUPLICATE",
        "TW-MODEL-GGUF-OVERLAP",
        "TW-MODEL-GGUF-TRAILING",
        "TW-MODEL-GGUF-TYPE",
    ),
)
