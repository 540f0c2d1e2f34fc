"""Verifies a model's provenance from its bytes: formats, digests, source, signatures, claims."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import msgspec

from agents.checks.artifacts.formats.names import HEAD_BYTES, is_content_of, is_safe
from agents.checks.provenance.artifact_facts import FactCounter
from agents.checks.provenance.card_claims import claims_of_artifact
from agents.checks.provenance.card_reading import CARD_BYTES, CARD_NAME, read_card
from agents.checks.provenance.file_checks import (
    UNSIGNED,
    check_formats,
    check_hashes,
    is_signature,
    plain_path,
)
from agents.checks.provenance.identity import PushOrigin
from agents.checks.provenance.origin_checks import compare_sources
from agents.checks.provenance.signatures import (
    SIGNATURE_BYTES,
    Trust,
    signature_outcome,
    verify_signature,
)
from agents.checks.provenance.statements import is_provenance, verify_statement
from agents.domain.check_names import CheckName
from agents.domain.detection import Outcome
from agents.fetching.errors import FetchError
from agents.fetching.fetch_scope import parse_location
from agents.fetching.local import open_below
from agents.fetching.snapshot import Snapshot
from agents.fetching.sources import OpenSource
from schemas.assessments import Check
from schemas.events import ArtifactKind, Card
from schemas.severity import Status

_TARGET: Final = re.compile(r"\.(sigstore\.json|sigstore|sig)$", re.IGNORECASE)
Open = Callable[[str], OpenSource]


class ModelFiles:
    """The files of one model: opened by path, their digests computed once and remembered.

    A digest and all reads by `snapshot` are of one snapshot of a file.
    """

    def __init__(self, paths: Iterable[str], opener: Open) -> None:
        """Set the paths and the opener.

        Args:
            paths: The path of every file.
            opener: Opens a path; raises `FetchError` if it can't.
        """
        self._paths = tuple(sorted(paths))
        self._open = opener
        self._digests: dict[str, str] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self.unread: dict[str, str] = {}
        """Why a file could not be read, by path."""
        self.bundles: dict[str, bytes] = {}
        """The signatures that were read, by name."""

    def paths(self) -> tuple[str, ...]:
        """Return the path of every file."""
        return self._paths

    def source(self, path: str) -> AbstractContextManager[OpenSource]:
        """Return the bytes of a file."""
        return self._open(path)

    def snapshot(self, path: str) -> Snapshot:
        """Return the snapshot of a file: every further read must match it."""
        return self._snapshots.setdefault(path, Snapshot())

    @property
    def digests(self) -> dict[str, str]:
        """The digests computed so far, by path."""
        return dict(self._digests)

    def sha256(self, path: str) -> str:
        """Return the SHA-256 of a file, in hex.

        Raises:
            FetchError: it can't be read.
        """
        if path not in self._digests:
            try:
                with self._open(path) as source:
                    self._digests[path] = self.snapshot(path).sha256(source)
            except FetchError as error:
                self.unread[path] = error.explain()
                raise
        return self._digests[path]

    def try_sha256(self, path: str) -> str | None:
        """Return the SHA-256 of a file, or None if it can't be read (see `unread`)."""
        try:
            return self.sha256(path)
        except FetchError:
            return None


def local_files(folder: Path) -> ModelFiles:
    """Return the files of a local folder, or one local file; links are not followed."""
    base = folder.resolve()
    root = parse_location((base if base.is_dir() else base.parent).as_uri())
    names = (
        [path.relative_to(base).as_posix() for path in _regular(base)]
        if base.is_dir()
        else [base.name]
    )

    def opener(path: str) -> OpenSource:
        where = msgspec.structs.replace(root, path=f"{root.path.rstrip('/')}/{path}")
        return open_below(root, where)

    return ModelFiles(names, opener)


def _regular(base: Path) -> list[Path]:
    return [path for path in sorted(base.rglob("*")) if path.is_file() and not path.is_symlink()]


def verify_model(
    files: ModelFiles,
    *,
    expected_hashes: Mapping[str, str] | None = None,
    expected_source: str | None = None,
    actual_source: PushOrigin | str | None = None,
    signatures: Mapping[str, bytes] | None = None,
    trust: Trust | None = None,
    card: Card | None = None,
    kind: str = ArtifactKind.MODEL,
) -> Outcome:
    """Verify a model before it is deployed.

    Args:
        files: Its files.
        expected_hashes: Path to SHA-256; a missing file fails, an added one that can hold code
            warns.
        expected_source: The expected origin.
        actual_source: The actual origin, by the registry or the person who fetched it.
        signatures: Signature bundles by name; those among the files are found automatically.
        trust: The trusted signers.
        card: The claims of its card; by default read from the model's README.
        kind: model, adapter, tokenizer or dataset.

    Returns:
        The checks, PASS, WARN, INCOMPLETE or FAIL, and the detections.

    Source: "verify_model_provenance" of the response procedure; in addition, sources are compared,
        nested files are checked, and no error reads as clean.
    """
    trust = trust or Trust()
    own = frozenset(path for path in files.paths() if is_signature(path))
    bare = [path for path in files.paths() if path not in own]
    parts = [Outcome(checks=(check_formats(bare, _disguised(files, bare)),))]
    if expected_hashes:
        parts.append(_hashes(files, expected_hashes))
    if expected_source:
        parts.append(compare_sources(expected_source, actual_source))
    parts.append(_signatures(files, dict(signatures or {}), own, trust))
    card = card or own_card(files)
    if card is not None:
        counter = FactCounter()
        for path in files.paths():
            try:
                with files.source(path) as source:
                    counter.add(path, source)
            except FetchError as error:
                files.unread[path] = error.explain()
        claims = claims_of_artifact(card, counter.facts(), kind)
        parts.append(Outcome(checks=tuple(claims.checks), detections=tuple(claims.detections)))
    return Outcome(
        checks=tuple(check for part in parts for check in part.checks),
        detections=tuple(found for part in parts for found in part.detections),
    )


def own_card(files: ModelFiles) -> Card | None:
    """Return the claims of the README among the files, or None."""
    if CARD_NAME not in files.paths():
        return None
    try:
        with files.source(CARD_NAME) as source:
            return read_card(source.read(0, CARD_BYTES))
    except FetchError as error:
        files.unread[CARD_NAME] = error.explain()
        return None


def _disguised(files: ModelFiles, paths: Iterable[str]) -> list[str]:
    """Return the files whose name implies a safe format but whose content does not match it."""
    found = []
    for path in paths:
        if not is_safe(path):
            continue
        try:
            with files.source(path) as source:
                if not is_content_of(path, source.read(0, HEAD_BYTES)):
                    found.append(path)
        except FetchError as error:
            files.unread[path] = error.explain()
    return found


def _hashes(files: ModelFiles, expected: Mapping[str, str]) -> Outcome:
    by_plain = {plain_path(path): path for path in files.paths()}
    actual: dict[str, frozenset[str] | None] = dict.fromkeys(files.paths())
    for name in expected:
        path = by_plain.get(plain_path(name))
        if path is not None and (digest := files.try_sha256(path)) is not None:
            actual[path] = frozenset({digest})
    return check_hashes(actual, expected, unread=files.unread)


def _signatures(
    files: ModelFiles, bundles: dict[str, bytes], own: frozenset[str], trust: Trust
) -> Outcome:
    checks: list[Check] = []
    for path in sorted(own):
        try:
            with files.source(path) as source:
                if source.size > SIGNATURE_BYTES:
                    checks.append(
                        Check(
                            name=f"{CheckName.SIGNATURE}_{path}",
                            status=Status.FAIL,
                            detail="too large",
                        )
                    )
                else:
                    bundles.setdefault(path, source.read(0, source.size))
        except FetchError as error:
            checks.append(
                Check(
                    name=f"{CheckName.SIGNATURE}_{path}",
                    status=Status.INCOMPLETE,
                    detail=error.explain()[:300],
                )
            )
    files.bundles = bundles
    # A provenance statement is not a signature of the model's files.
    statements = {path: raw for path, raw in bundles.items() if is_provenance(raw)}
    bundles = {path: raw for path, raw in bundles.items() if path not in statements}
    outcomes = []
    single = len(bundles) == 1 and not checks
    checks += [_statement(path, raw, trust) for path, raw in sorted(statements.items())]
    unsigned = not bundles and len(checks) == len(statements)
    for path, raw in sorted(bundles.items()):
        name = "signature" if single else f"signature_{path}"
        try:
            result = verify_signature(
                raw, files, trust, own=own, target=_TARGET.sub("", path) or None
            )
        except FetchError as error:
            checks.append(Check(name=name, status=Status.INCOMPLETE, detail=error.explain()[:300]))
            continue
        outcomes.append(signature_outcome(name, path, result))
    if unsigned:
        checks.append(Check(name=CheckName.SIGNATURE, status=Status.WARN, detail=UNSIGNED))
    return Outcome(
        checks=(*checks, *(check for outcome in outcomes for check in outcome.checks)),
        detections=tuple(found for outcome in outcomes for found in outcome.detections),
    )


def _statement(path: str, raw: bytes, trust: Trust) -> Check:
    name = f"provenance_{path}"
    try:
        signed = verify_statement(raw, trust)
    except ValueError as error:
        return Check(name=name, status=Status.WARN, detail=str(error)[:300])
    return Check(name=name, status=Status.PASS, detail=f"signed by {signed.identity}")
