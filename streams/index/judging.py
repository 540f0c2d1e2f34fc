"""Decides which files of a project are refused, with the reason."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from agents.checks.packages.intel_match import ADVERSE, is_about_every_version, matches
from agents.checks.packages.names import judge_name
from agents.checks.packages.seen import is_internal
from agents.checks.packages.versions import release_of_file
from agents.domain.knowledge import Knowledge
from schemas.components import component_key
from schemas.intel import IntelFact, IntelKind
from streams.cli.output import plain
from streams.http.decisions import OnUnknown
from streams.index.config import IndexConfig
from streams.index.pages import IndexFile

SHOWN: Final = 200
_GOOD: Final = frozenset({IntelKind.WARNINGLIST, IntelKind.KNOWN_GOOD})
_WORD: Final = re.compile(r"[^a-z0-9.]+")


class RefusalReason(StrEnum):
    """The kinds of refusal, which metrics count."""

    KNOWN_BAD = "known-bad"
    BLOCKED = "blocked"
    IMITATION = "imitation"
    AGE = "age"
    UNVERIFIABLE = "unverifiable"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why something is refused."""

    reason: RefusalReason

    code: str
    """Suited for a URL: installers show the refused URL but not the answer."""
    text: str
    """In a sentence."""


def is_own_name(name: str, config: IndexConfig, knowledge: Knowledge) -> bool:
    """Return whether a project is the tenant's own, and so not requested upstream.

    An index that others may publish to would learn the name, and could serve it.
    """
    own = knowledge.policy(config.tenant).internal
    return bool(own.names or own.prefixes) and is_internal(name, own)


def judge_project(name: str, config: IndexConfig, knowledge: Knowledge) -> Refusal | None:
    """Return why every release of a project is refused, None if not every one is.

    Args:
        name: The project, canonical.
        config: The rules of refusal.
        knowledge: Facts and policies.
    """
    key = component_key("pypi", name)
    if key in knowledge.policy(config.tenant).blocked_sources:
        return Refusal(
            reason=RefusalReason.BLOCKED, code="blocked-by-policy", text="the policy blocks it"
        )
    fact = knowledge.fact(key)
    if fact is not None and fact.kind in ADVERSE and is_about_every_version(fact):
        return _known(fact)
    if name in config.allowed or (fact is not None and fact.kind in _GOOD):
        return None
    verdict = judge_name(name)
    if verdict is None or verdict.severity.rank < config.imitations.rank:
        return None
    return Refusal(
        reason=RefusalReason.IMITATION,
        code=f"looks-like-{_words(verdict.target)}",
        text=f"it is easily mistaken for {verdict.target} ({verdict.technique}); if it is meant,"
        " the operator allows it",
    )


def judge_file(
    file: IndexFile, name: str, config: IndexConfig, knowledge: Knowledge, now: datetime
) -> Refusal | None:
    """Return why a file is refused, None if it is not.

    Args:
        file: The file.
        name: Its project, canonical.
        config: The rules of refusal.
        knowledge: Facts and policies.
        now: The time.
    """
    release = release_of_file(file.filename)
    if release is not None and release[0] != name:
        return Refusal(
            reason=RefusalReason.UNVERIFIABLE,
            code="of-another-project",
            text=f"it is a file of {release[0]}",
        )
    version = release[1] if release is not None else None
    digests = (file.sha256,) if file.sha256 else ()
    fact = knowledge.fact(component_key("pypi", name))
    if fact is not None and fact.kind in ADVERSE and matches(fact, version, digests) is not False:
        return _known(fact)
    by_digest = knowledge.fact(f"sha256:{file.sha256}") if file.sha256 else None
    if by_digest is not None and by_digest.kind in ADVERSE:
        return _known(by_digest)
    unknown = config.unknown is OnUnknown.REFUSE
    if file.sha256 is None and unknown:
        return Refusal(
            reason=RefusalReason.UNVERIFIABLE,
            code="without-sha256",
            text="the index gives no SHA-256 to check it by",
        )
    if not config.min_age_days or name in config.allowed:
        return None
    if file.uploaded is None:
        refusal = Refusal(
            reason=RefusalReason.AGE,
            code="of-unknown-age",
            text="the index does not say when it was uploaded",
        )
        return refusal if unknown else None
    age = now - file.uploaded
    if age >= timedelta(days=config.min_age_days):
        return None
    return Refusal(
        reason=RefusalReason.AGE,
        code=f"younger-than-{config.min_age_days:g}-days",
        text=f"it was uploaded {_ago(age)} ago, less than {config.min_age_days:g} days",
    )


def _known(fact: IntelFact) -> Refusal:
    summary = f": {plain(fact.summary, SHOWN)}" if fact.summary else ""
    return Refusal(
        reason=RefusalReason.KNOWN_BAD,
        code=f"known-{fact.kind}",
        text=f"intelligence says it is {fact.kind}{summary}",
    )


def _ago(age: timedelta) -> str:
    hours = max(0, int(age.total_seconds() // 3600))
    return f"{hours or 'less than 1'} h" if hours < 48 else f"{hours // 24} days"  # noqa: PLR2004 -- two days


def _words(text: str) -> str:
    return _WORD.sub("-", text.lower()).strip("-")
