"""Checks origin and publisher of a push: source, trust, blocks, intelligence, look-alikes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from agents.checks.provenance.findings_limit import limited
from agents.checks.provenance.identity import (
    PushOrigin,
    bare_name,
    parse_origin,
    registry_name,
    same_origin,
)
from agents.checks.provenance.subject import PushSubject
from agents.checks.provenance.typosquats import LookAlike, Mechanism, find_look_alike
from agents.domain.check_names import CheckName
from agents.domain.detection import Detection, Outcome
from agents.domain.knowledge import Knowledge
from schemas.assessments import Check
from schemas.components import component_key
from schemas.events import ArtifactKind, RegistryPush
from schemas.findings import Indicator, IndicatorType
from schemas.intel import IntelFact, IntelKind
from schemas.policy import Policy
from schemas.severity import Severity, Status

_BAD: Final = {
    IntelKind.MALICIOUS: Status.FAIL,
    IntelKind.COMPROMISED: Status.FAIL,
    IntelKind.BLOCKED: Status.FAIL,
    IntelKind.WITHDRAWN: Status.WARN,
}
_TRICKS: Final[Mapping[Mechanism, str]] = {
    "homoglyph": "letters that look alike",
    "separators": "other separators",
    "misspelling": "one letter",
    "affix": "a word added to it",
}


def check_source(subject: PushSubject) -> Outcome:
    """Compare the expected source with the one the registry reported, strictly."""
    push = subject.push
    expected = push.expected.source if push.expected else None
    if not expected:
        return Outcome()
    return compare_sources(expected, subject.origin, tag=push.tag)


def compare_sources(
    expected: str, actual: PushOrigin | str | None, *, tag: str | None = None
) -> Outcome:
    """Compare the expected source of a component with the actual one.

    Args:
        expected: `registry/organisation/name[@revision]`.
        actual: An `Origin`, its text, or None if unknown.
        tag: The mutable name that pointed at the actual revision.
    """
    wanted = parse_origin(expected)
    found = parse_origin(actual) if isinstance(actual, str) else actual
    shown = actual.text() if isinstance(actual, PushOrigin) else actual
    if actual is None:
        return Outcome(
            checks=(
                Check(
                    name=CheckName.SOURCE,
                    status=Status.INCOMPLETE,
                    expected=expected,
                    detail="its origin is not known",
                ),
            )
        )
    if wanted is not None and found is not None and same_origin(wanted, found, tag=tag):
        return Outcome(
            checks=(
                Check(name=CheckName.SOURCE, status=Status.PASS, expected=expected, actual=shown),
            )
        )
    detail = "the expected source can't be read" if wanted is None else None
    return Outcome(
        checks=(
            Check(
                name=CheckName.SOURCE,
                status=Status.FAIL,
                expected=expected,
                actual=shown,
                detail=detail,
            ),
        ),
        detections=(
            Detection(
                rule_id="TW-PROV-SOURCE-MISMATCH",
                description=f"came from {str(shown)[:200]}, expected {expected[:200]}",
                evidence={"expected": expected, "actual": shown},
                locator="source",
            ),
        ),
    )


def check_trust(subject: PushSubject) -> Outcome:
    """Compare publisher and registry with those the tenant trusts; without a list all pass."""
    policy = subject.policy
    checks: list[Check] = []
    detections: list[Detection] = []
    if policy.trusted.registries:
        trusted = {registry_name(name) for name in policy.trusted.registries}
        trusted |= {registry_name(name) for name in policy.internal.registries}
        _judge_trust(
            checks,
            detections,
            name=CheckName.REGISTRY_TRUST,
            actual=subject.registry,
            trusted=trusted,
        )
    if policy.trusted.publishers:
        _judge_trust(
            checks,
            detections,
            name=CheckName.PUBLISHER_TRUST,
            actual=subject.publisher,
            trusted=set(policy.trusted.publishers),
        )
    return Outcome(checks=tuple(checks), detections=tuple(detections))


def _judge_trust(
    checks: list[Check],
    detections: list[Detection],
    *,
    name: str,
    actual: str | None,
    trusted: set[str],
) -> None:
    if actual is None:
        checks.append(Check(name=name, status=Status.INCOMPLETE, detail="the event does not say"))
    elif actual in trusted:
        checks.append(Check(name=name, status=Status.PASS, actual=actual))
    else:
        checks.append(
            Check(name=name, status=Status.FAIL, actual=actual, detail="not on the tenant's list")
        )
        detections.append(
            Detection(
                rule_id="TW-PROV-UNTRUSTED",
                description=f"{actual[:200]} is not trusted by the tenant's policy",
                evidence={"check": name, "actual": actual},
                locator=name,
            )
        )


def _spellings(registry: str | None, repository: str) -> Iterable[str]:
    """Yield the forms in which a block list may name a repository, its owner or its registry."""
    segments = [segment for segment in repository.lower().strip("/").split("/") if segment]
    for end in range(1, len(segments) + 1):
        yield "/".join(segments[:end])
        if registry:
            yield f"{registry}/{'/'.join(segments[:end])}"
    if registry:
        yield registry


def _blocked_form(entry: str) -> str:
    bare = entry.strip().lower()
    for prefix in ("model:", "dataset:", "publisher:"):
        bare = bare.removeprefix(prefix)
    if "://" in bare:
        bare = bare.partition("://")[2]
    first, slash, rest = bare.rstrip("/").partition("/")
    return registry_name(first) + slash + rest


def check_blocks(subject: PushSubject) -> Outcome:
    """Search the tenant's block list for the push, its files' hosts and its base models."""
    policy = subject.policy
    if not policy.blocked_sources:
        return Outcome()
    push, registry = subject.push, subject.registry
    names: dict[str, str] = {}
    for spelling in _spellings(registry, push.repository or ""):
        names.setdefault(spelling, "repository")
    if push.publisher.name:
        for spelling in _spellings(registry, push.publisher.name):
            names.setdefault(spelling, "publisher")
    for base in push.card.base_model if push.card else ():
        for spelling in _spellings(registry, base):
            names.setdefault(spelling, "base model")
    for file in push.files:
        host = _host(file.uri)
        if host:
            names.setdefault(host, "file location")
    hits = sorted(
        (entry, names[form])
        for entry in policy.blocked_sources
        if (form := _blocked_form(entry)) in names
    )
    if not hits:
        return Outcome(checks=(Check(name=CheckName.BLOCKED_SOURCE, status=Status.PASS),))
    return Outcome(
        checks=(
            Check(
                name=CheckName.BLOCKED_SOURCE,
                status=Status.FAIL,
                actual=[entry for entry, _ in hits[:20]],
                detail="on the tenant's block list",
            ),
        ),
        detections=tuple(
            limited(
                [
                    Detection(
                        rule_id="TW-PROV-BLOCKED",
                        description=f"its {what} is blocked: {entry[:200]}",
                        evidence={"blocked": entry, "what": what},
                        locator=f"blocked#{entry}",
                    )
                    for entry, what in hits
                ]
            )
        ),
    )


def _host(uri: str | None) -> str | None:
    if not uri:
        return None
    try:
        return urlsplit(uri).hostname
    except ValueError:
        return None


def check_intelligence(subject: PushSubject, knowledge: Knowledge) -> Outcome:
    """Look up intelligence on the component, its publisher, digests and base models.

    A match only fails the assessment: the ledger issues findings from intelligence.
    """
    digests = {digest for found in subject.digests.values() if found for digest in found}
    digests |= {digest for digest in (subject.whole, subject.pinned) if digest}
    keys = [subject.component]
    if subject.publisher:
        keys.append(subject.publisher)
    keys += [component_key("sha256", digest) for digest in sorted(digests)]
    keys += subject.bases
    bad: list[tuple[str, IntelFact]] = []
    for key in dict.fromkeys(keys):
        fact = knowledge.fact(key)
        own = key == subject.component
        if fact and fact.kind in _BAD and _applies(fact, subject.push, digests, own=own):
            bad.append((key, fact))
    if not bad:
        return Outcome(checks=(Check(name=CheckName.KNOWN_BAD, status=Status.PASS),))
    status = max((_BAD[fact.kind] for _, fact in bad), key=lambda found: found.rank)
    return Outcome(
        checks=(
            Check(
                name=CheckName.KNOWN_BAD,
                status=status,
                actual=[
                    {"key": key, "kind": str(fact.kind), "sources": list(fact.sources[:5])}
                    for key, fact in bad[:20]
                ],
                detail="known to the available intelligence",
            ),
        )
    )


def _applies(fact: IntelFact, push: RegistryPush, digests: set[str], *, own: bool) -> bool:
    """Return whether a fact about certain versions or digests applies to this push."""
    if not own or not (fact.versions or fact.digests):
        return True
    named = {digest.lower().removeprefix("sha256:") for digest in fact.digests}
    return bool(named & digests) or bool({push.revision, push.tag} & set(fact.versions))


def _is_own_name(repository: str, policy: Policy) -> bool:
    segments = repository.lower().strip("/").split("/")
    own = {name.lower() for name in policy.internal.names}
    prefixes = tuple(prefix.lower() for prefix in policy.internal.prefixes)
    return any(
        segment in own or (prefixes and segment.startswith(prefixes)) for segment in segments
    )


def check_name(subject: PushSubject) -> Outcome:
    """Search for a popular model or organisation that the name imitates.

    The tenant's own names, internal registries and trusted publishers are exempt.
    """
    push, policy, key = subject.push, subject.policy, subject.component
    if (
        push.kind in {ArtifactKind.DATASET, ArtifactKind.IMAGE, ArtifactKind.PACKAGE}
        or not push.repository
    ):
        return Outcome()
    trusted = subject.publisher in policy.trusted.publishers
    if bare_name(key).startswith("@") or trusted or _is_own_name(push.repository, policy):
        return Outcome(checks=(Check(name=CheckName.MODEL_NAME, status=Status.PASS),))
    found = find_look_alike(push.repository)
    if found is None:
        return Outcome(checks=(Check(name=CheckName.MODEL_NAME, status=Status.PASS),))
    by_organisation = found.part == "organisation" or not push.repository.isascii()
    return Outcome(
        checks=(
            Check(
                name=CheckName.MODEL_NAME,
                status=Status.WARN,
                expected=found.imitated,
                actual=push.repository,
                detail=f"looks like {found.imitated}, differs by {_TRICKS[found.mechanism]}",
            ),
        ),
        detections=(_look_alike_detection(found, push.repository, key, strong=by_organisation),),
    )


def _look_alike_detection(
    found: LookAlike, repository: str, key: str, *, strong: bool
) -> Detection:
    weak_organisation = strong and not found.exact_model and found.mechanism != "homoglyph"
    return Detection(
        rule_id="TW-PROV-LOOKALIKE-ORG" if strong else "TW-PROV-LOOKALIKE-NAME",
        description=(
            f"the {found.part} of {repository[:200]!r} looks like {found.imitated}, "
            f"differs by {_TRICKS[found.mechanism]}"
        ),
        evidence={
            "name": repository,
            "similar_to": found.imitated,
            "mechanism": found.mechanism,
            "part": found.part,
        },
        locator=f"name#{found.imitated}",
        severity=Severity.MEDIUM if weak_organisation else None,
        indicator=Indicator(key=key, type=IndicatorType.COMPONENT, value=key),
    )
