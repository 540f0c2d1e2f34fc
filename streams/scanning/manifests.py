"""Scans manifests: the findings of their events, and the parts that are not checked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from agents.checks.artifacts.formats.templates import filled_by_helm
from agents.checks.artifacts.report import listed
from agents.checks.packages.check import check_packages
from agents.checks.packages.credentials import detect_credential, url_credentials
from agents.checks.packages.requirements_text import BYTES_LIMIT, decode_requirements
from agents.checks.packages.versions import canonical_name
from agents.checks.pipelines.check import check_pipeline
from agents.checks.pipelines.configuration import UnreadableConfigError
from agents.domain.check_names import CheckName
from agents.domain.detection import Detection, Outcome
from agents.domain.knowledge import Knowledge
from schemas.errors import TidewatchError, UnreadableRecordError
from schemas.events import Event, PipelineRun
from schemas.severity import Severity, Status, Verdict
from streams.adapters.manifests.events import install_events
from streams.adapters.manifests.found import Found, InstallOptions
from streams.adapters.manifests.kinds import Family, Kind
from streams.adapters.manifests.neighbours import Neighbours
from streams.adapters.manifests.reading import read_as
from streams.reports.entries import FileEntry, finding_entry
from streams.scanning.definitions import (
    EPOCH,
    hostile_lines,
    installed_by,
    pipeline_event,
    template_event,
)
from streams.scanning.intel_findings import intel_findings
from streams.scanning.selection import ManifestTarget
from streams.scanning.targets import LOCAL_TENANT, shown_path

MAX_BYTES: Final = 256 << 20
_CREDENTIALS: Final = 100
_IN_LINE: Final = re.compile(r"\bline (\d+)(?!\d)")
"""How readers of scripts name the place of a command."""


class _Said(msgspec.Struct):
    """The scan results of a manifest, for all of its kinds."""

    detections: dict[tuple[str, str], Detection] = {}
    incomplete: list[str] = []
    unsupported: list[str] = []

    def add(self, found: Iterable[Detection]) -> None:
        for manifest in found:
            self.detections.setdefault((manifest.rule_id, manifest.locator), manifest)

    def once(self) -> list[Detection]:
        """Return the detections, those of one cause once.

        A password in the URL of a package index is a credential to the check of packages, and a
        secret to that of pipelines.
        """
        found = list(self.detections.values())
        hosts = {
            detection.evidence.get("host")
            for detection in found
            if detection.rule_id == "TW-PKG-CREDENTIAL"
        }
        return [
            detection
            for detection in found
            if detection.rule_id != "TW-PIPE-SECRET"
            or detection.evidence.get("host") not in hosts - {None}
        ]


def check_manifest(
    manifest: ManifestTarget, knowledge: Knowledge, *, digest: bool = False
) -> FileEntry:
    """Check a manifest; the results equal those of its events.

    A part that can't be read makes it incomplete; other findings stay.

    Args:
        manifest: The file, and its kinds.
        knowledge: The available intelligence, and the policy of `local`.
        digest: Whether to report its SHA-256.
    """
    said = _Said()
    neighbours = Neighbours(manifest.root)
    raw = _read(manifest.file, said)
    if raw is not None:
        for kind in manifest.kinds:
            _check_kind(kind, raw, manifest, neighbours, knowledge, said)
    raw = raw or b""
    places = _Places(raw, shown_path(manifest.file.name), neighbours.read)
    findings = tuple(finding_entry(places.placed(detection)) for detection in said.once())
    ranks = [finding.severity.rank for finding in findings]
    serious = max(ranks, default=0) >= Severity.HIGH.rank
    return FileEntry(
        path=manifest.target.path,
        format="+".join(dict.fromkeys(kind.name for kind in manifest.kinds)),
        size=len(raw),
        sha256=hashlib.sha256(raw).hexdigest() if digest or serious else None,
        verdict=manifest_verdict(
            max(ranks, default=0),
            incomplete=bool(said.incomplete),
            unsupported=bool(said.unsupported),
        ),
        findings=findings,
        reasons=listed((*said.incomplete, *said.unsupported), "parts"),
    )


def _read(file: Path, said: _Said) -> bytes | None:
    try:
        if file.stat().st_size <= MAX_BYTES:
            return file.read_bytes()
    except OSError as error:
        said.incomplete.append(f"can't be read ({error.strerror})")
    else:
        said.incomplete.append(f"not read: more than {MAX_BYTES >> 20} MiB")
    return None


def manifest_verdict(rank: int, *, incomplete: bool, unsupported: bool) -> Verdict:
    """Return the verdict of a manifest: unchecked parts never read as clean.

    Args:
        rank: The rank of its worst finding.
        incomplete: Whether a part could not be read.
        unsupported: Whether a part is recognised but not checked.
    """
    if rank >= Severity.CRITICAL.rank:
        return Verdict.MALICIOUS
    if incomplete:
        return Verdict.INCOMPLETE
    if rank >= Severity.MEDIUM.rank:
        return Verdict.SUSPICIOUS
    return Verdict.UNSUPPORTED if unsupported else Verdict.CLEAN


def _check_kind(
    kind: Kind,
    raw: bytes,
    manifest: ManifestTarget,
    neighbours: Neighbours,
    knowledge: Knowledge,
    said: _Said,
) -> None:
    path = _within(manifest.file, manifest.root)
    options = InstallOptions(
        tenant=LOCAL_TENANT,
        source="//local",
        system="local",
        time=EPOCH,
        path=path,
        files=neighbours,
    )
    try:
        if kind.family is Family.UNSUPPORTED:
            remedy = f": {kind.remedy}" if kind.remedy else ""
            said.unsupported.append(f"{kind.name}: unsupported, it was not checked{remedy}")
            if (event := hostile_lines(raw, Path(path).stem or path)) is not None:
                said.add(check_pipeline(event, knowledge).detections)
            return
        if kind.family is Family.PACKAGES:
            found = read_as(kind, raw, options)
            credentials = list(_credentials(raw, shown_path(manifest.file.name), neighbours.read))
            if len(credentials) >= _CREDENTIALS:
                said.incomplete.append(f"only the first {_CREDENTIALS} credentials were looked for")
            if len(raw) > BYTES_LIMIT:
                mebibytes = BYTES_LIMIT >> 20
                said.incomplete.append(f"more than {mebibytes} MiB: no credentials were looked for")
            said.add(credentials)
            _check_packages(kind.name, raw, found, options, knowledge, said)
        if kind.family is Family.PIPELINE or kind.runs:
            event = _pipeline(kind, raw, Path(path).stem or path, said)
            _take(check_pipeline(event, knowledge), knowledge, said)
            if kind.family is Family.PIPELINE:
                installed = installed_by(event, options, path)
                if installed.packages or installed.requirements or installed.incomplete:
                    _check_packages(kind.name, raw, installed, options, knowledge, said)
    except UnreadableRecordError as error:
        said.incomplete.append(f"not read as {kind.name}: {error.where}")
    except TidewatchError as error:
        said.incomplete.append(f"not read as {kind.name}: {error.explain()}")
    except (MemoryError, RecursionError) as error:
        said.incomplete.append(
            f"not read as {kind.name}: beyond its limits ({type(error).__name__})"
        )
    except Exception as error:  # noqa: BLE001 -- hostile input: a reader's own fault reads as incomplete
        said.incomplete.append(f"not read as {kind.name}: {type(error).__name__}: {error}"[:300])


def _pipeline(kind: Kind, raw: bytes, name: str, said: _Said) -> Event[PipelineRun]:
    """Return the event of a definition, or of the lines of its template.

    Raises:
        UnreadableConfigError: it is neither.
    """
    try:
        event = pipeline_event(kind, raw, name)
    except UnreadableConfigError:
        filled = template_event(raw, name)
        if filled is None:
            raise
        event = filled
    else:
        line = filled_by_helm(raw.decode("utf-8-sig", "replace")) if b"{{" in raw else None
        if line is not None and kind.family is Family.PIPELINE and kind.name != "helm-values":
            said.unsupported.append(
                f"{kind.name}: line {line}: Helm fills in values that were not seen: scan what it"
                " renders"
            )
        return event
    said.unsupported.append(
        f"{kind.name}: a template, whose lines were checked one by one: scan what it is rendered to"
    )
    return event


def _within(file: Path, root: Path) -> str:
    try:
        return shown_path(file.resolve().relative_to(root.resolve()).as_posix())
    except ValueError:
        return shown_path(file.name)


def _check_packages(
    kind: str,
    raw: bytes,
    found: Found,
    options: InstallOptions,
    knowledge: Knowledge,
    said: _Said,
) -> None:
    said.incomplete += found.incomplete
    said.unsupported += found.unchecked()
    for event in install_events(kind, raw, found, options):
        outcome = check_packages(event, knowledge)
        if found.incomplete:
            # The lines are named already, with their numbers.
            kept = (check for check in outcome.checks if check.name != CheckName.PINNING)
            outcome = msgspec.structs.replace(outcome, checks=tuple(kept))
        _take(outcome, knowledge, said)


def _take(outcome: Outcome, knowledge: Knowledge, said: _Said) -> None:
    said.add(outcome.detections)
    said.add(intel_findings(outcome.sightings, knowledge))
    for check in outcome.checks:
        if check.status is Status.INCOMPLETE:
            said.incomplete.append(f"{check.name}: {check.detail or 'incomplete'}")


def _credentials(raw: bytes, name: str, nested: Mapping[str, str]) -> Iterator[Detection]:
    """Yield the credentials of a manifest's text, comments and all, each at its first line."""
    texts = {name: decode_requirements(raw) if len(raw) <= BYTES_LIMIT else "", **nested}
    seen: set[str] = set()
    for file, text in texts.items():
        if "@" not in text:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if "@" not in line or "://" not in line or len(seen) >= _CREDENTIALS:
                continue
            for credential in url_credentials(line):
                detection = detect_credential(credential, "the file", file=file, line=number)
                if detection.locator not in seen:
                    seen.add(detection.locator)
                    yield detection


class _Places:
    """Locates the subjects of findings in the texts of a manifest."""

    def __init__(self, raw: bytes, name: str, nested: Mapping[str, str]) -> None:
        """Keep the texts; they are searched only if there are findings."""
        self._raw = raw
        self._name = name
        self._nested = nested
        self._lines: dict[str, list[str]] = {}

    def placed(self, detection: Detection) -> Detection:
        """Return a detection with its file and line, if they are found."""
        evidence = detection.evidence
        wanted = next(
            (str(evidence[key]) for key in ("package", "requirement", "url", "host", "path")
             if evidence.get(key)),
            None,
        )  # fmt: skip
        if wanted is None or (isinstance(evidence.get("line"), int) and evidence.get("file")):
            return detection
        if numbered := _IN_LINE.search(str(evidence.get("path", ""))):
            line = int(numbered[1])
            evidence = {**evidence, "file": self._name, "line": line}
            return msgspec.structs.replace(detection, evidence=evidence)
        place = self._find(
            _pattern(wanted, is_path="path" in evidence and "package" not in evidence)
        )
        if place is None:
            return detection
        return msgspec.structs.replace(
            detection, evidence={**evidence, "file": place[0], "line": place[1]}
        )

    def _find(self, pattern: re.Pattern[str]) -> tuple[str, int] | None:
        if not self._lines:
            texts = {self._name: decode_requirements(self._raw), **self._nested}
            self._lines = {name: text.splitlines() for name, text in texts.items()}
        for name, lines in self._lines.items():
            for number, line in enumerate(lines, 1):
                if pattern.search(line):
                    return name, number
        return None


def _pattern(wanted: str, *, is_path: bool) -> re.Pattern[str]:
    """Return a pattern of a name in any spelling, or of the last part of a setting's path."""
    if is_path:
        last = wanted.rpartition(".")[2].partition("[")[0]
        return re.compile(rf"(?<!\w){re.escape(last)}(?!\w)")
    if "/" in wanted or ":" in wanted:
        return re.compile(re.escape(wanted.partition("://")[2] or wanted))
    name = re.match(r"[A-Za-z0-9._-]+", wanted)
    words = map(re.escape, canonical_name(name[0] if name else wanted).split("-"))
    return re.compile(rf"(?i)(?<![\w.-]){'[-_.]+'.join(words)}(?![\w-]|\.\w*[a-z])")


def merged(manifest: FileEntry, artifact: FileEntry) -> FileEntry:
    """Merge both scans of one file; the worse verdict wins.

    A command that fetches and runs is reported by the scan of the script alone, unless that calls
    it less severe.
    """
    scripted: dict[Any, int] = {}
    for finding in artifact.findings:
        line, rank = finding.evidence.get("line"), finding.severity.rank
        if finding.rule_id.startswith("TW-MODEL-SCRIPT") and line is not None:
            scripted[line] = max(rank, scripted.get(line, rank))
    kept = [
        finding
        for finding in manifest.findings
        if finding.rule_id not in {"TW-PIPE-UNSAFE-LOADER", "TW-PIPE-REMOTE-SCRIPT"}
        or finding.severity.rank > scripted.get(finding.evidence.get("line"), -1)
    ]
    order = (Verdict.CLEAN, Verdict.UNSUPPORTED, Verdict.SUSPICIOUS, Verdict.CORRUPT,
             Verdict.INCOMPLETE, Verdict.MALICIOUS)  # fmt: skip
    fields: dict[str, Any] = {
        "verdict": max(manifest.verdict, artifact.verdict, key=order.index),
        "findings": (*kept, *artifact.findings),
        "reasons": listed((*manifest.reasons, *artifact.reasons)),
        "sha256": manifest.sha256 or artifact.sha256,
    }
    return msgspec.structs.replace(manifest, **fields)
