"""Judges what one stream of a pickle imports, calls, builds and holds."""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from agents.checks.artifacts.pickle import carried_code
from agents.checks.artifacts.pickle.arrays import array_end, other_file
from agents.checks.artifacts.pickle.exhaustion import exhausting, is_measured
from agents.checks.artifacts.pickle.globals import ImportVerdict, Level, code_in, judge
from agents.checks.artifacts.pickle.heads import decoded, holds_file, starts_like_pickle
from agents.checks.artifacts.pickle.machine import BUDGET_EXHAUSTED, Machine
from agents.checks.artifacts.pickle.particular_calls import BOUND, CHECKS, binding_fault, is_class
from agents.checks.artifacts.pickle.symbols import Blob, End, Global, Result, Unknown, describe
from agents.checks.artifacts.scanning import BytesSource, Part, Scan, Source

MAX_NESTED: Final = 1_000
"""Files within constants of one file that are scanned."""
CODECS: Final = frozenset(("latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii"))
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
"""The rules of anomalies that are no damage."""
_REFERRED: Final = frozenset(("type", "subscript", "union", "code", "wraps", "attribute"))
"""Uses that models refer to without a call too."""
_IDENTIFIERS: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class PickleFile:
    """What the streams of one file share."""

    def __init__(self, scan: Scan, source: Source, *, script: bool) -> None:
        """Begin with nothing reported.

        Args:
            scan: Where to report.
            source: The file.
            script: Whether it belongs to a TorchScript archive.
        """
        self.scan = scan
        self.source = source
        self.script = script
        self.seen: set[tuple[str, str, str]] = set()
        """What was reported, by kind, module and name."""
        self.nested = 0


class Stream:
    """Observes one stream and judges it."""

    def __init__(self, file: PickleFile, *, at_once: bool = False) -> None:
        """Observe a stream of a file.

        Args:
            file: What the streams of the file share.
            at_once: Whether to report each thing as it happens: the file is known to be a pickle.
        """
        self.file = file
        self.at_once = at_once
        self.pending: list[Callable[[], None]] = []
        self.imports = 0
        self.strange = False
        """An import whose names are no identifiers: in what is no pickle."""
        self.dangerous = False
        self.called_unknown = False
        self.dangerous_call = False
        self.unknown: dict[tuple[str, str], tuple[Global, ImportVerdict, bool]] = {}
        self.damage: list[str] = []
        self.verdicts: dict[int, ImportVerdict] = {}
        self.globals: list[Global] = []
        """Kept alive: judgements are found by their identity."""
        self.particular: list[Global] = []
        """Harmless when called as they should be, and not otherwise."""

    # What is observed is reported when the bytes turn out to be a pickle.

    def convincing(self, end: End, magic: bool, *, within: bool) -> bool:
        """Tell whether what was observed shows that the bytes are a pickle.

        Args:
            end: How the stream ended.
            magic: Whether it begins with PROTO.
            within: Whether it follows other streams of the same file.
        """
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
        """Report what was held back, and what the whole stream shows.

        Args:
            end: How the stream ended; None when it was not followed to its end.
        """
        for report in self.pending:
            report()
        self.pending.clear()
        scan = self.file.scan
        for found in self.particular:
            if not found.calls and self._once("import", found.module, found.name):
                scan.report(
                    "TW-PICKLE-DANGEROUS-IMPORT",
                    f"the pickle imports {found} and does not call it itself",
                    **found.evidence(),
                )
        for (module, name), (found, import_verdict, called) in self.unknown.items():
            if self._once("unknown", module, name):
                scan.report(
                    "TW-PICKLE-UNKNOWN-IMPORT",
                    f"the pickle {'calls' if called else 'imports'} {found}: "
                    f"{import_verdict.reason}",
                    **found.evidence(),
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
        if key in self.file.seen:
            return False
        self.file.seen.add(key)
        return True

    def _report(self, rule_id: str, description: str, **evidence: Any) -> None:  # noqa: ANN401
        report = partial(self.file.scan.report, rule_id, description, **evidence)
        if self.at_once:
            report()
        else:
            self.pending.append(report)

    # the observer

    def imported(self, found: Global, protocol: int) -> None:
        """Judge an import, and set how its calls are treated."""
        module, name = found.module, found.name
        self.imports += 1
        import_verdict = judge(module, name, protocol, script=self.file.script)
        self.verdicts[id(found)] = import_verdict
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
        special: dict[str, Callable[[Global, Any, int], object]] = {
            "enum": self._member,
            "type": self._type_of,
            "ufunc": self._ufunc,
            "bytes": self._load_from_bytes,
            "partial": self._partial,
            "code": self._carried,
        }
        for use in CHECKS.keys() & uses:
            special[use] = partial(self._checked, CHECKS[use])
        for use, handler in special.items():
            if use in uses:
                found.quiet = True
                found.evaluate = partial(handler, found)
                if use not in _REFERRED:
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
        """Judge a call that is not quiet; return what it leaves, None for unknown."""
        evidence = {"offset": offset, "opcode": opcode, "arguments": describe(args)[:400]}
        if not isinstance(callee, Global) and (
            carried_code.makes_code(callee) or carried_code.wraps(callee)
        ):
            return self._carried(callee, args, offset)
        if carried_code.makes_class(callee):
            return Result(callee, args, offset)  # what its own code does has been judged
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
        import_verdict = self.verdicts[id(callee)]
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
            text = code_in(args, function=import_verdict.function)
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
        """Judge BUILD; return where the stream goes on."""
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
        """Report when an array of older joblib, in a file beside, is in a file elsewhere."""
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
        end, objects = array_end(state, position, self.file.source)
        if objects:
            inner = Stream(self.file)
            machine = Machine(self.file.source, position, inner, self.file.scan.budget)
            done = machine.run()
            self.pending.append(partial(inner.settle, done))
            self.imports += inner.imports
            self.dangerous |= inner.dangerous
            self.dangerous_call |= inner.dangerous_call
            return done.offset if done.stopped else position
        return end

    def patched(self, target: object, offset: int, opcode: str) -> None:
        """Report that an import itself is changed, or items are set on a tensor or a storage."""
        if isinstance(target, Result):
            self.dangerous_call = True
            if self._once("items", "", ""):
                self._report(
                    "TW-MODEL-TORCH-STORAGE",
                    f"the pickle sets items on {describe(target)}, which writes to its memory",
                    offset=offset,
                    opcode=opcode,
                    name="items",
                )
        elif isinstance(target, Global):
            self.dangerous_call = True
            self._report(
                "TW-PICKLE-PATCHED",
                f"the pickle changes {target} itself, not an instance",
                offset=offset,
                opcode=opcode,
                **{"global": str(target)},
            )

    def anomaly(self, kind: str, offset: int, detail: str) -> None:
        """Report what no pickler writes, or keep it as damage."""
        rule_id = _CRITICAL.get(kind)
        if rule_id is None:
            self.damage.append(f"{detail} (offset {offset})")
            return
        if kind in ("computed-name", "extension-code"):
            self.dangerous_call = True
        self._report(rule_id, f"the pickle is made to mislead: {detail}", offset=offset, name=kind)

    def constant(self, value: str | bytes, offset: int) -> None:
        """Scan a constant that is a file, as it is or encoded."""
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
        for inner in decoded(raw):
            if holds_file(inner):
                self._descend(inner, offset)
                return

    def _descend(self, raw: bytes, offset: int) -> None:
        self.file.nested += 1
        scan = self.file.scan
        if self.file.nested > MAX_NESTED:
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
        import_verdict = self.verdicts.get(id(value)) if isinstance(value, Global) else None
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
            import_verdict = self.verdicts[id(args[0])]
            method = Global(args[0].module, f"{args[0].name}.{args[1]}", offset, "REDUCE")
            if judge(method.module, method.name, 4).level is Level.ALLOWED:
                self.imported(method, 4)
                return method
            is_class = args[0].name.rsplit(".", 1)[-1][:1].isupper()
            public = is_class and not args[1].startswith("_")
            if public and import_verdict.level is Level.UNKNOWN:
                return Result(found, None, offset)
        if self._is_method(args) or carried_code.is_maker(args):
            return Result(found, BOUND, offset)
        if carried_code.is_setter(args):
            return args[2]
        self._odd(found, args, offset, "it looks up any attribute of anything")
        return None

    def _is_method(self, args: Any) -> bool:  # noqa: ANN401
        """Tell whether a method or a member of a class that is no gadget is only referred to."""
        if len(args) != 2:
            return False
        if isinstance(args[0], str | bytes | tuple | list):  # of a constant or a container
            return not binding_fault(args[1])
        owner = args[0].callee if isinstance(args[0], Result) else args[0]
        if not isinstance(owner, Global):
            return False
        import_verdict = self.verdicts[id(owner)]
        known = import_verdict.level is Level.ALLOWED or import_verdict.in_known
        if binding_fault(args[1], known=known):
            return False
        if import_verdict.level is Level.ALLOWED:
            # The class itself: private names are its own affair, and may be anything.
            public = owner is not args[0] or not args[1].startswith("_")
            kept = owner is not args[0] or is_class(owner)
            return public and kept and self._is_allowed(owner, "new", "call")
        return (
            isinstance(args[0], Result)
            and import_verdict.level is Level.UNKNOWN
            and not import_verdict.function
            and not import_verdict.runner
        )

    def _is_bound(self, value: Result) -> bool:
        """Tell whether a value is a method that was looked up and found harmless."""
        of = value.callee
        return self._is_allowed(of, "enum") and value.args is BOUND

    def _carried(self, found: object, args: Any, offset: int) -> object:  # noqa: ANN401
        """Judge a part of code that travels by value: whether it reaches out of itself."""
        where = str(found) if isinstance(found, Global) else describe(found)
        if why := carried_code.fault(found, args):
            self.dangerous_call = True
            self._report(
                "TW-PICKLE-HOSTILE-CALL",
                f"the pickle calls {where}: {why}",
                offset=offset,
                arguments=describe(args)[:400],
                **{"global": where},
            )
        elif self._once("carried", "", ""):
            self._report(
                "TW-PICKLE-CARRIES-CODE",
                "the pickle carries functions by value; their code only computes",
                offset=offset,
                **{"global": where},
            )
        return Result(found, args, offset)

    def _checked(
        self,
        fault: Callable[[tuple[Any, ...], Callable[[object], bool]], str],
        found: Global,
        args: Any,  # noqa: ANN401
        offset: int,
    ) -> object:
        """Judge a call that is harmless with particular arguments."""
        if why := fault(args, self._is_allowed):
            self._odd(found, args, offset, why)
        return Result(found, args, offset)

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
            scan, source = self.file.scan, self.file.source
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
        if isinstance(target, Result) and (
            self._is_bound(target) or carried_code.is_carried(target)
        ):
            return Result(found, None, offset)
        level = self.verdicts[id(target)].level if isinstance(target, Global) else Level.DANGEROUS
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
            import_verdict = self.verdicts[id(cls)]
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
