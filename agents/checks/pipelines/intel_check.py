"""Checks the components that a run names against adverse intelligence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agents.checks.packages.intel_match import ADVERSE, matches
from agents.checks.pipelines.sources import (
    RunSource,
    dataset_key,
    domain_key,
    vendor_key,
)
from agents.checks.pipelines.subject import RunSubject
from agents.domain.check_names import CheckName
from agents.domain.hosts import below
from agents.domain.knowledge import Knowledge
from schemas.assessments import Check
from schemas.intel import IntelFact
from schemas.severity import Status

MAX_PARENT_DOMAINS: Final = 6


def check_intel(subject: RunSubject, sources: list[RunSource], knowledge: Knowledge) -> Check:
    """Return the check of a run's components against adverse facts."""
    hits: dict[str, None] = {}

    def ask(key: str, version: str | None, digest: str | None) -> None:
        fact = knowledge.fact(key)
        if fact is not None and _condemns(fact, version, digest):
            hits[key] = None

    for source in sources:
        digest = source.digest or source.pinned
        ask(dataset_key(source, subject.event.tenantid), None, digest)
        for key in (vendor_key(source), *(f"sha256:{d}" for d in _all_digests(source))):
            if key:
                ask(key, None, None)
        host = source.address.host if domain_key(source) else ""
        labels = host.split(".")
        for start in range(min(len(labels) - 1, MAX_PARENT_DOMAINS)):
            name = ".".join(labels[start:])
            if below(host, name):
                ask(f"domain:{name}", None, None)
    for named in (*subject.inputs, *subject.outputs):
        if named.key is None:
            continue
        ask(named.key, named.ref.revision, named.digest)
        if named.digest:
            ask(f"sha256:{named.digest}", None, None)
    return Check(
        name=CheckName.INTEL,
        status=Status.FAIL if hits else Status.PASS,
        detail=("known bad: " + ", ".join(hits))[:500] if hits else None,
    )


def _all_digests(source: RunSource) -> Iterator[str]:
    yield from (digest for digest in (source.digest, source.pinned, *source.conflicting) if digest)


def _condemns(fact: IntelFact, version: str | None, digest: str | None) -> bool:
    if fact.kind not in ADVERSE:
        return False
    return matches(fact, version, (digest,) if digest else ()) is True
