"""The slow work of a push: fetch its files, scan each in the sandbox, verify them together.

Over 500 lines, since each step works on what the ones before it fetched and found.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final, ParamSpec, Protocol, TypeVar

import msgspec

from agents.checks.artifacts.report import is_accepted, reasons_beyond
from agents.checks.artifacts.scanning import Source
from agents.checks.provenance.attempts import next_attempt
from agents.checks.provenance.attested import Pushed, attest, with_publisher
from agents.checks.provenance.bindings import is_bound
from agents.checks.provenance.card_claims import claims_of_push
from agents.checks.provenance.contents import contents_of
from agents.checks.provenance.file_checks import (
    UNSIGNED,
    check_hashes,
    is_signature,
    plain_path,
    sha256_of,
)
from agents.checks.provenance.identity import push_component
from agents.checks.provenance.push import check_origin, unsigned
from agents.checks.provenance.scanned_files import (
    ScannedFile,
    file_findings,
    not_analysed,
    scan_checks,
    severity_of,
)
from agents.checks.provenance.sightings import sightings_of
from agents.checks.provenance.signatures import (
    SIGNATURE_BYTES,
    Trust,
    policy_trust,
    trust_of,
)
from agents.checks.provenance.subject import push_subject
from agents.checks.provenance.verify import ModelFiles, own_card, verify_model
from agents.checks.suppressing import unsuppressed, withheld
from agents.domain.check_names import CheckName
from agents.domain.detection import Detection, Outcome
from agents.domain.knowledge import Knowledge
from agents.domain.roles import is_text, role_of
from agents.domain.trust_roots import AuthorisedRoot
from agents.fetching.errors import FetchError, RefusedError
from agents.fetching.snapshot import Snapshot
from agents.fetching.sources import OpenSource
from agents.logs import Logger
from schemas.assessments import Check
from schemas.components import digest_of_files
from schemas.events import Event, File, RegistryPush
from schemas.observations import Sighting
from schemas.policy import Policy
from schemas.scans import ScanRequest
from schemas.severity import Severity, Status, Verdict

FREE_DIGEST_BYTES: Final = 64 << 20
"""Files up to this size are digested even if nothing requires it."""
AT_ONCE: Final = 4
"""Files of one push scanned at the same time."""
PUSH_SECONDS: Final = 6 * 3600.0
"""Time for one push; files that are not opened by then are not read."""
HEAD_BYTES: Final = 4096
"""Bytes by which text is recognised."""
_log = Logger(__name__)


class FileScan(Protocol):
    """The scan result of one file."""

    @property
    def verdict(self) -> Verdict:
        """The verdict."""

    @property
    def detections(self) -> tuple[Detection, ...]:
        """Its detections."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is incomplete or corrupt."""


_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")
Turn = Callable[[], AbstractAsyncContextManager[None]]
"""Waits for a turn at slow work, and holds it within the block."""
ScanFile = Callable[[str, Source, frozenset[str]], Awaitable[FileScan]]
"""Scans one file in the sandbox: its path, its bytes, the paths beside it."""


class Fetch(Protocol):
    """The artifacts that the tenant may fetch."""

    def open(self, uri: str) -> OpenSource:
        """Return the bytes behind a URI."""

    def listing(self, uri: str) -> tuple[File, ...]:
        """Return the files of a repository at its pinned revision."""

    def is_published(self, uri: str) -> bool:
        """Return whether the content read under a URI is public."""


class ScanOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the slow work of one push, and the next attempt if one is needed."""

    checks: tuple[Check, ...] = ()
    detections: tuple[Detection, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    withheld: tuple[Detection, ...] = ()
    retry: ScanRequest | None = None
    contents: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """The same without the next attempt."""
        return Outcome(
            checks=self.checks,
            detections=self.detections,
            sightings=self.sightings,
            withheld=self.withheld,
            contents=self.contents,
        )


class _Watched:
    """A source of one snapshot that records whether a read failed."""

    def __init__(self, source: OpenSource, snapshot: Snapshot) -> None:
        self._source = source
        self._snapshot = snapshot
        self.error: FetchError | None = None

    @property
    def size(self) -> int:
        return self._source.size

    def read(self, offset: int, length: int) -> bytes:
        try:
            return self._snapshot.read(self._source, offset, length)
        except FetchError as error:
            self.error = error
            raise


async def scan_push(
    request: ScanRequest,
    knowledge: Knowledge,
    fetch: Fetch,
    scan: ScanFile,
    *,
    now_ms: int,
    trust: Trust | None = None,
    turn: Turn = nullcontext,
    clock: Callable[[], float] = time.monotonic,
) -> ScanOutcome:
    """Fetch, scan and verify the files of a push.

    A file that can't be fetched or scanned makes the assessment INCOMPLETE and never stops the
    others; a temporary failure is retried, up to `MAX_ATTEMPTS` times.

    Args:
        request: What to scan.
        knowledge: Intelligence and the tenants' policies.
        fetch: Opens and lists artifacts that the tenant may fetch.
        scan: Scans one file in the sandbox.
        now_ms: The broker's timestamp of the request, milliseconds since the epoch; the next
            attempt counts from it, so that a replay asks for the same.
        trust: The trusted signers; by default those of the policy, and of the trust roots
            authorised for the component.
        turn: Waits for this tenant's turn at slow work: once for each file, and for each pass over
            the whole push.
        clock: Returns monotonic seconds, for the limit of the whole push.
    """
    # Over 60 lines: each step needs the results of those before it.
    policy = knowledge.policy(request.tenant)
    if trust is None:
        trust = _trust(policy, knowledge.signers(push_component(request.event, policy)))
    try:
        files = await _files(request, fetch, turn)
    except FetchError as error:
        return _nothing(request, error, now_ms)
    event = msgspec.structs.replace(
        request.event, data=msgspec.structs.replace(request.event.data, files=files)
    )
    until = clock() + PUSH_SECONDS
    model = _model(files, fetch, lambda: clock() >= until)
    if event.data.card is None and (card := await _apart(turn, own_card, model)):
        event = msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, card=card))
    scanned = await _scan_all(model, scan, turn)
    for path in _to_digest(model, event, scanned, request.listing, bool(trust)):
        await _apart(turn, model.try_sha256, path)
    verified = await _apart(turn, _verify, event, model, fetch, policy, trust)
    subject = push_subject(event, policy)
    origin = check_origin(subject, knowledge)
    claims = claims_of_push(event.data) if event.data.card else None
    digests = model.digests
    known = {**_declared(event.data), **digests}
    complete = len(known) == len(subject.digests)
    pushed = Pushed(
        component=subject.component,
        version=subject.version,
        digests=known,
        whole=subject.pinned or (digest_of_files(known) if complete and known else None),
        pinned=subject.pinned is not None,
    )
    signers = knowledge.signers(subject.component)
    attested = await _apart(turn, attest, pushed, model, model.bundles, signers)
    signed = any(
        check.name.startswith("signature") and check.status is Status.PASS
        for check in verified.checks
    )
    sightings = sightings_of(
        subject,
        known,
        complete=complete,
        attested=attested,
        signed=signed,
        computed=digests,
        listed=(request.listing or "").startswith("oci://"),
        bound=await _apart(turn, is_bound, request.listing, subject, fetch),
        found=[file.path for file in scanned if file.detections],
    )
    retry = _retry(request, scanned, model, now_ms) if clock() < until else None
    day = event.time.date()
    sole = len(files) == 1
    bound = [file_findings(file, subject, digests, sole=sole) for file in scanned]
    accepted = [
        _accepted(file, unsuppressed(own, policy.suppressions, day))
        for file, own in zip(scanned, bound, strict=True)
    ]
    checks = [
        *origin.checks,
        *verified.checks,
        *(claims.checks if claims else ()),
        *scan_checks(accepted, retry),
    ]
    found = [detection for own in bound for detection in own]
    if subject.publisher is not None and attested.signed:
        publishers = knowledge.signers(subject.publisher)
        found = [with_publisher(detection, attested, publishers) for detection in found]
    last = retry is None and any(file.again for file in scanned)
    return ScanOutcome(
        checks=tuple(_worst_by_name(checks)),
        detections=unsuppressed(
            (
                *origin.detections,
                *verified.detections,
                *(claims.detections if claims else ()),
                *found,
                *((not_analysed(scanned),) if last else ()),
            ),
            policy.suppressions,
            day,
        ),
        sightings=sightings.sightings,
        withheld=withheld(found, policy.suppressions, day),
        retry=retry,
        contents=contents_of(request.listing, subject, digests),
    )


def _accepted(file: ScannedFile, kept: Iterable[Detection]) -> ScannedFile:
    """Return a file, marked if only suppressed findings leave it unsupported."""
    rules = (detection.rule_id for detection in kept)
    return msgspec.structs.replace(
        file, accepted=is_accepted(file.verdict, rules, others=file.others)
    )


async def _apart(
    turn: Turn, work: Callable[_Given, _Made], *args: _Given.args, **kwargs: _Given.kwargs
) -> _Made:
    """Run slow work in a thread, at this tenant's turn."""
    async with turn():
        return await asyncio.to_thread(work, *args, **kwargs)


async def _files(request: ScanRequest, fetch: Fetch, turn: Turn) -> tuple[File, ...]:
    if request.listing is None:
        return request.event.data.files
    return await _apart(turn, fetch.listing, request.listing)


def _model(files: Iterable[File], fetch: Fetch, is_over: Callable[[], bool]) -> ModelFiles:
    places: dict[str, str | None] = {}
    for file in files:
        path = plain_path(file.path)
        if places.get(path) is None:
            places[path] = file.uri

    def opener(path: str) -> OpenSource:
        uri = places[path]
        if uri is None:
            raise RefusedError("the event names no location of the file", where=path[:200])
        if is_over():
            hours = f"{PUSH_SECONDS / 3600:g} hours"
            raise RefusedError(f"the push took longer than {hours}", where=path[:200])
        try:
            return fetch.open(uri)
        except FetchError:
            raise
        except Exception as error:  # hostile input: one file's error never stops the others
            _log.warning("file_not_opened", error=type(error).__name__)
            raise FetchError(
                f"it can't be opened ({type(error).__name__})", where=path[:200]
            ) from error

    return ModelFiles(places, opener)


async def _scan_all(model: ModelFiles, scan: ScanFile, turn: Turn) -> list[ScannedFile]:
    room = asyncio.Semaphore(AT_ONCE)
    siblings = frozenset(model.paths())

    async def one(path: str) -> ScannedFile:
        async with room, turn():
            return await _scan_one(path, model, scan, siblings)

    return list(await asyncio.gather(*(one(path) for path in model.paths())))


async def _scan_one(
    path: str, model: ModelFiles, scan: ScanFile, siblings: frozenset[str]
) -> ScannedFile:
    try:
        # opening it sends a request to its server, which may be slow
        source = await asyncio.to_thread(lambda: model.source(path).__enter__())
    except FetchError as error:
        model.unread[path] = error.explain()
        return ScannedFile(
            path=path,
            verdict=Verdict.INCOMPLETE,
            reason=error.explain()[:300],
            again=not isinstance(error, RefusedError),
        )
    watched = _Watched(source, model.snapshot(path))
    role = ""
    try:
        report = await scan(path, watched, siblings)
        if report.detections:
            head = await asyncio.to_thread(watched.read, 0, HEAD_BYTES)
            role = role_of(path) if is_text(head) else ""
    except FetchError as error:
        watched.error = error
        report = None
    except Exception as error:  # noqa: BLE001 -- hostile input: one file's error never stops the others
        _log.warning("file_not_scanned", error=type(error).__name__)
        return ScannedFile(
            path=path,
            verdict=Verdict.INCOMPLETE,
            reason=f"the scan failed ({type(error).__name__})",
        )
    finally:
        source.close()
    if watched.error is not None:
        # The scanner only sees a failed read; earlier detections stay.
        found = tuple(report.detections) if report is not None else ()
        malicious = report is not None and report.verdict is Verdict.MALICIOUS
        model.unread[path] = watched.error.explain()
        return ScannedFile(
            path=path,
            verdict=Verdict.MALICIOUS if malicious else Verdict.INCOMPLETE,
            detections=found,
            reason=watched.error.explain()[:300],
            again=not isinstance(watched.error, RefusedError),
        )
    assert report is not None, "it was returned, or an error was seen"
    return ScannedFile(
        path=path,
        verdict=report.verdict,
        detections=tuple(report.detections),
        reason="; ".join(report.reasons)[:300],
        others=bool(reasons_beyond(report.reasons, report.detections)),
        role=role,
    )


def _to_digest(
    model: ModelFiles,
    event: Event[RegistryPush],
    scanned: list[ScannedFile],
    listing: str | None,
    signed: bool,
) -> Iterator[str]:
    """Yield the files whose digest something depends on; others stay as declared by the event.

    Files that a manifest names are read to their end: the assessment counts for every fetch by the
    manifest's digest.
    """
    by_manifest = (listing or "").startswith("oci://")
    declared = _declared(event.data)
    sizes = {plain_path(file.path): file.size for file in event.data.files}
    has_signature = signed and any(is_signature(path) for path in model.paths())
    for file in scanned:
        size = sizes.get(file.path)
        small = size is not None and size <= FREE_DIGEST_BYTES
        serious = any(
            severity_of(detection).rank >= Severity.MEDIUM.rank for detection in file.detections
        )
        if by_manifest or has_signature or serious or file.path not in declared or small:
            yield file.path


def _verify(
    event: Event[RegistryPush],
    model: ModelFiles,
    fetch: Fetch,
    policy: Policy,
    trust: Trust,
) -> Outcome:
    push = event.data
    bundles: dict[str, bytes] = {}
    missing: list[Check] = []
    for reference in push.signatures:
        if reference.uri is None:
            continue
        try:
            with fetch.open(reference.uri) as source:
                if source.size > SIGNATURE_BYTES:
                    raise FetchError("the signature is too large", where=reference.uri[:200])  # noqa: TRY301 -- reported like any other
                bundles[reference.uri.rpartition("/")[2]] = source.read(0, source.size)
        except FetchError as error:
            missing.append(
                Check(
                    name=CheckName.SIGNATURE, status=Status.INCOMPLETE, detail=error.explain()[:300]
                )
            )
    own = {path for path in model.paths() if is_signature(path)}
    bundles = {name: raw for name, raw in bundles.items() if name not in own}
    result = verify_model(
        model,
        expected_hashes=push.expected.hashes if push.expected else None,
        signatures=bundles,
        trust=trust,
        card=push.card,
        kind=push.kind,
    )
    checks = [check for check in result.checks if check.detail != UNSIGNED]
    detections = list(result.detections)
    if missing:
        checks = [*(check for check in checks if check.name != CheckName.SIGNATURE), *missing]
    elif any(check.detail == UNSIGNED for check in result.checks):
        bare = unsigned(policy)
        checks += bare.checks
        detections += bare.detections
    declared = _declared(push)
    computed = {path: frozenset({digest}) for path, digest in model.digests.items()}
    lied = check_hashes(
        computed, {path: digest for path, digest in declared.items() if path in computed}
    )
    detections += lied.detections
    checks += [
        msgspec.structs.replace(check, detail="another digest than the event declares")
        for check in lied.checks
        if check.status is Status.FAIL
    ]
    once = {(found.rule_id, found.locator): found for found in detections}
    return Outcome(checks=tuple(checks), detections=tuple(once.values()))


def _declared(push: RegistryPush) -> dict[str, str]:
    return {
        plain_path(file.path): digest for file in push.files if (digest := sha256_of(file.digests))
    }


def _trust(policy: Policy, signers: Iterable[AuthorisedRoot]) -> Trust:
    """Return the signers of a component for a tenant, by its policy and the operator's roots."""
    may = [signer.signer for signer in signers if signer.tenant in {"", policy.tenant}]
    own, roots = policy_trust(policy), trust_of(may)
    return msgspec.structs.replace(
        own,
        keys=tuple(dict.fromkeys((*own.keys, *roots.keys))),
        certificates=tuple(dict.fromkeys((*own.certificates, *roots.certificates))),
        identities=tuple(dict.fromkeys((*own.identities, *roots.identities))),
    )


def _worst_by_name(checks: Iterable[Check]) -> list[Check]:
    """Keep the worst check of each name."""
    kept: dict[str, Check] = {}
    for check in checks:
        known = kept.get(check.name)
        if known is None or check.status.rank > known.status.rank:
            kept[check.name] = check
    return list(kept.values())


def _retry(
    request: ScanRequest, scanned: list[ScannedFile], model: ModelFiles, now_ms: int
) -> ScanRequest | None:
    cut = set(model.unread) - {file.path for file in scanned if file.reason and not file.again}
    if not cut and not any(file.again for file in scanned):
        return None
    return next_attempt(request, now_ms)


def _nothing(request: ScanRequest, error: FetchError, now_ms: int) -> ScanOutcome:
    """Return the outcome of a push whose files could not be listed."""
    retry = None if isinstance(error, RefusedError) else next_attempt(request, now_ms)
    detail = f"the files could not be listed: {error.explain()[:300]}"
    if retry is not None:
        detail += f"; tried again (attempt {retry.attempt})"
    lost = ScannedFile(path=request.listing or "", verdict=Verdict.INCOMPLETE, reason=detail)
    return ScanOutcome(
        checks=(Check(name=CheckName.SCAN, status=Status.INCOMPLETE, detail=detail),),
        detections=() if retry else (not_analysed([lost]),),
        retry=retry,
    )
