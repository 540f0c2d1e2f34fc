"""The quick checks of a registry push, from the event alone."""

from __future__ import annotations

from agents.checks.provenance.card_claims import claims_of_push
from agents.checks.provenance.file_checks import (
    UNSIGNED,
    check_formats,
    check_hashes,
    is_signature,
    plain_path,
)
from agents.checks.provenance.origin_checks import (
    check_blocks,
    check_intelligence,
    check_name,
    check_source,
    check_trust,
)
from agents.checks.provenance.planning import MAY_SCAN, NEEDS_SCAN, scan_check
from agents.checks.provenance.sightings import sightings_of
from agents.checks.provenance.subject import PushSubject
from agents.checks.suppressing import unsuppressed
from agents.domain.check_names import CheckName
from agents.domain.detection import Detection, Outcome
from agents.domain.knowledge import Knowledge
from schemas.assessments import Check
from schemas.events import RegistryPush
from schemas.policy import Policy
from schemas.severity import Status

SIGNATURE_REQUIRED = "signature"
"""The name in a policy's `required_checks` that makes a missing signature a failure."""


def check_push(subject: PushSubject, knowledge: Knowledge) -> Outcome:
    """Check a push without its bytes; return checks, detections and sightings.

    Args:
        subject: The push, and what follows from it.
        knowledge: Intelligence and the tenants' policies.
    """
    event, push, policy = subject.event, subject.push, subject.policy
    outcome = [check_origin(subject, knowledge)]
    if push.action in NEEDS_SCAN:
        outcome.append(Outcome(checks=(check_formats([file.path for file in push.files]),)))
        outcome.append(_expected_hashes(push, subject.digests))
        outcome.append(check_signature_presence(push, policy))
    elif push.action in MAY_SCAN and push.expected is not None:
        outcome.append(_fetched_hashes(subject.digests, push.expected.hashes))
    if push.card is not None:
        claims = claims_of_push(push)
        outcome.append(Outcome(checks=tuple(claims.checks), detections=tuple(claims.detections)))
    sightings = sightings_of(
        subject,
        subject.known,
        complete=subject.is_whole,
        signed=False if push.action in NEEDS_SCAN and _is_unsigned(push) else None,
    )
    checks = [check for part in outcome for check in part.checks]
    if sightings.left_out:
        checks.append(
            Check(
                name=CheckName.OBSERVATIONS,
                status=Status.INCOMPLETE,
                detail=f"{sightings.left_out} sightings beyond the limit were left out",
            )
        )
    if (scan := scan_check(push, policy, subject.request)) is not None:
        checks.append(scan)
    return Outcome(
        checks=tuple(checks),
        detections=unsuppressed(
            (found for part in outcome for found in part.detections),
            policy.suppressions,
            event.time.date(),
        ),
        sightings=sightings.sightings,
    )


def check_origin(subject: PushSubject, knowledge: Knowledge) -> Outcome:
    """Return the checks of a push's origin: source, trust, blocks, names, intelligence."""
    parts = (
        check_source(subject),
        check_trust(subject),
        check_blocks(subject),
        check_name(subject),
        check_intelligence(subject, knowledge),
    )
    return Outcome(
        checks=tuple(check for part in parts for check in part.checks),
        detections=tuple(found for part in parts for found in part.detections),
    )


def _expected_hashes(push: RegistryPush, files: dict[str, frozenset[str] | None]) -> Outcome:
    expected = push.expected.hashes if push.expected else {}
    if not expected:
        return Outcome()
    if not files:
        return Outcome(
            checks=tuple(
                Check(
                    name=f"{CheckName.HASH}_{path}",
                    status=Status.INCOMPLETE,
                    expected=digest,
                    detail="the files are not listed",
                )
                for path, digest in sorted(expected.items())
            )
        )
    return check_hashes(files, expected)


def _fetched_hashes(
    declared: dict[str, frozenset[str] | None], expected: dict[str, str]
) -> Outcome:
    """Compare the fetched files with the expected ones; an unfetched file is not missing."""
    fetched = {path: known for path, known in declared.items() if known}
    wanted = {path: digest for path, digest in expected.items() if plain_path(path) in fetched}
    plain = {plain_path(path) for path in wanted}
    files = {path: known for path, known in fetched.items() if path in plain}
    return check_hashes(files, wanted) if wanted else Outcome()


def _is_unsigned(push: RegistryPush) -> bool:
    return (
        bool(push.files)
        and not push.signatures
        and not any(is_signature(file.path) for file in push.files)
    )


def check_signature_presence(push: RegistryPush, policy: Policy) -> Outcome:
    """Return whether a push has a signature at all; the scan verifies it."""
    if push.signatures or any(is_signature(file.path) for file in push.files):
        return Outcome(
            checks=(
                Check(
                    name=CheckName.SIGNATURE, status=Status.INCOMPLETE, detail="not verified yet"
                ),
            )
        )
    if not push.files:
        return Outcome(
            checks=(
                Check(
                    name=CheckName.SIGNATURE,
                    status=Status.INCOMPLETE,
                    detail="the files are not listed",
                ),
            )
        )
    return unsigned(policy)


def unsigned(policy: Policy) -> Outcome:
    """Return the check of an unsigned model: a warning, or a failure if the policy requires one.

    Args:
        policy: It requires a signature by `required_checks` or by naming signing keys.
    """
    required = SIGNATURE_REQUIRED in policy.required_checks or bool(policy.signing_keys)
    rule = "TW-PROV-SIGNATURE-ABSENT" if required else "TW-PROV-UNSIGNED"
    return Outcome(
        checks=(
            Check(
                name=CheckName.SIGNATURE,
                status=Status.FAIL if required else Status.WARN,
                detail="unsigned, and the tenant's policy requires a signature"
                if required
                else UNSIGNED,
            ),
        ),
        detections=(
            Detection(
                rule_id=rule,
                description="the model has no signature",
                evidence={"required": required},
                locator="signature#absent",
            ),
        ),
    )
