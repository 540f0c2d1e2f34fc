"""Contain models in a store on a file system: quarantine, restore, rollback, roll forward.

Layout: `<root>/<registry>/<org>/<name>/versions/<revision>/…` are the files, and the link
`<root>/<registry>/<org>/<name>/current` points to the version in use. A quarantine is
`<quarantine>/<date>/<command id>/`, with `manifest.json` and the moved files, in numbered folders.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
import orjson

from agents.response.action_context import ActionContext
from agents.response.anchors import anchored
from agents.response.config import StoreConfig
from agents.response.durable import (
    ChangedMeanwhileError,
    make_folder,
    move,
    switch_link,
    undo_move,
    write_whole,
)
from agents.response.inventory import InventoryFile, digest_of, inventory
from agents.response.outcome import (
    ABSENT,
    BAD,
    FAILED,
    OK,
    REFUSED,
    UNSUPPORTED,
    CommandOutcome,
    NotCarriedOutError,
)
from agents.response.paths import (
    CURRENT,
    VERSIONS,
    base_of,
    children,
    component_of,
    confined,
    find,
    version_folder,
)
from schemas.cloudevents import format_time

MANIFEST: Final = "manifest.json"
TAKES_OVER: Final = "takes over"
"""The note of a quarantine whose files an earlier one of its hold had moved."""
FORMAT: Final = "tidewatch.quarantine.v1"
SHOWN: Final = 20
"""Most paths named in a result; the manifest names all."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder in quarantine."""

    original: str
    kept: str
    """Its path within the folder of the quarantine."""
    digest: str | None
    files: tuple[InventoryFile, ...]


class QuarantineManifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The manifest of a quarantine: its content and reason."""

    format: str
    command_id: str
    incident: str
    tenant: str
    component: str
    version: str | None = None
    reason: str
    responder: str
    quarantined_at: datetime
    items: tuple[Item, ...]
    restored_at: datetime | None = None
    restored_by: str | None = None
    """The command that restored it."""


_MANIFESTS: Final = msgspec.json.Decoder(QuarantineManifest)


def _store(context: ActionContext) -> StoreConfig:
    if context.site.store is None:
        raise NotCarriedOutError(UNSUPPORTED, "no store is configured for this tenant")
    return context.site.store


def _kept_in(store: StoreConfig) -> Path:
    """Return the folder of quarantines, which the operator may have named by a link."""
    return Path(os.path.realpath(store.quarantine))


def quarantine(context: ActionContext) -> CommandOutcome:
    """Move a component out of use without deleting it; a manifest records files, origin and reason.

    Raises:
        NotCarriedOutError: It is not here, or a link leads out of the store.
        OSError: The file system refuses.
    """
    store, spec = _store(context), context.spec
    folder = _kept_in(store) / f"{context.begun:%Y%m%d}" / spec.command_id
    manifest = _read_manifest(folder / MANIFEST)
    if manifest is None:
        try:
            held = find(spec, store)
        except NotCarriedOutError as error:
            already = _quarantined_already(context, store) if error.status == ABSENT else None
            if already is None:
                raise
            return already
        manifest = QuarantineManifest(
            format=FORMAT,
            command_id=spec.command_id,
            incident=spec.incident,
            tenant=spec.tenant,
            component=component_of(spec),
            version=spec.version,
            reason=spec.reason,
            responder=context.responder,
            quarantined_at=context.begun,
            items=tuple(
                Item(
                    original=str(component.path),
                    kept=f"{number}/{component.path.name}",
                    digest=component.digest,
                    files=component.files,
                )
                for number, component in enumerate(held)
            ),
        )
        if spec.dry_run:
            return _moved(manifest, folder, "would be moved to the quarantine")
        make_folder(folder)
        _write_manifest(folder, manifest)
    for item in manifest.items:
        kept = folder / item.kept
        make_folder(kept.parent)
        with anchored(Path(item.original)) as original:
            try:
                move(original, kept, _same_as(item))
            except ChangedMeanwhileError:
                if not any(os.path.lexists(folder / entry.kept) for entry in manifest.items):
                    (folder / MANIFEST).unlink()  # the next attempt looks again
                raise
    return _moved(manifest, folder, "moved to the quarantine")


def _quarantined_already(context: ActionContext, store: StoreConfig) -> CommandOutcome | None:
    """Return that another command quarantined it already, None if none did.

    This command then changed nothing, and its release moves nothing back, unless it replaces the
    other command of the same hold.
    """
    spec = context.spec
    kept_in = _kept_in(store)
    for day in children(kept_in) if kept_in.is_dir() else ():
        for folder in children(day):
            known = _read_manifest(folder / MANIFEST)
            if (
                known is None
                or known.restored_at is not None
                or (known.tenant, known.component, known.version)
                != (spec.tenant, component_of(spec), spec.version)
                # something else has taken its place
                or any(os.path.lexists(item.original) for item in known.items)
            ):
                continue
            taken_over = known.command_id == spec.replaces
            if taken_over and not spec.dry_run:
                context.keep(TAKES_OVER, known.command_id)
            return CommandOutcome(
                status=OK,
                status_text=f"quarantined already by {known.command_id}",
                results={"moved_to": str(folder), "changed": taken_over},
            )
    return None


def _moved(manifest: QuarantineManifest, folder: Path, text: str) -> CommandOutcome:
    files = [entry for item in manifest.items for entry in item.files]
    return CommandOutcome(
        status=OK,
        status_text=text,
        results={
            "moved_to": str(folder),
            "moved_from": [item.original for item in manifest.items[:SHOWN]],
            "digests": [item.digest for item in manifest.items[:SHOWN]],
            "moved": len(manifest.items),
            "files": len(files),
            "bytes": sum(entry.size for entry in files),
            "manifest": str(folder / MANIFEST),
            "changed": True,
        },
    )


def restore(context: ActionContext) -> CommandOutcome:
    """Restore a quarantine, after verifying every file against its manifest.

    Raises:
        NotCarriedOutError: A quarantined file changed, or its original path is taken.
        OSError: The file system refuses.
    """
    store, spec = _store(context), context.spec
    undoes = spec.undoes or ""
    folder, manifest = _quarantined(store, context.noted_by(undoes, TAKES_OVER) or undoes)
    if manifest is None:
        return CommandOutcome(
            status=OK, status_text="nothing was moved: there is nothing to move back"
        )
    if manifest.tenant != spec.tenant:
        raise NotCarriedOutError(REFUSED, "the quarantine is another tenant's")
    originals = [item.original for item in manifest.items[:SHOWN]]
    if manifest.restored_at is None:
        for item in manifest.items:
            _check_kept(folder / item.kept, item)
        if spec.dry_run:
            return CommandOutcome(
                status=OK, status_text="would be moved back", results={"restored": originals}
            )
        for item in manifest.items:
            with anchored(Path(item.original), make=True) as original:
                undo_move(original, folder / item.kept)
                move(folder / item.kept, original, _same_as(item))
        manifest = msgspec.structs.replace(
            manifest, restored_at=context.begun, restored_by=spec.command_id
        )
        _write_manifest(folder, manifest)
    return CommandOutcome(
        status=OK, status_text="verified and moved back", results={"restored": originals}
    )


def _check_kept(kept: Path, item: Item) -> None:
    if not os.path.lexists(kept):
        # an earlier run may have moved it back in part or whole: `move` checks
        return
    if inventory(kept) != item.files:
        raise NotCarriedOutError(
            FAILED, "the quarantined files differ from the manifest: not restored", where=str(kept)
        )
    if os.path.lexists(item.original):
        raise NotCarriedOutError(
            BAD, "something else has taken its place: not restored", where=item.original
        )


def _same_as(item: Item) -> Callable[[Path], bool]:
    def same(copy: Path) -> bool:
        found = inventory(copy)
        if len(found) == 1 and len(item.files) == 1:
            # a plain file has another name during a move
            return msgspec.structs.replace(found[0], path=item.files[0].path) == item.files[0]
        return found == item.files

    return same


def _quarantined(store: StoreConfig, command_id: str) -> tuple[Path, QuarantineManifest | None]:
    kept_in = _kept_in(store)
    if kept_in.is_dir():
        for day in children(kept_in):
            manifest = _read_manifest(day / command_id / MANIFEST)
            if manifest is not None:
                return day / command_id, manifest
    return kept_in, None


def _read_manifest(path: Path) -> QuarantineManifest | None:
    try:
        return _MANIFESTS.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise NotCarriedOutError(
            FAILED, f"the manifest is damaged ({error})", where=str(path)
        ) from (error)


def _write_manifest(folder: Path, manifest: QuarantineManifest) -> None:
    raw = orjson.dumps(msgspec.to_builtins(manifest), option=orjson.OPT_INDENT_2)
    write_whole(folder / MANIFEST, raw + b"\n")


def rollback(context: ActionContext) -> CommandOutcome:
    """Point `current` to the last known-good version, after verifying its digest.

    Raises:
        NotCarriedOutError: No known-good version is named, it is missing, or its digest differs.
        OSError: The file system refuses.
    """
    store, spec = _store(context), context.spec
    base = _versioned(context, store)
    if spec.rollback_digest is None:
        raise NotCarriedOutError(
            REFUSED,
            "no known-good digest is named",
            where=spec.target[:200],
            remedy="choose a version, verify it, and roll back manually",
        )
    good = _verified(base, spec.rollback_version, spec.rollback_digest)
    target = f"{VERSIONS}/{good.name}"
    results = {
        "current": str(base / CURRENT),
        "version": good.name,
        "digest": spec.rollback_digest,
        "verified_at": format_time(context.begun),
    }
    with anchored(base / CURRENT) as link:
        before = _pointed(link)
        if spec.dry_run:
            return CommandOutcome(
                status=OK, status_text=f"would be rolled back to {good.name}", results=results
            )
        # kept before the switch, so that a repetition after a kill has it
        previous = context.keep("previous", context.before(before))
        context.keep("target", target)
        switch_link(link, target)
    return CommandOutcome(
        status=OK,
        status_text=f"rolled back to {good.name}, its digest verified",
        results={**results, "previous": previous or None, "changed": previous != target},
    )


def roll_forward(context: ActionContext) -> CommandOutcome:
    """Point `current` back to its target before a rollback.

    Raises:
        NotCarriedOutError: Someone switched it since, or that version is not there.
        OSError: The file system refuses.
    """
    store, spec = _store(context), context.spec
    base = _versioned(context, store)
    previous = context.noted_by(spec.undoes or "", "previous")
    switched = context.noted_by(spec.undoes or "", "target")
    if not previous or switched is None:
        return CommandOutcome(
            status=OK, status_text="nothing was rolled back, or there was none before"
        )
    with anchored(base / CURRENT) as link:
        now = _pointed(link)
        if now != previous:
            if now != switched:
                raise NotCarriedOutError(
                    BAD,
                    "someone else has switched it since: left unchanged",
                    where=str(base / CURRENT),
                )
            if Path(previous).parent != Path(VERSIONS) or not confined(base / previous).is_dir():
                raise NotCarriedOutError(
                    ABSENT, "the previous version is missing: was it restored?", where=previous
                )
            if spec.dry_run:
                return CommandOutcome(status=OK, status_text=f"would point to {previous} again")
            switch_link(link, previous)
    return CommandOutcome(
        status=OK,
        status_text=f"points to {previous} again",
        results={"current": str(base / CURRENT), "version": previous.rpartition("/")[2]},
    )


def _versioned(context: ActionContext, store: StoreConfig) -> Path:
    base = base_of(context.spec, store)
    if base is None or not (base / VERSIONS).is_dir():
        raise NotCarriedOutError(
            ABSENT, "the component is not here with versions", where=context.spec.target[:200]
        )
    confined(base / VERSIONS)
    return base


def _pointed(link: Path) -> str:
    """Return the target of `current` within its component; empty if there is none."""
    if not os.path.lexists(link):
        return ""
    if not link.is_symlink():
        raise NotCarriedOutError(BAD, f"{link.name} is not a link, so it can't be switched")
    return str(link.readlink())


def _verified(base: Path, version: str | None, digest: str) -> Path:
    named = version_folder(base, version) if version else None
    if named is not None and named.is_dir():
        found = digest_of(inventory(named))
        if found != digest:
            raise NotCarriedOutError(
                REFUSED,
                f"the version does not have the known-good digest: it has {found}",
                where=str(named),
            )
        return named
    for folder in children(base / VERSIONS):
        if folder.is_dir() and digest_of(inventory(folder)) == digest:
            return folder
    raise NotCarriedOutError(
        ABSENT,
        "the known-good version is not here",
        where=f"{base}, version {version}, sha256 {digest}",
        remedy="copy it there from its build, then have the command repeated",
    )
