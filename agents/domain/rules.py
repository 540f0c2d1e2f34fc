"""Rules as data: one TOML file per rule under `agents/rules`, read when the rule is needed."""

from __future__ import annotations

import os
import tomllib
from datetime import date
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from schemas.conversion import Converter
from schemas.errors import TidewatchError
from schemas.findings import Confidence
from schemas.severity import Severity
from schemas.taxonomy import taxonomy

RULES: Final = Path(__file__).parents[1] / "rules"
"""The folder of the rules: `<family>/<id in lower case>.toml`. A family may have sub-families."""


class InvalidRuleError(TidewatchError):
    """A rule file that is not a valid rule."""


RuleId = Annotated[str, msgspec.Meta(pattern=r"^TW-[A-Z0-9]+(-[A-Z0-9]+)+$", max_length=64)]
Title = Annotated[str, msgspec.Meta(min_length=8, max_length=120, pattern=r"^\S.*[^\s.]$")]
Sentence = Annotated[str, msgspec.Meta(min_length=12, max_length=400, pattern=r"^[\S ]+\.$")]
"""One line that ends with a full stop."""
Paragraph = Annotated[str, msgspec.Meta(min_length=80, max_length=2000)]
Reference = Annotated[
    str,
    msgspec.Meta(
        max_length=200,
        pattern=r"^(CVE-\d{4}-\d{4,7}|CWE-\d{1,4}|GHSA(-[0-9a-z]{4}){3}|PEP \d{1,4}|RFC \d{1,5}"
        r"|arXiv:\d{4}\.\d{4,5}|https://[\w.-]+/\S*)$",
    ),
]
"""A public identifier, or the address of a page."""


class Example(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An example to test a rule on; the rule's family interprets `given`."""

    title: Annotated[str, msgspec.Meta(min_length=3, max_length=120)]
    given: Any


class Examples(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both kinds of example: the rule reports every hit and no miss."""

    hit: Annotated[tuple[Example, ...], msgspec.Meta(min_length=1, max_length=10)]
    miss: Annotated[tuple[Example, ...], msgspec.Meta(min_length=1, max_length=10)]


class ConditionKind(StrEnum):
    """The kinds of condition that the component ledger evaluates."""

    DRIFT = "drift"
    """A value that should not change did (`slot`, `prefixes`)."""
    ABSENCE = "absence"
    """What at least `minimum` earlier versions had is missing."""
    FIRST_SEEN = "first-seen"
    """The tenant meets the component for the first time."""
    VALUE_COUNT = "value-count"
    """Distinct values of `distinct` reach `thresholds`."""
    COMBINATION = "combination"
    """`signals` on one component within `hours`."""
    FACT = "fact"
    """Intelligence of `kinds` about what was seen."""
    TAINT = "taint"
    """The component was made from one that is part of an incident."""


class Slot(StrEnum):
    """The values of a component that a drift compares."""

    NONE = ""
    ANNOUNCED = "announced"
    COMMIT = "commit"
    DIGEST = "digest"
    FILENAME = "filename"
    PUBLISHER = "publisher"
    PUBLISHING = "publishing"
    SEVERAL_PUBLISHING = "publishing-several"
    TAG = "tag"
    VERSION = "version"


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The condition of a rule that the component ledger evaluates."""

    kind: ConditionKind
    slot: Slot = Slot.NONE
    prefixes: tuple[str, ...] = ()
    minimum: int = 0
    distinct: Literal["", "component", "tenant"] = ""
    thresholds: tuple[int, ...] = ()
    signals: tuple[str, ...] = ()
    """Kinds of indicator, alternatives separated by `|`."""
    ordered: bool = False
    hours: float = 0.0
    kinds: tuple[str, ...] = ()


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule."""

    id: RuleId
    title: Title
    description: Paragraph
    """What it detects and why that matters."""
    check: Annotated[str, msgspec.Meta(pattern=r"^[a-z]+(_[a-z]+|_<[a-z]+>)*$", max_length=40)]
    """The check of an assessment that it feeds, or `ledger` where it feeds none."""
    ioc_type: str
    severity: Severity
    severity_reason: Sentence
    confidence: Confidence
    confidence_reason: Sentence
    atlas: str
    """The MITRE ATLAS technique that fits best."""
    techniques: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=10)]
    """All its ATLAS techniques."""
    ssdf: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=10)]
    """The NIST SSDF practices that it violates."""
    references: Annotated[tuple[Reference, ...], msgspec.Meta(min_length=1, max_length=10)]
    created: date
    updated: date
    false_positives: Annotated[tuple[Sentence, ...], msgspec.Meta(max_length=10)]
    """Known harmless causes."""
    triage: Annotated[tuple[Sentence, ...], msgspec.Meta(min_length=2, max_length=10)]
    """The steps for an analyst, in order; a finding names the first as its next step."""
    when: When | None = None
    """Its condition, where the component ledger evaluates it."""
    examples: Examples

    @property
    def remediation(self) -> str:
        """The next step, in one line: the first step of its triage."""
        return self.triage[0]


_RULE: Final = Converter(Rule)


def load_rule(text: str, where: str) -> Rule:
    """Return the rule of a TOML text.

    Args:
        text: The content of a rule file.
        where: The file, for errors.

    Raises:
        InvalidRuleError: not TOML, a field that is missing, unknown or out of bounds, a kind of
            indicator or technique that the taxonomy does not have, or an update before its
            creation.
    """
    try:
        known = taxonomy()
        rule = _RULE(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidRuleError(
            f"rule file does not load: {error}", where=where, remedy="correct the field"
        ) from error
    if rule.ioc_type not in known.ioc_types:
        raise InvalidRuleError(f"{rule.id}: unknown kind {rule.ioc_type!r}", where=where)
    if unknown := {rule.atlas, *rule.techniques} - set(known.techniques):
        raise InvalidRuleError(f"{rule.id}: unknown techniques {sorted(unknown)}", where=where)
    if rule.updated < rule.created:
        raise InvalidRuleError(f"{rule.id}: updated before it was created", where=where)
    return rule


def index_rules(folder: Path) -> dict[str, Path]:
    """Return the files of the rules below a folder by id, in the order of their paths.

    Raises:
        InvalidRuleError: two families have a file of one id.
    """
    found: dict[str, Path] = {}
    paths = sorted(
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.endswith(".toml")
    )
    for path in paths:
        rule_id = path.stem.upper()
        if rule_id in found:
            raise InvalidRuleError(f"{rule_id} is in two families", where=str(path))
        found[rule_id] = path
    return found


@cache
def _index() -> dict[str, Path]:
    return index_rules(RULES)


@cache
def rule_named(rule_id: str) -> Rule:
    """Return a rule; only its own file is read, once.

    Raises:
        KeyError: there is no such rule.
        InvalidRuleError: its file does not load, or is named after another rule.
    """
    path = _index()[rule_id]
    rule = load_rule(path.read_text(encoding="utf-8"), _where(path))
    if rule.id != rule_id:
        raise InvalidRuleError(
            f"the file of {rule_id} contains {rule.id}",
            where=_where(path),
            remedy="name the file after the id, in lower case",
        )
    return rule


def _where(path: Path) -> str:
    return path.relative_to(RULES).as_posix()


def family_of(rule_id: str) -> str:
    """Return the family of a rule, such as `artifacts/pickle`.

    Raises:
        KeyError: there is no such rule.
    """
    return _index()[rule_id].parent.relative_to(RULES).as_posix()


@cache
def families() -> tuple[str, ...]:
    """Return the names of all families that contain rules, in order."""
    return tuple(sorted({family_of(rule_id) for rule_id in _index()}))


@cache
def family_rules(family: str) -> dict[str, Rule]:
    """Return the rules of a family and of its sub-families, by id."""
    return {
        rule_id: rule_named(rule_id)
        for rule_id in _index()
        if f"{family_of(rule_id)}/".startswith(f"{family}/")
    }


@cache
def all_rules() -> dict[str, Rule]:
    """Return every rule, by id."""
    return {rule_id: rule_named(rule_id) for rule_id in _index()}
