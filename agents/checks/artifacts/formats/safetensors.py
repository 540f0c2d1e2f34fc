"""Reads the header of a safetensors file by the library's rules, and reports what they allow."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

import itertools
import json
import re
from typing import Any, Final

from agents.checks.artifacts.formats.format import Content, Format, Suffix, Trait, endings
from agents.checks.artifacts.formats.targets import report_targets
from agents.checks.artifacts.formats.templates import report_template
from agents.checks.artifacts.readers.embedded import report_text
from agents.checks.artifacts.readers.torn_tails import Span, report_torn_tail
from agents.checks.artifacts.scanning import (
    BudgetExceededError,
    BytesSource,
    CorruptFileError,
    Scan,
    Source,
)

MAX_HEADER: Final = 100_000_000
"""Bytes; `MAX_HEADER_SIZE` of the library."""
MAX_READ: Final = 32 << 20
"""Bytes of a header that is read: one of a million tensors takes ten times its size in memory, and
the largest of models have some thousands."""
PREFIX: Final = 8
ABSURD: Final = 1 << 40
"""A header length this large is an attack, not damage: it exceeds any file."""
BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
_OBJECT: Final = re.compile(rb"\{[\s\"}]")
_PICKLE: Final = re.compile(rb"\x80[\x00-\x05](?!.{6}\{)", re.DOTALL)
"""A pickle of protocol 2 or later; a length of a header can begin as one does."""
MAX_TRAILER: Final = 64 << 20


SUFFIXES: Final = (
    Suffix(
        ".safetensors",
        Trait.NAMED | Trait.WEIGHTS | Trait.SIZED | Trait.NONEMPTY | Trait.BINARY,
        Content.TENSORS,
        promises=("safetensors",),
        claim="safetensors",
    ),
)
_NAMED: Final = endings(SUFFIXES, Trait.NAMED)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is safetensors: a length, then a JSON object; or its name says so."""
    length = int.from_bytes(head[:PREFIX], "little")
    plausible = (
        len(head) > PREFIX and 2 <= length <= MAX_HEADER and head[PREFIX : PREFIX + 1] == b"{"
    )
    if plausible and head[PREFIX + 1 : PREFIX + 2] in (b'"', b"}", b" ", b"\n"):
        return True
    return (
        name.lower().endswith(_NAMED)
        and not (
            head.startswith((b"PK\x03\x04", b"version https://git-lfs")) or _PICKLE.match(head)
        )
        and source.size >= 0
    )


def parse(scan: Scan, name: str, source: Source) -> None:
    """Check a header against the library's rules, and report what they allow.

    Raises:
        CorruptFileError: the library would refuse the file.

    Source: safetensors `Metadata::validate` (tensor.rs).
    """
    if source.size < PREFIX:
        raise CorruptFileError("shorter than the length of its header")
    length = int.from_bytes(source.read(0, PREFIX), "little")
    if length > MAX_HEADER or PREFIX + length > source.size:
        # Bytes that are not a header, such as a failed download's, also declare absurd lengths.
        begins = source.read(PREFIX, 2)
        if length > MAX_HEADER and (PREFIX + length <= source.size or _OBJECT.match(begins)):
            scan.report(
                "TW-MODEL-SAFETENSORS-BOUNDS",
                f"the header declares {length} bytes, the library reads up to {MAX_HEADER}",
                offset=0,
            )
        raise CorruptFileError(f"a header of {length} bytes in a file of {source.size}")
    scan.budget.step(length // 8)
    if length > MAX_READ:
        raise BudgetExceededError(f"a header of {length} bytes, of which {MAX_READ} are read")
    raw = source.read(PREFIX, length)
    header = _header(scan, raw)
    metadata = header.pop("__metadata__", None)
    _judge_metadata(scan, metadata)
    end = _judge_tensors(scan, header, source.size - PREFIX - length)
    report_torn_tail(scan, source, _spans(header, PREFIX + length), PREFIX + length + end)
    trailing = source.size - PREFIX - length - end
    if trailing > 0:
        start = PREFIX + length + end
        tail = source.read(start, min(trailing, MAX_TRAILER))
        if tail.strip(b"\x00"):
            scan.report(
                "TW-MODEL-SAFETENSORS-TRAILING",
                f"{trailing} bytes follow the last tensor",
                offset=start,
            )
            scan.descend("trailing", BytesSource(tail))
        scan.mark_corrupt(f"{trailing} bytes follow the last tensor")
    elif trailing < 0:
        raise CorruptFileError(f"the tensors need {-trailing} bytes more than the file has")
    _ask_library(scan, raw, end)
    del name


def _header(scan: Scan, raw: bytes) -> dict[str, Any]:
    repeated: list[str] = []

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                repeated.append(key)
            result[key] = value
        return result

    text = raw.rstrip(b" ")
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=build, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        if isinstance(error, RecursionError):
            scan.report(
                "TW-MODEL-SAFETENSORS-BOUNDS",
                "the header is nested deeper than readers can",
                offset=8,
            )
        stop = getattr(error, "pos", None)
        extra = text[stop:] if isinstance(error, json.JSONDecodeError) and stop else b""
        if extra and str(error).startswith("Extra data"):
            scan.report(
                "TW-MODEL-SAFETENSORS-TRAILING",
                "bytes follow the JSON object within the header",
                offset=PREFIX + int(stop or 0),
            )
            scan.descend("header-trailing", BytesSource(extra))
        raise CorruptFileError(f"the header is not a JSON object: {error}") from error
    if not isinstance(header, dict):
        raise CorruptFileError("the header is not a JSON object")
    for key in dict.fromkeys(repeated):
        scan.report(
            "TW-MODEL-SAFETENSORS-DUPLICATE",
            f"the key {key[:80]!r} appears twice; readers differ in which one counts",
            key=key[:200],
        )
    if not raw.startswith(b"{"):
        scan.mark_corrupt("the header does not begin with a brace")
    return header


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _judge_metadata(scan: Scan, metadata: object) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise CorruptFileError("__metadata__ is not an object")
    for key, value in metadata.items():
        if not isinstance(value, str):
            scan.mark_corrupt(f"__metadata__ holds {type(value).__name__} under {key[:80]!r}")
            value = json.dumps(value)  # noqa: PLW2901 -- judged as the text it stands for
        report_text(scan, f"__metadata__.{key[:80]}", value)
        report_text(scan, "__metadata__ key", key)
        if "{{" in value or "{%" in value:
            report_template(scan, value, f"__metadata__.{key[:80]}")
        report_targets(scan, f"__metadata__.{key[:80]}", f"{key}: {value}")


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _judge_tensors(scan: Scan, header: dict[str, Any], room: int) -> int:
    """Report tensors that overlap or leave holes; return where the last of them ends."""
    spans: list[tuple[int, int, str]] = []
    for tensor, info in header.items():
        scan.budget.step(1)
        if not isinstance(info, dict):
            raise CorruptFileError(f"tensor {tensor[:80]!r} has no description")
        spans.append((*_judge_bounds(scan, tensor, info, room), tensor))
    spans.sort()
    if spans and spans[0][0] > 0:
        _hole(scan, 0, spans[0][0])
    for (_, end, first), (begin, _, second) in itertools.pairwise(spans):
        if begin < end:
            scan.report(
                "TW-MODEL-SAFETENSORS-OVERLAP",
                f"{first[:80]!r} and {second[:80]!r} share bytes",
                offset=begin,
            )
            scan.mark_corrupt("tensors share bytes")
        elif begin > end:
            _hole(scan, end, begin)
    return max((end for _, end, _ in spans), default=0)


def _judge_bounds(scan: Scan, tensor: str, info: dict[str, Any], room: int) -> tuple[int, int]:
    """Report a tensor whose size and offsets disagree; return where it begins and ends."""
    dtype = info.get("dtype")
    shape: Any = info.get("shape")
    span: Any = info.get("data_offsets")
    if not _is_counts(shape) or not _is_counts(span) or len(span) != 2:
        if any(
            isinstance(number, int) and number < 0 for number in (*_listed(shape), *_listed(span))
        ):
            scan.report(
                "TW-MODEL-SAFETENSORS-BOUNDS",
                f"tensor {tensor[:80]!r} has a negative length or offset",
                name=tensor[:80],
            )
        raise CorruptFileError(f"tensor {tensor[:80]!r} has no shape or no offsets")
    bits = BITS.get(str(dtype))
    if bits is None:
        raise CorruptFileError(f"tensor {tensor[:80]!r} has the unknown type {dtype!r}")
    begin, end = span
    needed = bits
    for dimension in shape:
        needed *= dimension
        if needed > 1 << 66:
            scan.report(
                "TW-MODEL-SAFETENSORS-BOUNDS",
                f"the shape of {tensor[:80]!r} overflows",
                key=tensor[:200],
            )
            raise CorruptFileError(f"the shape of {tensor[:80]!r} overflows")
    if needed != (end - begin) * 8:
        if end <= room:
            scan.report(
                "TW-MODEL-SAFETENSORS-BOUNDS",
                f"{tensor[:80]!r} declares {needed // 8} bytes and spans {end - begin}",
                key=tensor[:200],
            )
        scan.mark_corrupt(f"{tensor[:80]!r} declares {needed // 8} bytes, not {end - begin}")
    if max(begin, end) >= ABSURD:
        scan.report(
            "TW-MODEL-SAFETENSORS-BOUNDS",
            f"{tensor[:80]!r} is at {begin} to {end}",
            key=tensor[:200],
        )
    return begin, end


def _spans(header: dict[str, Any], start: int) -> list[Span]:
    """Return the position of each tensor in the file, in order."""
    spans = []
    for name, info in header.items():
        item = max(BITS[info["dtype"]] // 8, 1)
        begin, end = info["data_offsets"]
        shape = info["shape"]
        row = item * shape[-1] if len(shape) > 1 else item
        spans.append(Span(start + begin, start + end, item, max(row, item), name))
    return sorted(spans, key=lambda span: span.begin)


def _hole(scan: Scan, begin: int, end: int) -> None:
    scan.report(
        "TW-MODEL-SAFETENSORS-HOLE",
        f"{end - begin} bytes at offset {begin} of the data belong to no tensor",
        offset=begin,
    )
    scan.mark_corrupt("bytes belong to no tensor")


def _is_counts(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 1 << 64
        for item in value
    )


def _ask_library(scan: Scan, raw: bytes, end: int) -> None:
    """Let the library judge the header, over data of the declared size that is all zero.

    Larger data would cost its size in memory; its rules are those of `_judge_tensors`.
    """
    if end > MAX_TRAILER:
        return
    from safetensors import SafetensorError, deserialize  # noqa: PLC0415 -- of its own files alone

    try:
        deserialize(  # type: ignore[no-untyped-call]  # its stub has no types
            len(raw).to_bytes(PREFIX, "little") + raw + bytes(end)
        )
    except SafetensorError as error:
        # Of several tensors it names another one in each call; the report must not vary.
        reason = re.sub(r" for tensor `.*`$", "", str(error), flags=re.DOTALL)
        scan.mark_corrupt(f"the safetensors library refuses it: {reason}")


def _begins(head: bytes) -> bool:
    length = int.from_bytes(head[:PREFIX], "little")
    return len(head) > PREFIX and length <= MAX_HEADER and head[PREFIX : PREFIX + 1] == b"{"


FORMAT: Final = Format(
    name="safetensors",
    suffixes=SUFFIXES,
    matches=matches,
    parse=parse,
    begins=_begins,
    numeric=True,
    programless=True,
    rules=(
        "TW-MODEL-SAFETENSORS-BOUNDS",
        "TW-MODEL-SAFETENSORS-DUPLICATE",
        "TW-MODEL-SAFETENSORS-HOLE",
        "TW-MODEL-SAFETENSORS-OVERLAP",
        "TW-MODEL-SAFETENSORS-TRAILING",
    ),
)
