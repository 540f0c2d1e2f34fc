"""All checks of one package-install event."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from agents.checks.packages.credentials import check_credentials
from agents.checks.packages.file_names import check_file_names
from agents.checks.packages.hashes import check_package_hashes
from agents.checks.packages.intel_match import ADVERSE, matches
from agents.checks.packages.name_verdict import NameVerdict
from agents.checks.packages.names import is_plausible, judge_name
from agents.checks.packages.origin import check_origin
from agents.checks.packages.pinning import SHOWN_LIMIT, check_pinning, check_reference
from agents.checks.packages.popularity import name_table
from agents.checks.packages.requirements import RequirementLine, names_commit
from agents.checks.packages.seen import SeenPackage, SignedFile, detect, sightings
from agents.checks.packages.subject import InstallSubject, install_subject
from agents.checks.packages.tree import DependencyTree
from agents.checks.packages.versions import is_nines
from agents.checks.suppressing import unsuppressed
from agents.domain.check_names import CheckName
from agents.domain.detection import Detection, Outcome
from agents.domain.knowledge import Knowledge
from schemas.assessments import Check
from schemas.components import component_key
from schemas.counting import counted
from schemas.events import Event, Package, PackageInstall
from schemas.intel import IntelKind
from schemas.policy import Policy
from schemas.severity import Severity, Status, worst

YOUNG: Final = timedelta(days=30)
"""Maximum age of an upload whose unknown name counts as new."""
_ECOSYSTEMS: Final = frozenset({"pypi", "pip", "python"})
_ENCODER: Final = msgspec.json.Encoder()
_GOOD: Final = Check(name=CheckName.KNOWN_COMPROMISED, status=Status.PASS)
_NAMES: Final = Check(name=CheckName.NAMES, status=Status.PASS)
_EMPTY: Final[dict[int, SignedFile]] = {}
_SHOWN: Final = 20
PATHS_LIMIT: Final = 200
"""Findings of one event whose paths are shown."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The results of an install's checks, independent of the system it was installed on."""

    checks: tuple[Check, ...]
    status: Status
    """The worst of the checks."""
    checks_text: bytes
    """The checks in JSON, as an assessment has them."""
    found: tuple[Detection, ...] = ()
    """The detections before the tenant's suppressions."""
    seen: tuple[SeenPackage, ...] = ()
    attested: dict[int, SignedFile] = {}
    """The signers of valid attestations, by index in `seen`."""


def check_packages(event: Event[PackageInstall], knowledge: Knowledge) -> Outcome:
    """Check an install by the event, intelligence and policy.

    Intelligence fails the `known_compromised` check but yields no detection here: the component
    ledger issues those, whether the fact or the sighting came first.

    Args:
        event: The install; parts of one install are checked separately.
        knowledge: Facts and policies.

    Returns:
        Checks, detections, and one sighting for each package and for each digest.
    """
    policy = knowledge.policy(event.tenantid)
    judgement = judge(event, knowledge, policy)
    return msgspec.structs.replace(
        outcome_of(event, judgement, policy),
        sightings=tuple(sightings(event, judgement.seen, judgement.attested)),
    )


def outcome_of(event: Event[PackageInstall], judgement: Judgement, policy: Policy) -> Outcome:
    """Return checks and unsuppressed detections of a judgement, without sightings."""
    found = judgement.found
    if found:
        found = unsuppressed(found, policy.suppressions, event.time.date())
    return Outcome(checks=judgement.checks, detections=found)


def judge(event: Event[PackageInstall], knowledge: Knowledge, policy: Policy) -> Judgement:
    """Run the checks of an install.

    Args:
        event: The install. Used are its packages, requirements, lock, indexes and tenant, and its
            time if a package has a time of upload.
        knowledge: Facts.
        policy: The tenant's policy; used are `internal` and `trusted`.
    """
    ecosystem = event.data.ecosystem
    if ecosystem.lower() not in _ECOSYSTEMS:
        detail = f"packages of {ecosystem[:40]} are not checked"
        return _judgement(Check(name=CheckName.ECOSYSTEM, status=Status.INCOMPLETE, detail=detail))
    subject = install_subject(event, policy)
    seen = subject.seen
    checks: list[Check] = []
    found: list[Detection] = []
    credentials = check_credentials(subject)
    if credentials:
        detail = f"{len(credentials)} in addresses"
        checks.append(Check(name=CheckName.CREDENTIALS, status=Status.WARN, detail=detail))
        found += credentials
    known, bad = _known(seen, knowledge)
    for check, detections in (
        check_pinning(subject),
        check_package_hashes(subject),
        (known, []),
        _names_of((*seen, *subject.misread), knowledge, event.time),
        check_origin(subject),
        _crowding(seen, knowledge),
        _releases(subject),
    ):
        if check is not None:
            checks.append(check)
        if detections:
            found.extend(detections)
    attested = _EMPTY
    if any(entry.package.attestations for entry in seen):
        # Imported on demand: verification is slow to load and few events carry attestations.
        from agents.checks.packages.attestations import (  # noqa: PLC0415
            check_attestations,
        )

        check, detections, attested = check_attestations(seen, knowledge)
        checks.append(check)
        found.extend(detections)
    failed = checks and any(check.status is Status.FAIL for check in checks)
    if found or failed:
        tree = DependencyTree(event.data.packages)
        # Walking the tree for each of thousands of findings would let one event cost minutes.
        found[:PATHS_LIMIT] = [_with_path(detection, tree) for detection in found[:PATHS_LIMIT]]
        check = _tree_check(found, bad, tree)
        if check is not None:
            checks.append(check)
    return _judgement(*checks, found=tuple(found), seen=seen, attested=attested)


def _judgement(
    *checks: Check,
    found: tuple[Detection, ...] = (),
    seen: tuple[SeenPackage, ...] = (),
    attested: dict[int, SignedFile] = _EMPTY,
) -> Judgement:
    return Judgement(
        checks=checks,
        status=worst(check.status for check in checks),
        checks_text=_ENCODER.encode(checks),
        found=found,
        seen=seen,
        attested=attested,
    )


def _verdict(entry: SeenPackage, knowledge: Knowledge) -> bool | None:
    """Return whether intelligence condemns a package; None if that depends on its version."""
    fact = knowledge.fact(entry.key)
    answer: bool | None = False
    digests = (entry.digest,) if entry.digest else ()
    if fact is not None and fact.kind in ADVERSE:
        answer = matches(fact, entry.package.version, digests)
    if entry.digest and answer is not True:
        by_digest = knowledge.fact(f"sha256:{entry.digest}")
        if by_digest is not None and by_digest.kind in ADVERSE:
            answer = True
    return answer


def _known(
    seen: Sequence[SeenPackage], knowledge: Knowledge
) -> tuple[Check | None, list[SeenPackage]]:
    """Return the check against intelligence, and the packages that it lists as bad."""
    if not seen:
        return None, []
    bad: list[SeenPackage] = []
    unsure: list[SeenPackage] = []
    for entry in seen:
        answer = _verdict(entry, knowledge)
        if answer is not False:
            (bad if answer else unsure).append(entry)
    if bad:
        named = [_release(entry) for entry in bad[:_SHOWN]]
        detail = f"{len(bad)} known to be malicious or compromised: {', '.join(named)}"
        check = Check(
            name=CheckName.KNOWN_COMPROMISED, status=Status.FAIL, actual=named, detail=detail
        )
        return check, bad
    if unsure:
        named = [_release(entry) for entry in unsure[:_SHOWN]]
        detail = f"bad releases exist, the version is not known: {', '.join(named)}"
        return Check(name=CheckName.KNOWN_COMPROMISED, status=Status.WARN, detail=detail), bad
    return _GOOD, bad


def _release(entry: SeenPackage) -> str:
    version = entry.package.version
    return f"{entry.name}=={version}" if version else entry.name


def _exempt(entry: SeenPackage, knowledge: Knowledge) -> bool:
    """Return whether a name is exempt: internal, on the warninglist, or known good."""
    if entry.internal or entry.local:
        return True
    fact = knowledge.fact(entry.key)
    return fact is not None and fact.kind in {IntelKind.WARNINGLIST, IntelKind.KNOWN_GOOD}


def _names_of(
    seen: Sequence[SeenPackage], knowledge: Knowledge, when: datetime
) -> tuple[Check | None, list[Detection]]:
    """Return the check of names: imitations and inventions."""
    if not seen:
        return None, []
    found: list[Detection] = []
    unshown = 0
    for entry in seen:
        verdict = judge_name(entry.name)
        if verdict is None:
            uploaded = entry.package.uploaded_at
            if uploaded is None or not _young(uploaded, when) or not is_plausible(entry.name):
                continue
        if _exempt(entry, knowledge):
            continue
        if len(found) < SHOWN_LIMIT:
            found.append(_imitation(entry, verdict, when))
        else:
            unshown += 1
    if not found:
        return _NAMES, found
    names = ", ".join(sorted({str(detection.evidence["package"]) for detection in found})[:_SHOWN])
    more = f", {unshown} more without a finding" if unshown else ""
    detail = f"{counted(len(found), 'name')} to look at: {names}{more}"
    return Check(name=CheckName.NAMES, status=Status.WARN, detail=detail), found


def _crowding(
    seen: Sequence[SeenPackage], knowledge: Knowledge
) -> tuple[Check | None, list[Detection]]:
    """Return the check of unknown names with inflated versions.

    Such a release takes precedence over an internal package of the same name.
    """
    found = [
        detect(
            "TW-PKG-CONFUSION-VERSION",
            entry,
            f"{entry.name} is an unknown name with an inflated version: {entry.package.version}",
            {},
            # Some organisation may use the name internally: report it without an alert.
            severity=Severity.LOW,
            confidence=0.5,
        )
        for entry in seen
        if entry.package.version
        and is_nines(entry.package.version)
        and entry.name not in name_table().known
        and not _exempt(entry, knowledge)
    ][:SHOWN_LIMIT]
    if not found:
        return None, found
    detail = f"{len(found)} with an inflated version"
    return Check(name=CheckName.VERSIONS, status=Status.WARN, detail=detail), found


def _young(uploaded: datetime, when: datetime) -> bool:
    return uploaded.tzinfo is not None and abs(when - uploaded) <= YOUNG


def _imitation(entry: SeenPackage, verdict: NameVerdict | None, when: datetime) -> Detection:
    uploaded = entry.package.uploaded_at
    young = uploaded is not None and _young(uploaded, when)
    if verdict is None:
        return detect(
            "TW-PKG-SLOPSQUAT",
            entry,
            f"{entry.name} is unknown, was uploaded days ago, and has a name of the kind that"
            " language models invent",
            {"uploaded_at": str(uploaded)},
        )
    evidence: dict[str, Any] = {"similar_to": verdict.target, "technique": verdict.technique}
    rule_id, severity, confidence = verdict.rule_id, verdict.severity, verdict.confidence
    text = f"{entry.name} is easily mistaken for {verdict.target} ({verdict.technique})"
    if young:
        evidence["uploaded_at"] = str(uploaded)
        if rule_id == "TW-PKG-COMBOSQUAT":
            rule_id, severity, confidence = f"{rule_id}-SIGNAL", Severity.MEDIUM, 0.7
        elif severity is Severity.LOW:
            severity = Severity.MEDIUM
        text = f"{text}; it was uploaded days ago"
    return detect(
        rule_id,
        entry,
        text,
        evidence,
        severity=severity,
        confidence=confidence,
        locator=f"name:{entry.name}",
        related_keys=(component_key("pypi", verdict.target),),
    )


def _releases(subject: InstallSubject) -> tuple[Check | None, list[Detection]]:
    """Return the check of the installer's record: yanked, direct and misnamed releases."""
    found: list[Detection] = []
    asked: set[str] | None = None
    for entry in subject.seen:
        package = entry.package
        if package.yanked:
            text = f"{entry.name} {package.version or ''} was yanked by its publisher"
            found.append(detect("TW-PKG-YANKED", entry, text, {}, locator=f"yanked:{entry.name}"))
        direct = package.direct or package.editable or package.vcs is not None
        if not direct and (package.url is None or package.url[:5] != "http:"):
            continue
        if asked is None:
            asked = {
                component_key("pypi", line.name)
                for line in subject.lines
                if line.url is not None and line.name
            }
        if component_key("pypi", entry.name) in asked:
            continue
        reference = check_reference(_reference(package))
        if reference is not None and _at_recorded_commit(package, reference):
            reference = msgspec.structs.replace(
                reference,
                severity=Severity.LOW,
                description=f"{entry.name} came from the default branch of a repository, at the"
                f" commit {_commit(package)[:12]} that is recorded",
            )
        if reference is not None and (direct or reference.rule_id == "TW-PKG-HTTP"):
            found.append(
                msgspec.structs.replace(reference, component=entry.key, version=package.version)
            )
    found += check_file_names(subject)
    if not found:
        return None, found
    return Check(
        name=CheckName.RELEASES, status=Status.WARN, detail=f"{len(found)} to look at"
    ), found


def _commit(package: Package) -> str:
    return (package.vcs.commit_id or "") if package.vcs is not None else ""


def _at_recorded_commit(package: Package, reference: Detection) -> bool:
    """Return whether only immutable references were requested and the record names the commit."""
    vcs = package.vcs
    return (
        reference.rule_id == "TW-PKG-VCS-UNPINNED"
        and vcs is not None
        and names_commit(vcs.vcs, vcs.commit_id)
        and vcs.requested_revision in {None, "HEAD"}
    )


def _reference(package: Package) -> RequirementLine:
    """Return an installer's record of a direct reference as a requirement line."""
    vcs = package.vcs
    digest = package.hashes.get("sha256")
    url = (vcs.url if vcs is not None else package.url) or package.url or "."
    commit = vcs.commit_id if vcs is not None else None
    asked = vcs.requested_revision if vcs is not None else None
    # A lock written by hand may give a branch as the commit.
    fixed = vcs is not None and names_commit(vcs.vcs, commit)
    return RequirementLine(
        text=package.name,
        name=package.name,
        url=url,
        vcs=vcs.vcs if vcs is not None else None,
        # An installed reference always has a commit; a requested branch or tag can move.
        commit=commit if fixed and asked in {None, commit} else None,
        editable=package.editable,
        hashes=(f"sha256:{digest}",) if digest and package.url and "#" in package.url else (),
    )


def _with_path(detection: Detection, tree: DependencyTree) -> Detection:
    """Add the dependency path of a package to its detection."""
    name = detection.evidence.get("package")
    if not isinstance(name, str):
        return detection
    shown = tree.evidence(component_key("pypi", name).partition(":")[2])
    if not shown:
        return detection
    return msgspec.structs.replace(detection, evidence={**detection.evidence, **shown})


def _tree_check(
    found: Sequence[Detection], bad: Sequence[SeenPackage], tree: DependencyTree
) -> Check | None:
    """Return the dependency paths of findings and condemned packages; None if there are none."""
    paths = {str(detection.evidence["path"]) for detection in found if "path" in detection.evidence}
    for entry in bad[:PATHS_LIMIT]:
        shown = tree.evidence(entry.name)
        if shown:
            paths.add(str(shown["path"]))
    if not paths:
        return None
    status = Status.FAIL if bad else Status.WARN
    return Check(name=CheckName.TREE, status=status, actual=sorted(paths)[:_SHOWN])
