"""Findings of intelligence on a manifest's packages, as the ledger would issue them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agents.checks.packages.intel_match import ADVERSE, matches
from agents.domain.detection import Detection
from agents.domain.knowledge import Knowledge
from agents.triage.correlation import for_fact
from schemas.findings import Indicator, IndicatorType
from schemas.observations import Sighting


def intel_findings(sightings: Iterable[Sighting], knowledge: Knowledge) -> Iterator[Detection]:
    """Yield one detection for each sighting that an adverse fact matches.

    Args:
        sightings: The sightings of the checks, by name and by digest.
        knowledge: The available facts.
    """
    named: set[tuple[str, str | None]] = set()
    for sighting in sightings:
        fact = knowledge.fact(sighting.component)
        if fact is None or fact.kind not in ADVERSE:
            continue
        of_digest = sighting.component.startswith("sha256:")
        digests = (sighting.digest,) if sighting.digest else ()
        if not of_digest and matches(fact, sighting.version, digests) is not True:
            continue
        about = sighting.name or sighting.component
        if (about, sighting.version) in named:
            continue  # found under the name already
        rule = for_fact(fact.kind.value, about.partition(":")[0]) or for_fact(
            fact.kind.value, sighting.component.partition(":")[0]
        )
        if rule is None:
            continue
        named.add((about, sighting.version))
        name = about.partition(":")[2]
        release = f"{name}=={sighting.version}" if sighting.version else name
        yield Detection(
            rule_id=rule.rule.id,
            description=f"{release}: {fact.summary or rule.rule.title}",
            evidence={
                "package": name,
                "version": sighting.version,
                "fact": fact.key,
                "kind": fact.kind.value,
                "sources": sorted(fact.sources)[:8],
                "matched": "digest" if of_digest else "version",
            },
            locator=f"intel:{fact.key}:{release}",
            component=about,
            version=sighting.version,
            confidence=min(rule.rule.confidence, fact.confidence),
            indicator=Indicator(
                key=f"{about}@{sighting.version}" if sighting.version else about,
                type=IndicatorType.PACKAGE_VERSION,
                value=release,
            ),
        )
