"""Scans pickles: every stream of a file, what each imports and calls, what hides in constants."""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from agents.checks.artifacts.pickle.arrays import array_end, other_file
from agents.checks.artifacts.pickle.exhaustion import exhausting, is_measured
from agents.checks.artifacts.pickle.globals import CODE, COMMAND, ImportVerdict, Level, judge
from agents.checks.artifacts.pickle.machine import (
    BUDGET_EXHAUSTED,
    Blob,
    End,
    Global,
    Machine,
    Result,
    Unknown,
    describe,
)
from agents.checks.artifacts.scanning import BudgetExceededError, BytesSource, Scan, Source

MAX_ATTEMPTS: Final = 20_000
"""Places after the first stream where another is tried."""
MAX_NESTED: Final = 1_000
SWEEP: Final = 1 << 20
SWEEP_OVERLAP: Final = 1 << 10
LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
"""What PyTorch's format of before 1.6 begins with."""
_WIDTHS: Final = {
    f"{kind}Storage": width
    for width, kinds in (
        (1, "Byte Char Bool QInt8 QUInt8 Untyped"),
        (2, "Half BFloat16 Short"),
        (4, "Float Int QInt32"),
        (8, "Double Long ComplexFloat"),
        (16, "ComplexDouble"),
    )
    for kind in kinds.split()
}
"""Bytes of an element of each storage."""
CODECS: Final = frozenset(("latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii"))

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
_SWEPT: Final = re.compile(
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
_CRITICAL: Final = {
    "frame-straddle": "TW-PICKLE-FRAME",
    "nested-frame": "TW-PICKLE-FRAME",
    "extension-code": "TW-PICKLE-EXTENSION",
    "computed-name": "TW-PICKLE-COMPUTED",
    "sparse-memo": "TW-PICKLE-EXPANSION",
    "expansion": "TW-PICKLE-EXPANSION",
    "deep-nesting": "TW-PICKLE-EXPANSION",
    "absurd-length": "TW-PICKLE-EXPANSION",
    "late-proto": "TW-PICKLE-MISPLACED",
}
_IDENTIFIERS: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def starts_like_pickle(head: bytes) -> bool:
    """Say whether bytes begin as a pickle of protocol 1 or later does, or textually as one of 0."""
    return (len(head) > 1 and head[0] == 0x80 and head[1] <= 5) or bool(_TEXTUAL.match(head))


def holds_file(raw: bytes) -> bool:
    """Say whether a constant begins as a pickle, an archive or a program does."""
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


def scan_pickle(
    scan: Scan, source: Source, *, expected: bool, script: bool = False, start: int = 0
) -> bool:
    """Scan every stream of a source.

    Args:
        scan: Where to report.
        source: The bytes.
        expected: Whether something else says that it is a pickle; then a broken one is corrupt,
            otherwise it is none unless it does something.
        script: Whether it belongs to a TorchScript archive.
        start: Offset of the first stream.

    Returns:
        Whether it is a pickle.
    """
    reader = _Reader(scan, source, script=script)
    return reader.read(start, expected=expected)


class _Reader:
    def __init__(self, scan: Scan, source: Source, *, script: bool) -> None:
        self.scan = scan
        self.source = source
        self.script = script
        self.seen: set[tuple[str, str, str]] = set()
        self.nested = 0

    def read(self, start: int, *, expected: bool) -> bool:
        offset, attempts, streams = start, 0, 0
        size = self.source.size
        candidates: Iterator[int] | None = None
        legacy, storages = False, list[tuple[Any, ...]]()
        adjoining = True
        while offset < size:
            attempts += 1
            if attempts > MAX_ATTEMPTS:
                if streams:
                    self.sweep(offset)
                break
            sure = expected and not streams
            trial = _Stream(self, at_once=sure)
            try:
                machine = Machine(self.source, offset, trial, self.scan.budget)
                end = machine.run()
            except (MemoryError, BudgetExceededError):
                if sure or trial.dangerous:  # what was heard until then stays
                    trial.settle(None)
                raise
            magic = self._magic(offset)
            short = adjoining and magic and end.stopped  # PyTorch's first two are numbers
            broken = adjoining and magic and streams > 0
            adopted = sure or short or broken or trial.convincing(end, magic, within=streams > 0)
            if adopted:
                streams += 1
                if streams == 1:
                    self.scan.formats.append("pickle")
                trial.settle(end)
                legacy = legacy or (streams == 1 and end.result == LEGACY_MAGIC)
                if legacy and streams == 4:
                    storages = machine.persistent
                elif legacy and streams == 5:
                    self._storages(storages, end)
            elif attempts == 1 and not end.stopped:
                return False
            if end.reason == BUDGET_EXHAUSTED:
                self.sweep(end.offset)
                break
            if end.stopped and adopted:
                following = end.offset
                if self._magic(following):
                    offset = following
                    adjoining = not (legacy and streams >= 5)  # there, lengths of storages follow
                    continue
            else:
                # Within a stream that broke, its own rest is no new stream; go on behind the break.
                following = max(end.offset, offset + 1) if adopted else offset + 1
            if adopted and self.scan.formats and not expected and not end.stopped:
                expected = True
            adjoining = False
            if adopted or candidates is None:
                candidates = self._candidates(following)
            offset = next(candidates, size)
        if legacy and streams < 5:
            self.scan.mark_corrupt("the file ends before its list of storages")
        return streams > 0

    def _storages(self, storages: list[tuple[Any, ...]], end: End) -> None:
        """Say when the storages that PyTorch's legacy format lists are cut off or damaged."""
        sizes = {one[2]: (one[1], one[4]) for one in storages if isinstance(one[2], str)}
        keys = end.result if isinstance(end.result, list) else []
        position = end.offset
        for key in keys:
            kind, count = sizes.get(key, (None, None)) if isinstance(key, str) else (None, None)
            width = _WIDTHS.get(kind.name) if isinstance(kind, Global) else None
            if width is None or not isinstance(count, int):
                return
            declared = int.from_bytes(self.source.read(position, 8), "little")
            position += 8 + count * width
            if position > self.source.size:
                self.scan.mark_corrupt(f"the storage {key[:40]!r} is cut off")
                return
            if declared != count:
                self.scan.mark_corrupt(f"the storage {key[:40]!r} has another length")
                return

    def _magic(self, offset: int) -> bool:
        head = self.source.read(offset, 2)
        return len(head) == 2 and head[0] == 0x80 and head[1] <= 5

    def _candidates(self, offset: int) -> Iterator[int]:
        """Yield where further streams may begin, from `offset` on."""
        size = self.source.size
        last = -1
        while offset < size:
            chunk = self.source.read(offset, SWEEP)
            found = sorted(at for pattern in _NEXT for at in _beginnings(pattern, chunk))
            for at in found:
                if offset + at > last:
                    last = offset + at
                    yield last
            if len(chunk) < SWEEP:
                return
            offset += len(chunk) - SWEEP_OVERLAP

    def sweep(self, offset: int) -> None:
        """Look only for imports, from `offset` on; say that this is all that was done."""
        self.scan.mark_incomplete(f"not analysed from offset {offset} on, but for imports")
        self.scan.report(
            "TW-PICKLE-UNANALYSED", "the pickle exceeds the limits of the scan", offset=offset
        )
        size = self.source.size
        stream = _Stream(self)
        while offset < size:
            chunk = self.source.read(offset, SWEEP)
            for match in _SWEPT.finditer(chunk):
                module, name = (part.decode("latin-1") for part in match.groups() if part)
                stream.imported(Global(module, name, offset + match.start(), "sweep"), 4)
            if len(chunk) < SWEEP:
                break
            offset += len(chunk) - SWEEP_OVERLAP
        stream.settle(None)


class _Stream:
    """Hears one stream and judges it."""

    def __init__(self, reader: _Reader, *, at_once: bool = False) -> None:
        self.reader = reader
        self.at_once = at_once
        """Tell what is heard as it is heard: it is known to be a pickle."""
        self.pending: list[Callable[[], None]] = []
        self.imports = 0
        self.strange = False
        """An import whose names are no identifiers: in what is no pickle."""
        self.dangerous = False
        self.called_unknown = False
        self.dangerous_call = False
        self.unknown: dict[tuple[str, str], tuple[Global, ImportVerdict, bool]] = {}
        self.damage: list[str] = []
        self.standings: dict[int, ImportVerdict] = {}
        self.globals: list[Global] = []
        """Kept alive: judgements are found by their identity."""
        self.particular: list[Global] = []
        """Harmless when called as they should be, and not otherwise."""

    # what is heard is told when the bytes turn out to be a pickle

    def convincing(self, end: End, magic: bool, *, within: bool) -> bool:
        if self.strange:
            return False
        if self.dangerous and (within or magic or end.stopped or self.dangerous_call):
            return True  # two lines of a text can read as an import, and are none
        if self.damage and within and not self.imports:
            return False  # numbers among weights
        if end.stopped and (self.imports or (end.opcodes > 3 and (magic or self.dangerous_call))):
            return True
        return bool(self.imports and magic and self.called_unknown)

    def settle(self, end: End | None) -> None:
        """Report what was held back, and what the whole stream shows."""
        for report in self.pending:
            report()
        self.pending.clear()
        scan = self.reader.scan
        for found in self.particular:
            if not found.calls and self._once("import", found.module, found.name):
                scan.report(
                    "TW-PICKLE-DANGEROUS-IMPORT",
                    f"the pickle imports {found} and does not call it itself",
                    **_place(found),
                )
        for (module, name), (found, import_verdict, called) in self.unknown.items():
            if self._once("unknown", module, name):
                scan.report(
                    "TW-PICKLE-UNKNOWN-IMPORT",
                    f"the pickle {'calls' if called else 'imports'} {found}: "
                    f"{import_verdict.reason}",
                    **_place(found),
                )
        if end is None:
            return
        broken = not end.stopped and end.reason != BUDGET_EXHAUSTED
        for reason in self.damage:
            scan.mark_corrupt(reason)
        if broken:
            scan.mark_corrupt(f"the pickle breaks at offset {end.offset}: {end.reason}")
        if (broken or self.damage) and (self.called_unknown or self.dangerous_call):
            scan.report(
                "TW-PICKLE-BROKEN-AFTER-CALL",
                "the pickle calls what no model needs, and then breaks",
                offset=end.offset,
                error=end.reason or self.damage[0],
            )

    def _once(self, kind: str, module: str, name: str) -> bool:
        key = (kind, module, name)
        if key in self.reader.seen:
            return False
        self.reader.seen.add(key)
        return True

    def _report(self, rule_id: str, description: str, **evidence: Any) -> None:  # noqa: ANN401
        report = partial(self.reader.scan.report, rule_id, description, **evidence)
        if self.at_once:
            report()
        else:
            self.pending.append(report)

    # the observer

    def imported(self, found: Global, protocol: int) -> None:
        module, name = found.module, found.name
        self.imports += 1
        import_verdict = judge(module, name, protocol, script=self.reader.script)
        self.standings[id(found)] = import_verdict
        self.globals.append(found)
        if import_verdict.level is Level.ALLOWED:
            uses = import_verdict.uses
            found.quiet = "call" in uses
            found.creatable = "call" in uses or "new" in uses
            self._specialise(found, module, name, uses)
            return
        if not (_IDENTIFIERS.fullmatch(module) and _IDENTIFIERS.fullmatch(name)):
            self.strange |= not self.dangerous
        if import_verdict.level is Level.DANGEROUS:
            self.dangerous = True
            if self._once("import", module, name):
                self._report(
                    "TW-PICKLE-DANGEROUS-IMPORT",
                    f"the pickle imports {module}.{name}: {import_verdict.reason}",
                    offset=found.offset,
                    opcode=found.opcode,
                    **{"global": f"{module}.{name}"},
                )
        else:
            self.unknown.setdefault((module, name), (found, import_verdict, False))

    def _specialise(self, found: Global, module: str, name: str, uses: frozenset[str]) -> None:
        special = {
            "enum": self._member,
            "type": self._type_of,
            "ufunc": self._ufunc,
            "bytes": self._load_from_bytes,
            "partial": self._partial,
        }
        for use, handler in special.items():
            if use in uses:
                found.quiet = True
                found.evaluate = partial(handler, found)
                if use != "type":
                    self.particular.append(found)
        if module == "_codecs":
            found.evaluate = partial(self._encode, found)
        elif name in ("_reconstructor", "__newobj__", "__newobj_ex__"):
            found.evaluate = partial(self._reconstruct, found)
        elif name.startswith("_rebuild_from_type"):
            found.evaluate = partial(self._rebuild_from_type, found)
        elif name in ("dtype", "NumpyArrayWrapper"):
            found.evaluate = partial(Result, found)
        elif is_measured(module, name):
            found.evaluate = partial(self._measured, found)

    def called(self, callee: object, args: object, offset: int, opcode: str) -> object:
        evidence = {"offset": offset, "opcode": opcode, "arguments": describe(args)[:400]}
        if not isinstance(callee, Global):
            if isinstance(callee, Unknown) and callee.kind in ("memo", "number"):
                self.damage.append("a call of a value that is not there")
                return None
            if not isinstance(callee, Result):
                return None  # a constant is not callable: the machine stops here
            self.dangerous_call = True
            self._report(
                "TW-PICKLE-COMPUTED",
                f"the pickle calls what a call returned: {describe(callee)}",
                **evidence,
            )
            return None
        import_verdict = self.standings[id(callee)]
        where = str(callee)
        evidence["global"] = where
        # Of a package that nobody knows, numbers of an instance are no shape.
        if import_verdict.level is Level.ALLOWED or import_verdict.in_known:
            sized = import_verdict.function or import_verdict.level is Level.ALLOWED
            self._weigh(callee, args, offset, sized=sized and not callee.quiet)
            self._follow(callee, args, offset)
        if import_verdict.level is Level.DANGEROUS:
            self.dangerous_call = True
            if self._once("call", callee.module, callee.name):
                self._report(
                    "TW-PICKLE-DANGEROUS-CALL",
                    f"the pickle calls {where}{describe(args)[:200]}",
                    **evidence,
                )
        elif import_verdict.level is Level.UNKNOWN:
            self.called_unknown = True
            self.unknown[callee.module, callee.name] = (callee, import_verdict, True)
            text = _code_in(args, COMMAND if import_verdict.function else CODE)
            if opcode not in ("NEWOBJ", "NEWOBJ_EX") and (import_verdict.runner or text):
                self.dangerous_call = True
                why = f"with {text!r}" if text else "whose name says that it runs or loads"
                if self._once("call", callee.module, callee.name):
                    self._report(
                        "TW-PICKLE-HOSTILE-CALL", f"the pickle calls {where}, {why}", **evidence
                    )
        elif opcode in ("NEWOBJ", "NEWOBJ_EX") and callee.creatable:
            return Result(callee, args, offset)
        elif not (callee.quiet and isinstance(args, tuple)):
            self._misused(callee, evidence)
        elif callee.evaluate is not None:
            return callee.evaluate(args, offset)
        else:
            return callee.instance
        return None

    def _misused(self, callee: Global, evidence: dict[str, Any]) -> None:
        if self._once("use", callee.module, callee.name):
            self._report(
                "TW-PICKLE-DISALLOWED-USE",
                f"the pickle calls {callee}, which models only refer to",
                **{**evidence, "global": str(callee)},
            )

    def built(self, target: object, state: object, offset: int, position: int) -> int:
        if isinstance(target, Global):
            self.patched(target, offset, "BUILD")
        elif isinstance(target, Result):
            callee = target.callee
            if isinstance(callee, Global) and callee.name == "NumpyArrayWrapper":
                return self._array(state, position)
            if isinstance(callee, Global):
                self._follow(callee, state, offset)
        return position

    def _weigh(self, callee: Global, args: object, offset: int, *, sized: bool = False) -> None:
        why = exhausting(callee, args, sized=sized)
        if why and self._once("weigh", callee.module, callee.name):
            self._report(
                "TW-PICKLE-EXPANSION",
                f"the pickle calls {callee}{describe(args)[:200]}: {why}",
                offset=offset,
                **{"global": str(callee)},
            )

    def _follow(self, callee: Global, state: object, offset: int) -> None:
        """Say when an array of older joblib, in a file beside, is in a file elsewhere."""
        path = other_file(state) if callee.name.endswith("NDArrayWrapper") else ""
        if path:
            self.dangerous_call = True
            self._report(
                "TW-PICKLE-OTHER-FILE",
                f"the pickle reads an array from {path[:200]!r}, outside of its folder",
                offset=offset,
                arguments=path[:400],
                **{"global": str(callee)},
            )

    def _measured(self, found: Global, args: object, offset: int) -> object:
        self._weigh(found, args, offset)
        return Result(found, args, offset)

    def _array(self, state: object, position: int) -> int:
        end, objects = array_end(state, position, self.reader.source)
        if objects:
            inner = _Stream(self.reader)
            machine = Machine(self.reader.source, position, inner, self.reader.scan.budget)
            done = machine.run()
            self.pending.append(partial(inner.settle, done))
            self.imports += inner.imports
            self.dangerous |= inner.dangerous
            self.dangerous_call |= inner.dangerous_call
            return done.offset if done.stopped else position
        return end

    def patched(self, target: object, offset: int, opcode: str) -> None:
        if isinstance(target, Global):
            self.dangerous_call = True
            self._report(
                "TW-PICKLE-PATCHED",
                f"the pickle changes {target} itself, not an instance",
                offset=offset,
                opcode=opcode,
                **{"global": str(target)},
            )

    def anomaly(self, kind: str, offset: int, detail: str) -> None:
        rule_id = _CRITICAL.get(kind)
        if rule_id is None:
            self.damage.append(f"{detail} (offset {offset})")
            return
        if kind in ("computed-name", "extension-code"):
            self.dangerous_call = True
        self._report(rule_id, f"the pickle is made to mislead: {detail}", offset=offset, name=kind)

    def constant(self, value: str | bytes, offset: int) -> None:
        if isinstance(value, str):
            try:
                raw = value.encode("latin-1")
            except UnicodeEncodeError:
                return
        else:
            raw = value
        if holds_file(raw):
            self._descend(raw, offset)
            return
        for inner in _decoded(raw):
            if holds_file(inner):
                self._descend(inner, offset)
                return

    def _descend(self, raw: bytes, offset: int) -> None:
        self.reader.nested += 1
        scan = self.reader.scan
        if self.reader.nested > MAX_NESTED:
            self.pending.append(
                partial(scan.mark_incomplete, f"more than {MAX_NESTED} files within constants")
            )
            return
        self.pending.append(partial(scan.descend, f"constant@{offset}", BytesSource(raw)))

    # calls that are harmless with particular arguments only

    def _odd(self, found: Global, args: object, offset: int, why: str) -> None:
        self.dangerous_call = True
        self._report(
            "TW-PICKLE-HOSTILE-CALL",
            f"the pickle calls {found}{describe(args)[:200]}: {why}",
            offset=offset,
            arguments=describe(args)[:400],
            **{"global": str(found)},
        )

    def _is_allowed(self, value: object, *uses: str) -> bool:
        import_verdict = self.standings.get(id(value)) if isinstance(value, Global) else None
        return (
            import_verdict is not None
            and import_verdict.level is Level.ALLOWED
            and bool(import_verdict.uses.intersection(uses) if uses else True)
        )

    def _member(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        """Python 3.11 pickles the member of an enumeration as getattr(class, name)."""
        if (
            len(args) == 2
            and isinstance(args[1], str)
            and args[1].isidentifier()
            and isinstance(args[0], Global)
        ):
            import_verdict = self.standings[id(args[0])]
            method = Global(args[0].module, f"{args[0].name}.{args[1]}", offset, "REDUCE")
            if judge(method.module, method.name, 4).level is Level.ALLOWED:
                self.imported(method, 4)
                return method
            is_class = args[0].name.rsplit(".", 1)[-1][:1].isupper()
            public = is_class and not args[1].startswith("_")
            if public and (
                import_verdict.level is Level.UNKNOWN or self._is_allowed(args[0], "call")
            ):
                return Result(found, None, offset)
        elif self._is_method(args):
            return Result(found, None, offset)
        self._odd(found, args, offset, "it looks up any attribute of anything")
        return None

    def _is_method(self, args: Any) -> bool:  # noqa: ANN401
        """Say whether a method of a distribution is bound, as protocols below 4 write it."""
        of = args[0].callee if len(args) == 2 and isinstance(args[0], Result) else None
        return (
            self._is_allowed(of, "new", "call")
            and isinstance(of, Global)
            and of.module.startswith("scipy.stats.")
            and isinstance(args[1], str)
            and args[1].isidentifier()
            and not args[1].startswith("__")
        )

    def _type_of(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        if len(args) != 1:
            self._odd(found, args, offset, "it makes a class")
        return Result(found, None, offset)

    def _ufunc(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        name = args[1] if len(args) == 2 and args[0] == "numpy" else None
        known = isinstance(name, str) and judge("numpy._core._multiarray_umath", name, 4)
        if known and known.level is Level.ALLOWED:
            return Result(found, None, offset)
        self._odd(found, args, offset, "it looks up any name in any module")
        return None

    def _load_from_bytes(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        value = args[0] if len(args) == 1 else None
        raw = value.head if isinstance(value, Blob) else value
        if isinstance(value, Blob):
            scan, source = self.reader.scan, self.reader.source
            self.pending.append(
                partial(
                    scan.descend, f"bytes@{value.offset}", Part(source, value.offset, value.length)
                )
            )
        zipped = isinstance(raw, bytes) and raw.startswith(b"PK\x03\x04")
        if zipped and isinstance(value, bytes):
            zipped = b"PK\x05\x06" in value[-(1 << 16) :]
        if not isinstance(raw, bytes) or not (zipped or starts_like_pickle(raw)):
            self._odd(found, args, offset, "it loads what can't be read here")
        return Result(found, None, offset)

    def _partial(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        """Binds arguments for a call to come: harmless when what will be called is."""
        target = args[0] if args else None
        level = self.standings[id(target)].level if isinstance(target, Global) else Level.DANGEROUS
        if level is Level.DANGEROUS or target in self.particular:
            self._odd(found, args, offset, "it prepares a call of anything")
        return Result(found, None, offset)

    def _encode(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        if args and isinstance(args[0], str):
            codec = args[1] if len(args) > 1 else "utf-8"
            if codec in CODECS:
                try:
                    raw = args[0].encode(codec)
                except UnicodeEncodeError:
                    return Result(found, None, offset)
                return raw
        return Result(found, None, offset)

    def _reconstruct(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        cls = args[0] if args else None
        if isinstance(cls, Global):
            import_verdict = self.standings[id(cls)]
            base = args[1] if found.name == "_reconstructor" and len(args) > 1 else None
            plain = not isinstance(base, Global) or base.module in ("builtins", "__builtin__")
            if import_verdict.level is Level.ALLOWED and not (cls.creatable and plain):
                self._misused(cls, {"offset": offset, "opcode": "REDUCE"})
            if import_verdict.level is Level.UNKNOWN:
                self.called_unknown = True
                self.unknown[cls.module, cls.name] = (cls, import_verdict, True)
            return Result(cls, args[1:], offset)
        self._odd(found, args, offset, "it makes an instance of what is no import")
        return None

    def _rebuild_from_type(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        if not args or not self._is_allowed(args[0], "call"):
            self._odd(found, args, offset, "it calls its first argument")
        return Result(found, None, offset)


class Part:
    """A range of a source as a source."""

    def __init__(self, source: Source, offset: int, length: int) -> None:
        """Take `length` bytes from `offset`, or what there is of them."""
        self._source = source
        self._offset = offset
        self.size = max(min(length, source.size - offset), 0)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        length = min(length, self.size - offset)
        return self._source.read(self._offset + offset, length) if length > 0 else b""


def _decoded(raw: bytes) -> list[bytes]:
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


def _place(found: Global) -> dict[str, Any]:
    return {"offset": found.offset, "opcode": found.opcode, "global": str(found)}


_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


def _code_in(value: object, pattern: re.Pattern[str]) -> str:
    """Return the first text among arguments that is code, a command, a path or an address."""
    waiting, seen = [value], 0
    while waiting and seen < 200:
        item = waiting.pop()
        seen += 1
        if isinstance(item, bytes):
            item = item[:4096].decode("latin-1")
        if isinstance(item, str):
            if pattern.search(item[:4096]):
                return item[:120]
        elif isinstance(item, tuple | list):
            waiting.extend(item[:50])
    return ""
