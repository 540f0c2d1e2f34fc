"""The rules that the component ledger evaluates, and the conditions that they test."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Final

import msgspec

from agents.domain.rules import ConditionKind, Rule, Slot, When, family_rules
from schemas.conversion import Converter
from schemas.findings import Finding
from schemas.severity import Severity

HOUR_MS: Final = 3_600_000
PRIVATE_TENANTS: Final = 3
"""The default k: fewer tenants are never counted in what a tenant reads."""


class Correlation(msgspec.Struct, frozen=True, kw_only=True):
    """A rule and its condition."""

    rule: Rule
    when: When


class TaintRule(msgspec.Struct, frozen=True, kw_only=True):
    """Which findings taint what is built from a component."""

    confidence: float
    kinds: frozenset[str]
    runs: frozenset[str]
    """Kinds that taint if they are found in a run."""
    policy: frozenset[str]
    """Kinds that apply a tenant's policy if no fact is named: they mean nothing for others."""


_TAINT_RULE: Final = Converter(TaintRule)


FAMILIES: Final = ("intelligence", "ledger")
"""The families of rules whose condition is evaluated here."""


@cache
def correlations() -> dict[str, Correlation]:
    """Return the correlation rules by id, read once."""
    return {
        rule_id: Correlation(rule=rule, when=rule.when)
        for family in FAMILIES
        for rule_id, rule in family_rules(family).items()
        if rule.when is not None
    }


@cache
def taint_rule() -> TaintRule:
    """Return which findings taint."""
    text = resources.files("agents.triage").joinpath("taint.toml").read_text(encoding="utf-8")
    return _TAINT_RULE(tomllib.loads(text))


def taints(finding: Finding) -> bool:
    """Return whether what is built from the finding's component is suspect as well."""
    rule = taint_rule()
    of_run = finding.ioc_type in rule.runs and finding.component.startswith("pipeline:")
    return (
        (finding.ioc_type in rule.kinds or of_run)
        and finding.severity.rank >= Severity.HIGH.rank
        and finding.confidence >= rule.confidence
    )


@cache
def of_kind(kind: ConditionKind, slot: Slot = Slot.NONE) -> tuple[Correlation, ...]:
    """Return the rules with conditions of `kind`, restricted to `slot` if given."""
    return tuple(
        correlation
        for correlation in correlations().values()
        if correlation.when.kind is kind and (not slot or correlation.when.slot is slot)
    )


@cache
def for_prefix(kind: ConditionKind, slot: Slot, prefix: str) -> Correlation | None:
    """Return the narrowest rule of `kind` and `slot` about components of `prefix`, or None."""
    return _narrowest(rule for rule in of_kind(kind, slot) if prefix in rule.when.prefixes)


@cache
def for_fact(fact_kind: str, prefix: str) -> Correlation | None:
    """Return the narrowest rule for a fact of `fact_kind` about a `prefix`, or None."""
    return _narrowest(
        rule
        for rule in of_kind(ConditionKind.FACT)
        if fact_kind in rule.when.kinds and prefix in rule.when.prefixes
    )


def _narrowest(rules: Iterable[Correlation]) -> Correlation | None:
    """Return the rule with the fewest prefixes: packages precede everything."""
    return min(rules, key=lambda rule: len(rule.when.prefixes), default=None)


def reached(thresholds: Sequence[int], count: int) -> int | None:
    """Return the greatest threshold that `count` reaches, or None."""
    return max((threshold for threshold in thresholds if count >= threshold), default=None)


Signal = tuple[int, str, str, str, str]
"""When (milliseconds), what (a kind of indicator), event, system, source."""


def combination(when: When, signals: Iterable[Signal]) -> tuple[Signal, ...] | None:
    """Return the signals that fulfil a combination, the earliest such set, or None.

    A window slides over event times, so no boundary hides a match. Signals at the same time may
    have any order.

    Args:
        when: A condition of kind `combination`.
        signals: What happened, in any order.
    """
    wanted = [frozenset(step.split("|")) for step in when.signals]
    window = int(when.hours * HOUR_MS)
    ordered = sorted(signals)
    kinds = {signal[1] for signal in ordered}
    if any(kinds.isdisjoint(step) for step in wanted):
        return None  # the usual case: very many findings of one kind
    for start, first in enumerate(ordered):
        near = [signal for signal in ordered[start:] if signal[0] - first[0] <= window]
        found = _in_order(wanted, near) if when.ordered else _in_any_order(wanted, near)
        if found is not None:
            return found
    return None


def _in_order(
    wanted: Sequence[frozenset[str]], signals: Sequence[Signal]
) -> tuple[Signal, ...] | None:
    chosen: list[Signal] = []
    for step in wanted:
        after = chosen[-1][0] if chosen else 0
        match = next(
            (
                signal
                for signal in signals
                if signal[1] in step and signal[0] >= after and signal not in chosen
            ),
            None,
        )
        if match is None:
            return None
        chosen.append(match)
    return tuple(chosen)


def _in_any_order(
    wanted: Sequence[frozenset[str]], signals: Sequence[Signal]
) -> tuple[Signal, ...] | None:
    chosen: list[Signal] = []
    for step in wanted:
        match = next(
            (signal for signal in signals if signal[1] in step and signal not in chosen), None
        )
        if match is None:
            return None
        chosen.append(match)
    return tuple(chosen)
