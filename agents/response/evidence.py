"""Evidence: a tar.gz of a system's files, with the SHA-256 of each and a chain of custody.

`<folder>/<date>/<command id>.tar.gz` is the archive; its last member, `SHA256SUMS`, can be checked
with `sha256sum -c`. `<command id>.json` beside it is the manifest: who captured what, when, on
which command, each file's hash, omissions with reasons, and the archive's own hash.
"""

from __future__ import annotations

import getpass
import gzip
import hashlib
import io
import os
import socket
import stat
import tarfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Final

import msgspec
import orjson

from agents.response.action_context import ActionContext
from agents.response.anchors import anchored, opened
from agents.response.config import EvidenceConfig
from agents.response.durable import STAGING, make_folder, sync_folder, write_whole
from agents.response.inventory import CHUNK, MAX_FILES, sha256_of
from agents.response.outcome import OK, REFUSED, UNSUPPORTED, CommandOutcome, NotCarriedOutError
from schemas.counting import counted

FORMAT: Final = "tidewatch.evidence.v1"
SUMS: Final = "SHA256SUMS"
MAX_LEFT_OUT: Final = 10_000
"""Most omissions named singly; the rest are counted."""


SHOWN: Final = 20
"""Most paths named in the outcome of a dry run."""


class Captured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file in the archive."""

    path: str
    size: int = 0
    sha256: str | None = None
    link: str | None = None
    mode: int = 0
    uid: int = 0
    gid: int = 0
    modified_ns: int = 0
    changed: bool = False
    """Whether it shrank while it was read; the missing bytes are zeros."""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A path that is not in the archive, and why."""

    path: str
    why: str


class Custody(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the chain of custody."""

    did: str
    at: datetime
    responder: str
    host: str
    user: str


class EvidenceManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The manifest of an archive: its content, who captured it, when and why."""

    format: str
    command_id: str
    incident: str
    tenant: str
    system: str
    reason: str
    archive: str
    archive_sha256: str
    archive_bytes: int
    custody: tuple[Custody, ...]
    files: tuple[Captured, ...]
    left_out: tuple[LeftOut, ...]
    left_out_count: int


_MANIFESTS: Final = msgspec.json.Decoder(EvidenceManifest)


class _Capture:
    """Collects files into one archive, within limits."""

    def __init__(self, config: EvidenceConfig, archive: tarfile.TarFile) -> None:
        self._config = config
        self._archive = archive
        self._bytes = 0
        self.files: list[Captured] = []
        self.left_out: list[LeftOut] = []
        self.left_out_count = 0

    def leave_out(self, path: object, why: str) -> None:
        self.left_out_count += 1
        if len(self.left_out) < MAX_LEFT_OUT:
            self.left_out.append(LeftOut(path=_shown(str(path)), why=why))

    def add(self, path: Path) -> None:
        """Add a file, a link, or everything below a folder."""
        for item in _walk(path, self):
            if len(self.files) >= self._config.max_files:
                self.leave_out(item, f"more than {self._config.max_files} files")
                return
            try:
                with anchored(item) as held:
                    self._add_item(item, held)
            except OSError as error:
                self.leave_out(item, f"it can't be read ({error.strerror})")
            except NotCarriedOutError as error:
                self.leave_out(item, error.what)

    def _add_item(self, item: Path, held: Path) -> None:
        """Add the file at a path, read through the folder that is held open."""
        status = held.lstat()
        if stat.S_ISLNK(status.st_mode):
            link = str(held.readlink())
            info = _info(item, status)
            info.type, info.linkname = tarfile.SYMTYPE, link
            self._archive.addfile(info)
            self.files.append(_captured(item, status, link=_shown(link)))
            return
        if not stat.S_ISREG(status.st_mode):
            self.leave_out(item, "it is neither file nor link")
            return
        handle = os.open(held, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                self.leave_out(item, "it is neither file nor link")
                return
            if self._bytes + status.st_size > self._config.max_bytes:
                self.leave_out(item, f"more than {self._config.max_bytes} bytes in all")
                return
            self._bytes += status.st_size
            info = _info(item, status)
            info.size = status.st_size
            reader = _Hashing(opened, status.st_size)
            self._archive.addfile(info, reader)
        self.files.append(
            _captured(
                item,
                status,
                size=status.st_size,
                sha256=reader.digest.hexdigest(),
                changed=reader.short,
            )
        )

    def add_sums(self) -> None:
        lines = [f"{file.sha256}  {file.path.lstrip('/')}\n" for file in self.files if file.sha256]
        raw = "".join(lines).encode()
        info = tarfile.TarInfo(SUMS)
        info.size, info.mode = len(raw), 0o444
        self._archive.addfile(info, io.BytesIO(raw))


class _Hashing(io.RawIOBase):
    """Reads and hashes exactly the announced bytes of a file that may change meanwhile."""

    def __init__(self, opened: IO[bytes], size: int) -> None:
        super().__init__()
        self._opened = opened
        self._left = size
        self.digest = hashlib.sha256()
        self.short = False

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        wanted = min(wanted, CHUNK)
        raw = self._opened.read(wanted)
        if len(raw) < wanted:
            self.short = True
            raw += bytes(wanted - len(raw))
        self._left -= len(raw)
        self.digest.update(raw)
        return raw


def capture(context: ActionContext) -> CommandOutcome:
    """Capture the paths that the command and the configuration name as evidence of a system.

    Repeating a command returns its complete archive; an interrupted capture starts over.

    Raises:
        NotCarriedOutError: No evidence is configured, or every named path is outside the configured
            folders.
        OSError: The archive can't be written.
    """
    config, spec = context.site.evidence, context.spec
    if config is None:
        raise NotCarriedOutError(UNSUPPORTED, "no evidence folder is configured for this tenant")
    system = spec.system or spec.target
    named = [*map(Path, spec.paths), *config.systems.get(system, ())]
    reachable, beyond = _split(dict.fromkeys(named), config.roots)
    if beyond and not reachable:
        raise NotCarriedOutError(
            REFUSED,
            "the path is outside the folders that may be captured",
            where=", ".join(map(str, beyond))[:400],
            remedy="add its folder to evidence.roots, if it is evidence",
        )
    folder = config.folder / f"{context.begun:%Y%m%d}"
    archive = folder / f"{spec.command_id}.tar.gz"
    described = folder / f"{spec.command_id}.json"
    manifest = _complete(described, archive)
    if manifest is not None:
        return _answer(manifest, archive)
    if spec.dry_run:
        return CommandOutcome(
            status=OK,
            status_text=f"{counted(len(reachable), 'place')} would be captured",
            results={"paths": [str(path) for path in reachable[:SHOWN]], "archive": str(archive)},
        )
    make_folder(folder)
    manifest = _write(context, config, system, reachable, beyond, archive)
    write_whole(
        described,
        orjson.dumps(msgspec.to_builtins(manifest), option=orjson.OPT_INDENT_2) + b"\n",
        mode=0o400,
    )
    return _answer(manifest, archive)


def _write(
    context: ActionContext,
    config: EvidenceConfig,
    system: str,
    reachable: Iterable[Path],
    beyond: Iterable[Path],
    archive: Path,
) -> EvidenceManifest:
    partial = archive.with_name(f"{STAGING}{archive.name}")
    partial.unlink(missing_ok=True)
    with (
        partial.open("xb") as raw,
        # without file name and time in the header, the same files give the same bytes
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as opened,
    ):
        partial.chmod(0o400)
        capturing = _Capture(config, opened)
        for path in beyond:
            capturing.leave_out(path, "outside the folders that may be captured")
        for path in reachable:
            capturing.add(path)
        capturing.add_sums()
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    sha256, size = sha256_of(partial)
    partial.replace(archive)
    sync_folder(archive.parent)
    return EvidenceManifest(
        format=FORMAT,
        command_id=context.spec.command_id,
        incident=context.spec.incident,
        tenant=context.spec.tenant,
        system=system,
        reason=context.spec.reason,
        archive=archive.name,
        archive_sha256=sha256,
        archive_bytes=size,
        custody=(
            Custody(
                did="captured",
                at=context.begun,
                responder=context.responder,
                host=socket.gethostname(),
                user=getpass.getuser(),
            ),
        ),
        files=tuple(capturing.files),
        left_out=tuple(capturing.left_out),
        left_out_count=capturing.left_out_count,
    )


def _complete(described: Path, archive: Path) -> EvidenceManifest | None:
    """Return the manifest of a complete archive, or None."""
    try:
        manifest = _MANIFESTS.decode(described.read_bytes())
        whole = sha256_of(archive)[0] == manifest.archive_sha256
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return manifest if whole else None


def _answer(manifest: EvidenceManifest, archive: Path) -> CommandOutcome:
    count, left = len(manifest.files), manifest.left_out_count
    text = (
        f"captured {counted(count, 'file')}"
        if count
        else "nothing is named as evidence of this system"
    )
    return CommandOutcome(
        status=OK,
        status_text=f"{text}, {left} left out" if left else text,
        results={
            "evidence": f"sha256:{manifest.archive_sha256}",
            "archive": str(archive),
            "files": count,
            "bytes": sum(file.size for file in manifest.files),
            "left_out": left,
        },
    )


def _split(paths: Iterable[Path], roots: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return the resolved paths within the roots, and the paths outside them."""
    allowed = [Path(os.path.realpath(root)) for root in roots]
    within: list[Path] = []
    beyond: list[Path] = []
    for path in sorted(paths):
        real = (
            Path(os.path.realpath(path)) if path.is_absolute() and "\0" not in str(path) else None
        )
        if real is not None and any(real == root or root in real.parents for root in allowed):
            within.append(real)
        else:
            beyond.append(path)
    return sorted(set(within)), beyond


def _walk(path: Path, capturing: _Capture) -> Iterator[Path]:
    waiting = [path]
    while waiting:
        item = waiting.pop()
        if item.is_symlink() or not item.is_dir():
            yield item
            continue
        try:
            with opened(item) as held, os.scandir(held) as entries:
                children = [item / entry.name for entry in islice(entries, MAX_FILES + 1)]
        except OSError as error:
            capturing.leave_out(item, f"it can't be read ({error.strerror})")
            continue
        except NotCarriedOutError as error:
            capturing.leave_out(item, error.what)
            continue
        if len(children) > MAX_FILES:
            capturing.leave_out(item, f"more than {MAX_FILES} in one folder")
            children.pop()
        waiting.extend(sorted(children, reverse=True))


def _info(item: Path, status: os.stat_result) -> tarfile.TarInfo:
    info = tarfile.TarInfo(str(item).lstrip("/"))
    info.mode = stat.S_IMODE(status.st_mode)
    info.mtime = int(status.st_mtime)
    return info


def _captured(
    item: Path,
    status: os.stat_result,
    *,
    size: int = 0,
    sha256: str | None = None,
    link: str | None = None,
    changed: bool = False,
) -> Captured:
    return Captured(
        path=_shown(str(item)),
        size=size,
        sha256=sha256,
        link=link,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        modified_ns=status.st_mtime_ns,
        changed=changed,
    )


def _shown(path: str) -> str:
    """Return a path as text that JSON can carry."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
