"""Decides whether an object is admitted, from the known facts about its images and models."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from agents.checks.packages.intel_match import ADVERSE, matches
from agents.checks.provenance.contents import MANIFEST
from agents.domain.knowledge import Knowledge
from schemas.components import component_key
from streams.admission.artifacts import Artifact, Named
from streams.admission.config import AdmissionConfig
from streams.admission.register import FINDINGS, ContainedComponents, Judged
from streams.cli.output import plain
from streams.http.decisions import OnUnknown

SHOWN_REFERENCE: Final = 200
_HUB: Final = "hf://"


class ScanResult(StrEnum):
    """The known facts about an artifact."""

    FINE = "fine"
    UNKNOWN = "unknown"
    BAD = "bad"


class Contents(Protocol):
    """Results of scans by content."""

    def known(self, tenant: str, content: str) -> tuple[Judged, ...]:
        """Return the results of a tenant's scans of a content."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a decision."""

    contents: Contents
    held: ContainedComponents
    knowledge: Knowledge
    ready: bool
    """Whether all of it was read from the topics."""


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """The decision on an object, with its reasons."""

    admitted: bool
    outcome: ScanResult
    reasons: tuple[str, ...] = ()
    """One sentence for each artifact with a problem."""


def rule(named: Named, namespace: str, config: AdmissionConfig, known: Known) -> Ruling:
    """Return the decision on an object.

    Args:
        named: The artifacts that the object newly names.
        namespace: Its namespace; empty if it has none.
        config: What is admitted.
        known: The known facts.
    """
    tenant = config.tenant_of(namespace)
    found: list[tuple[ScanResult, str]] = []
    for artifact in named.artifacts:
        outcome, why = _judge(artifact, tenant, config, known)
        if outcome is not ScanResult.FINE:
            reference = plain(artifact.reference, SHOWN_REFERENCE)
            found.append((outcome, f"{artifact.where} ({reference}): {plain(why, 400)}"))
    if not named.whole:
        found.append((ScanResult.UNKNOWN, "the object names more artifacts than are checked"))
    outcomes = {outcome for outcome, _ in found}
    # bad artifacts come first: the message may be cut
    found.sort(key=lambda judgement: judgement[0] is not ScanResult.BAD)
    reasons = tuple(why for _, why in found)
    if ScanResult.BAD in outcomes:
        return Ruling(admitted=False, outcome=ScanResult.BAD, reasons=reasons)
    if ScanResult.UNKNOWN in outcomes:
        admitted = config.unknown is OnUnknown.ADMIT
        return Ruling(admitted=admitted, outcome=ScanResult.UNKNOWN, reasons=reasons)
    return Ruling(admitted=True, outcome=ScanResult.FINE)


def _judge(
    artifact: Artifact, tenant: str | None, config: AdmissionConfig, known: Known
) -> tuple[ScanResult, str]:
    content = artifact.content
    if content is not None and (bad := _intelligence(content, known.knowledge)):
        return ScanResult.BAD, bad
    if content is not None and tenant is not None and known.held.holds(tenant, content):
        return ScanResult.BAD, "it is contained; see: tidewatch holds list"
    judged = known.contents.known(tenant, content) if tenant and content else ()
    for judgement in judged:
        if judgement.code == FINDINGS:
            return ScanResult.BAD, judgement.why
    if config.is_exempt(artifact.reference):
        return ScanResult.FINE, ""
    if tenant is None:
        return ScanResult.UNKNOWN, "its namespace has no tenant"
    if content is None:
        return ScanResult.UNKNOWN, "it names no digest or commit, so that it may change: pin it"
    if not known.ready:
        return ScanResult.UNKNOWN, "the assessments are not read yet: try again"
    return _assessed(judged, config)


def _assessed(judged: Sequence[Judged], config: AdmissionConfig) -> tuple[ScanResult, str]:
    if not judged:
        return ScanResult.UNKNOWN, "it is not assessed: report its push, and wait for the scan"
    done = [judgement for judgement in judged if judgement.code == 0]
    if not done:
        return ScanResult.UNKNOWN, judged[-1].why
    if config.require_signature and not any(judgement.signed for judgement in done):
        return ScanResult.BAD, "it has no signature by a key of the tenant's policy"
    return ScanResult.FINE, ""


def _intelligence(content: str, knowledge: Knowledge) -> str:
    """Return why intelligence refuses a content, empty if it does not."""
    if content.startswith(_HUB):
        name, _, version = content.removeprefix(_HUB).partition("@")
        fact = knowledge.fact(component_key("model", f"huggingface/{name}"))
        if fact is None or fact.kind not in ADVERSE or matches(fact, version) is not True:
            return ""
    else:
        fact = knowledge.fact(f"sha256:{content.removeprefix(MANIFEST)}")
        if fact is None or fact.kind not in ADVERSE:
            return ""
    return f"intelligence says it is {fact.kind}: {fact.summary or fact.key}"
