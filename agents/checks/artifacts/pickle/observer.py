"""Judges what one stream of a pickle imports, calls, builds and holds."""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from agents.checks.artifacts.pickle import carried_code, expressions
from agents.checks.artifacts.pickle.arrays import array_end, other_file
from agents.checks.artifacts.pickle.exhaustion import exhausting
from agents.checks.artifacts.pickle.globals import ImportVerdict, Level, code_in, judge
from agents.checks.artifacts.pickle.heads import decoded, holds_file
from agents.checks.artifacts.pickle.known_calls import KnownCalls
from agents.checks.artifacts.pickle.machine import BUDGET_EXHAUSTED, Machine
from agents.checks.artifacts.pickle.pickle_file import PickleFile
from agents.checks.artifacts.pickle.restored_states import state_fault
from agents.checks.artifacts.pickle.symbols import Global, Result, StreamEnd, Unknown, describe
from agents.checks.artifacts.pickle.unlisted import (
    boasts,
    makes_objects,
    named_function,
    settings,
)
from agents.checks.artifacts.python.shell_commands import is_private_path
from agents.checks.artifacts.readers.embedded import report_text
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Severity

MAX_NESTED: Final = 1_000
"""Files within a file's constants that are scanned."""
MAX_NAMES: Final = 20
"""Imports that one finding names."""
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
"""The rules of anomalies that are not damage."""
_IDENTIFIERS: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


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
        """Whether an import's names are not identifiers: then the bytes are not a pickle."""
        self.dangerous = False
        self.called_unknown = False
        self.dangerous_call = False
        self.unknown: dict[tuple[str, str], tuple[Global, ImportVerdict, bool]] = {}
        self.constructed: set[tuple[str, str]] = set()
        """Unknown imports that are called; for a class, the constructor runs."""
        self.damage: list[str] = []
        self.verdicts: dict[int, ImportVerdict] = {}
        self.globals: list[Global] = []
        """Kept alive: judgements are found by their identity."""
        self.particular: list[Global] = []
        """Imports that are harmless only if called as intended."""
        self._known_calls = KnownCalls(self)

    # Observations are reported when the bytes turn out to be a pickle.

    def convincing(self, end: StreamEnd, magic: bool, *, within: bool) -> bool:
        """Return whether the observations show that the bytes are a pickle.

        Args:
            end: How the stream ended.
            magic: Whether it begins with PROTO.
            within: Whether it follows other streams of the same file.
        """
        if self.strange:
            return False
        if self.dangerous and (within or magic or end.stopped or self.dangerous_call):
            return True  # two lines of a text may look like an import
        if self.dangerous_call and self.imports and magic and not self.damage:
            return True  # what it calls happens before it breaks
        if self.damage and within and not self.imports:
            return False  # numbers among weights
        if end.stopped and (self.imports or (end.opcodes > 3 and (magic or self.dangerous_call))):
            return True
        return bool(self.imports and magic and self.called_unknown)

    def settle(self, end: StreamEnd | None) -> None:
        """Report deferred findings, and those of the whole stream.

        Args:
            end: How the stream ended; None when it was not followed to its end.
        """
        for report in self.pending:
            report()
        self.pending.clear()
        scan = self.file.scan
        for found in self.particular:
            if not found.calls and self.once("import", found.module, found.name):
                scan.report(
                    "TW-PICKLE-DANGEROUS-IMPORT",
                    f"the pickle imports {found} and does not call it itself",
                    **found.evidence(),
                )
        self._report_unknown()
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
                "the pickle calls something that models do not need, and then breaks",
                offset=end.offset,
                error=end.reason or self.damage[0],
            )

    def _report_unknown(self) -> None:
        """Report the unknown imports, one finding for each package and reason.

        Imports that only make objects are not suspicious, but were not understood: the file is
        unsupported.
        """
        alike: dict[tuple[str, str, bool, bool], list[Global]] = {}
        for (module, name), (found, import_verdict, called) in self.unknown.items():
            if self.once("unknown", module, name):
                runs = (module, name) in self.constructed
                plain = makes_objects(
                    module, name, import_verdict, called=runs, made=called and not runs
                )
                cause = (module.partition(".")[0], import_verdict.reason, called, plain)
                alike.setdefault(cause, []).append(found)
        for (package, reason, called, plain), all_found in alike.items():
            first, others = all_found[0], all_found[1:]
            more = f" and {len(others)} more of {package}" if others else ""
            evidence = first.evidence()
            if others:
                evidence["names"] = [str(imported) for imported in all_found[:MAX_NAMES]]
            self.file.scan.report(
                "TW-PICKLE-UNLISTED-CLASS" if plain else "TW-PICKLE-UNKNOWN-IMPORT",
                f"the pickle {'calls' if called else 'imports'} {first}{more}: {reason}",
                **evidence,
            )

    def once(self, kind: str, module: str, name: str) -> bool:
        """Return whether this is the first time that something is reported of an import."""
        key = (kind, module, name)
        if key in self.file.seen:
            return False
        self.file.seen.add(key)
        return True

    def report(self, rule_id: str, description: str, **evidence: Any) -> None:  # noqa: ANN401
        """Report a finding, now or when the bytes turn out to be a pickle."""
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
            self._known_calls.specialise(found, uses)
            return
        if not (_IDENTIFIERS.fullmatch(module) and _IDENTIFIERS.fullmatch(name)):
            self.strange |= not self.dangerous
        if import_verdict.level is Level.DANGEROUS:
            self.dangerous = True
            if self.once("import", module, name):
                self.report(
                    "TW-PICKLE-DANGEROUS-IMPORT",
                    f"the pickle imports {module}.{name}: {import_verdict.reason}",
                    offset=found.offset,
                    opcode=found.opcode,
                    **{"global": f"{module}.{name}"},
                )
        elif not import_verdict.referable:
            self.unknown.setdefault((module, name), (found, import_verdict, False))

    def called(self, callee: object, args: object, offset: int, opcode: str) -> object:
        """Judge a call that is not quiet; return its result, None if unknown."""
        # Over 60 lines: one chain of cases, of which the first that applies decides.
        evidence = {"offset": offset, "opcode": opcode, "arguments": describe(args)[:400]}
        if not isinstance(callee, Global) and (
            carried_code.makes_code(callee) or carried_code.wraps(callee)
        ):
            return self._known_calls.carried(callee, args, offset)
        if carried_code.makes_class(callee):
            return Result(callee, args, offset)  # its code has been judged
        if made := self._known_calls.made_by(callee, args):
            callee, args, opcode = *made, "NEWOBJ_EX"
            if callee.creatable and callee.evaluate is None:
                callee.calls += 1
                return callee.instance
        if isinstance(callee, Result) and self._known_calls.is_head(callee.callee):
            # an undefined function of SymPy, applied to expressions
            return self._known_calls.applied(callee.callee, args, offset)
        if isinstance(callee, Result) and self._known_calls.joins(callee, args):
            return Result(args[0], None, offset)  # type: ignore[index]  # `joins` checked it
        if not isinstance(callee, Global):
            if isinstance(callee, Unknown) and callee.kind in ("memo", "number"):
                self.damage.append("a call of a missing value")
                return None
            if not isinstance(callee, Result):
                return None  # a constant is not callable: the machine stops here
            by_value = carried_code.is_bound_code(callee)
            self.dangerous_call = self.dangerous_call or not by_value
            self.report(
                "TW-PICKLE-COMPUTED",
                f"the pickle calls the result of a call: {describe(callee)}",
                severity=Severity.HIGH if by_value else None,
                **evidence,
            )
            return Result(callee, None, offset) if by_value else None
        import_verdict = self.verdicts[id(callee)]
        where = str(callee)
        evidence["global"] = where
        # In an unknown package, an instance's numbers are not a shape.
        if import_verdict.level is Level.ALLOWED or import_verdict.in_known:
            sized = import_verdict.function or import_verdict.level is Level.ALLOWED
            self.weigh(callee, args, offset, sized=sized and not callee.quiet)
            self._follow(callee, args, offset)
        if import_verdict.level is Level.DANGEROUS:
            self.dangerous_call = True
            if self.once("call", callee.module, callee.name):
                self.report(
                    "TW-PICKLE-DANGEROUS-CALL",
                    f"the pickle calls {where}{describe(args)[:200]}",
                    **evidence,
                )
        elif import_verdict.level is Level.UNKNOWN:
            self.called_unknown = True
            self.unknown[callee.module, callee.name] = (callee, import_verdict, True)
            text = code_in(args, function=import_verdict.function) or named_function(args)
            evaluated = import_verdict.evaluates and expressions.unlisted(args)
            uncalled = opcode in ("NEWOBJ", "NEWOBJ_EX")
            if not uncalled:
                self.constructed.add((callee.module, callee.name))
                self._set_up(callee, args)
            tells = import_verdict.runner and (
                import_verdict.function or import_verdict.in_known or boasts(callee.name)
            )
            if evaluated or (not uncalled and (tells or text)):
                self.dangerous_call = True
                why = f"with {text!r}" if text else "whose name suggests that it runs or loads"
                why = f"which evaluates text, and {evaluated}" if evaluated else why
                if self.once("call", callee.module, callee.name):
                    self.report(
                        "TW-PICKLE-HOSTILE-CALL", f"the pickle calls {where}, {why}", **evidence
                    )
        elif opcode in ("NEWOBJ", "NEWOBJ_EX") and callee.creatable:
            return Result(callee, args, offset)
        elif not (callee.quiet and isinstance(args, tuple)):
            self._misused_on(callee, args, evidence)
        elif callee.evaluate is not None:
            return callee.evaluate(args, offset)
        else:
            return callee.instance
        return None

    def _misused_on(self, callee: Global, args: object, evidence: dict[str, Any]) -> None:
        """Report a call of something that models only refer to; more severe on a private file."""
        given = args if isinstance(args, tuple) else ()
        private = next(
            (value for value in given if isinstance(value, str) and is_private_path(value)), ""
        )
        if not private:
            self.misused(callee, evidence)
        elif self.once("use", callee.module, callee.name):
            self.dangerous_call = True
            self.report(
                "TW-PICKLE-HOSTILE-CALL",
                f"the pickle calls {callee}, with the path {private[:120]!r}",
                **evidence,
            )

    def misused(self, callee: Global, evidence: dict[str, Any]) -> None:
        """Report a call of what models only refer to."""
        if self.once("use", callee.module, callee.name):
            self.report(
                "TW-PICKLE-DISALLOWED-USE",
                f"the pickle calls {callee}, which models only refer to",
                **{**evidence, "global": str(callee)},
            )

    def built(self, target: object, state: object, offset: int, position: int) -> int:
        """Judge BUILD; return where the stream continues."""
        if isinstance(target, Global):
            self.patched(target, offset, "BUILD")
        elif isinstance(target, Result):
            callee = target.callee
            if isinstance(callee, Global) and callee.name == "NumpyArrayWrapper":
                return self._array(state, position)
            if isinstance(callee, Global):
                self._follow(callee, state, offset)
                if self.verdicts[id(callee)].level is Level.UNKNOWN:
                    self._set_up(callee, state)
                if why := state_fault(callee, state):
                    self._runs_state(callee, why, offset)
        return position

    def _set_up(self, callee: Global, state: object) -> None:
        """Report code and commands in the state or arguments of an object of an unknown class."""
        for attribute, text in settings(state):
            key = f"{callee}.{attribute}"[:200]
            self.pending.append(
                partial(report_text, self.file.scan, key, text, severity=Severity.HIGH)
            )

    def _runs_state(self, callee: Global, why: str, offset: int) -> None:
        """Report a state that runs code when an instance takes it."""
        self.dangerous_call = True
        if self.once("state", callee.module, callee.name):
            self.report(
                "TW-PICKLE-HOSTILE-CALL",
                f"the pickle restores an instance of {callee}: {why}",
                offset=offset,
                opcode="BUILD",
                **{"global": str(callee)},
            )

    def weigh(self, callee: Global, args: object, offset: int, *, sized: bool = False) -> None:
        """Report a call that makes more than memory holds."""
        why = exhausting(callee, args, sized=sized)
        if why and self.once("weigh", callee.module, callee.name):
            self.report(
                "TW-PICKLE-EXPANSION",
                f"the pickle calls {callee}{describe(args)[:200]}: {why}",
                offset=offset,
                **{"global": str(callee)},
            )

    def _follow(self, callee: Global, state: object, offset: int) -> None:
        """Report an array of older joblib versions in a file outside the pickle's folder."""
        path = other_file(state) if callee.name.endswith("NDArrayWrapper") else ""
        if path:
            self.dangerous_call = True
            self.report(
                "TW-PICKLE-OTHER-FILE",
                f"the pickle reads an array from {path[:200]!r}, outside its folder",
                offset=offset,
                arguments=path[:400],
                **{"global": str(callee)},
            )

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
        """Report changes to an import itself, and items set on a tensor or storage."""
        if isinstance(target, Result):
            self.dangerous_call = True
            if self.once("items", "", ""):
                self.report(
                    "TW-MODEL-TORCH-STORAGE",
                    f"the pickle sets items on {describe(target)}, which writes to its memory",
                    offset=offset,
                    opcode=opcode,
                    name="items",
                )
        elif isinstance(target, Global):
            self.dangerous_call = True
            self.report(
                "TW-PICKLE-PATCHED",
                f"the pickle changes {target} itself, not an instance",
                offset=offset,
                opcode=opcode,
                **{"global": str(target)},
            )

    def anomaly(self, kind: str, offset: int, detail: str) -> None:
        """Report an anomaly that picklers never write, or record it as damage."""
        rule_id = _CRITICAL.get(kind)
        if rule_id is None:
            self.damage.append(f"{detail} (offset {offset})")
            return
        if kind in ("computed-name", "extension-code"):
            self.dangerous_call = True
        self.report(rule_id, f"the pickle is made to mislead: {detail}", offset=offset, name=kind)

    def constant(self, value: str | bytes, offset: int) -> None:
        """Scan a constant that is a file, plain or encoded."""
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
