"""Collects faults: things that source code does and model code never needs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agents.checks.artifacts.python.execution import MAIN
from agents.checks.artifacts.python.module_facts import ModuleFacts
from schemas.severity import Severity


class CodeFault(msgspec.Struct, frozen=True):
    """What a source does, where, and with which severity."""

    rule_id: str
    what: str
    line: int
    severity: Severity
    in_program: Severity
    """The severity in code that no loader of models runs, as far as the files say."""
    holds: bytes = b""
    """A constant that it passes to a loader, to be scanned in the loader's format."""
    hostile: bool = False
    """Whether it is hostile whoever runs the code, and when."""


def _rank(severity: Severity) -> int:
    return severity.rank


class FaultLog:
    """The faults of one module, and what judgements need to know of it."""

    def __init__(
        self, facts: ModuleFacts, layer: int, judge: Callable[[str, int], list[CodeFault]]
    ) -> None:
        """Start without a fault.

        Args:
            facts: What the module's names and values mean.
            layer: The number of enclosing sources.
            judge: Returns the faults of a source with that many enclosing ones.
        """
        self.facts = facts
        self.layer = layer
        self._judge = judge
        self._found: dict[tuple[str, int], CodeFault] = {}

    def faults(self) -> list[CodeFault]:
        """Return the faults in the order in which they were added."""
        return list(self._found.values())

    def add(
        self,
        rule_id: str,
        what: str,
        line: int,
        severity: Severity,
        holds: bytes = b"",
        *,
        in_program: Severity | None = None,
        hostile: bool = False,
    ) -> None:
        """Add a fault; of several with the same rule and line, keep the most severe.

        Args:
            rule_id: The rule.
            what: What the code does.
            line: Where.
            severity: In a model's code.
            holds: A constant that it passes to a loader.
            in_program: The severity in a program's code, if that is less.
            hostile: Whether it is hostile whoever runs the code, and when.
        """
        lesser = severity if in_program is None else min(severity, in_program, key=_rank)
        known = self._found.get((rule_id, line))
        if known is not None:
            lesser = max(lesser, known.in_program, key=_rank)
        if known is None or known.severity.rank < severity.rank:
            self._found[rule_id, line] = CodeFault(
                rule_id, f"the code {what}", line, severity, lesser, holds, hostile
            )
        elif lesser is not known.in_program:
            self._found[rule_id, line] = msgspec.structs.replace(known, in_program=lesser)

    def inner(
        self,
        constant: str | bytes,
        line: int,
        where: str,
        lowest: Severity = Severity.INFORMATIONAL,
    ) -> None:
        """Judge the source that a constant holds, as if it were written here."""
        text = constant if isinstance(constant, str) else constant.decode("utf-8", "replace")
        try:
            faults = self._judge(text.strip(), self.layer + 1)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        for fault in faults:
            severity, in_program = fault.severity, fault.in_program
            if severity.rank < lowest.rank:
                continue
            if severity.rank >= Severity.MEDIUM.rank and where != MAIN:
                severity = in_program = Severity.CRITICAL
            self.add(
                fault.rule_id,
                f"evaluates text: {fault.what}",
                line,
                severity,
                in_program=in_program,
            )
