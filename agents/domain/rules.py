"""Rules as data: what a check looks for, how bad it is, what to do, and its examples."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.errors import TidewatchError
from schemas.findings import Confidence
from schemas.severity import Severity
from schemas.taxonomy import taxonomy

FAMILIES: Final = ("artifacts", "artifacts.formats", "packages", "pipelines", "provenance")
"""Sub-packages of `agents.checks` that hold a `rules.toml`; correlation rules are triage's."""


class InvalidRuleError(TidewatchError):
    """A rule file that does not say what a rule must say."""


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule is tried on; `given` is read by the rule's family."""

    title: str
    given: Any


class Examples(msgspec.Struct, frozen=True, kw_only=True):
    """Both kinds of example."""

    hit: tuple[Example, ...] = ()
    miss: tuple[Example, ...] = ()


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule."""

    id: str
    title: str
    ioc_type: str
    severity: Severity
    confidence: Confidence
    runbook: str
    """What to do, in a line: a finding's remediation."""
    false_positives: tuple[str, ...] = ()
    """Known harmless causes."""
    mitre_atlas_id: str | None = None
    """None: the primary technique of its kind of indicator."""
    techniques: tuple[str, ...] = ()
    """Empty: those of its kind."""
    ssdf: tuple[str, ...] = ()
    """Empty: those of its kind."""
    reason: str | None = None
    """Why its severity is below that of its kind, where it is."""
    version: int = 1
    examples: Examples = Examples()

    @property
    def atlas(self) -> str:
        """The ATLAS technique that names it best."""
        return self.mitre_atlas_id or taxonomy().ioc_types[self.ioc_type].primary

    @property
    def all_techniques(self) -> tuple[str, ...]:
        """The ATLAS techniques, the rule's own or those of its kind."""
        return self.techniques or taxonomy().ioc_types[self.ioc_type].techniques

    @property
    def practices(self) -> tuple[str, ...]:
        """The SSDF practices, the rule's own or those of its kind."""
        return self.ssdf or taxonomy().ioc_types[self.ioc_type].ssdf


def load_rules(text: str, where: str) -> dict[str, Rule]:
    """Return the rules of a TOML text with `[[rule]]` tables, by id.

    Raises:
        InvalidRuleError: not TOML, a field missing or wrong, an unknown kind, an id twice, or a
            severity below its kind's without a reason.
    """
    try:
        tables = tomllib.loads(text).get("rule", [])
        rules = msgspec.convert(tables, list[Rule])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidRuleError(f"rule file does not load: {error}", where=where) from error
    result: dict[str, Rule] = {}
    for rule in rules:
        kind = taxonomy().ioc_types.get(rule.ioc_type)
        if kind is None:
            raise InvalidRuleError(f"{rule.id}: unknown kind {rule.ioc_type!r}", where=where)
        if rule.id in result:
            raise InvalidRuleError(f"{rule.id} stands twice", where=where)
        if rule.severity.rank < kind.severity.rank and not rule.reason:
            raise InvalidRuleError(
                f"{rule.id}: severity {rule.severity} is below {kind.severity} of its kind",
                where=where,
                remedy="give the reason",
            )
        result[rule.id] = rule
    return result


@cache
def family_rules(family: str) -> dict[str, Rule]:
    """Return the rules of one family of checks, read once."""
    # Read by path: asking the package for its file would import all of its checks.
    checks = Path(__file__).parents[1] / "checks"
    source = checks.joinpath(*family.split("."), "rules.toml")
    return load_rules(source.read_text(encoding="utf-8"), f"{family}/rules.toml")


def rule_named(rule_id: str) -> Rule:
    """Return a rule; families are read until it is found, since reading them costs time.

    Raises:
        KeyError: no family has it.
    """
    for family in FAMILIES:
        rule = family_rules(family).get(rule_id)
        if rule is not None:
            return rule
    raise KeyError(rule_id)


@cache
def all_rules() -> dict[str, Rule]:
    """Return the rules of every family, by id.

    Raises:
        InvalidRuleError: an id stands in two families.
    """
    result: dict[str, Rule] = {}
    for family in FAMILIES:
        for rule_id, rule in family_rules(family).items():
            if rule_id in result:
                raise InvalidRuleError(f"{rule_id} stands in two families", where=family)
            result[rule_id] = rule
    return result
