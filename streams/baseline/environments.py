"""Reads the packages installed in a Python environment, without running any of its code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any, Final

from schemas.events import (
    TYPE_PACKAGE_INSTALL,
    Environment,
    Event,
    Installer,
    Package,
    PackageInstall,
    Part,
    Vcs,
)
from streams.baseline.units import (
    BaselineError,
    BaselineOrigin,
    Unit,
    event_of,
    fingerprint,
    unreadable,
)

METADATA_BYTES: Final = 512 * 1024
DIRECT_URL_BYTES: Final = 64 * 1024
PER_EVENT: Final = 1000
MAX_PACKAGES: Final = 20_000
MAX_REQUIREMENTS: Final = 200
_SUFFIXES: Final = (".dist-info", ".egg-info")


def site_folders(path: Path) -> list[Path]:
    """Return the folders of installed packages that a path is or has, none for anything else."""
    if any(path.glob("*.dist-info")):
        return [path]
    return sorted(
        {
            *path.glob("lib*/python*/site-packages"),
            *path.glob("lib/python*/dist-packages"),
            *path.glob("Lib/site-packages"),
        }
    )


def environment_unit(path: Path, origin: BaselineOrigin) -> Unit:
    """Return the unit of an environment's packages.

    Raises:
        BaselineError: It can't be read, or holds too many packages.
    """
    places = [
        distribution for folder in site_folders(path) for distribution in _distributions(folder)
    ]
    if len(places) > MAX_PACKAGES:
        raise BaselineError(f"more than {MAX_PACKAGES:,} packages", where=str(path))
    try:
        stamps = [f"{distribution}|{distribution.stat().st_mtime_ns}" for distribution in places]
        since = max((distribution.stat().st_mtime for distribution in places), default=0.0)
    except OSError as error:
        raise unreadable(path, error) from error
    return Unit(
        place=str(path),
        fingerprint=fingerprint("environment", origin.tenant, origin.system, *stamps),
        events=lambda: _events(places, path, origin, datetime.fromtimestamp(since, UTC)),
    )


def _distributions(folder: Path) -> Iterator[Path]:
    try:
        found = sorted(entry for entry in folder.iterdir() if entry.name.endswith(_SUFFIXES))
    except OSError as error:
        raise unreadable(folder, error) from error
    yield from (entry for entry in found if entry.is_dir())


def _events(
    places: list[Path], path: Path, origin: BaselineOrigin, since: datetime
) -> list[Event[Any]]:
    packages = [
        package for distribution in places if (package := _package(distribution)) is not None
    ]
    parts = [packages[at : at + PER_EVENT] for at in range(0, len(packages), PER_EVENT)]
    batch = fingerprint(str(path), *(f"{package.name}=={package.version}" for package in packages))[
        :32
    ]
    subject = f"host:{origin.system}"
    return [
        event_of(
            origin,
            TYPE_PACKAGE_INSTALL,
            subject,
            PackageInstall(
                installer=Installer(name="environment"),
                system=origin.system,
                environment=Environment(python_version=_version(path)),
                batch=Part(id=batch, part=number, parts=len(parts)),
                packages=tuple(part),
            ),
            what="environment",
            time=since,
        )
        for number, part in enumerate(parts, 1)
    ]


def _version(path: Path) -> str | None:
    raw = _read(path / "pyvenv.cfg", DIRECT_URL_BYTES)
    for line in (raw or b"").decode("utf-8", "replace").splitlines():
        name, _, value = line.partition("=")
        if name.strip() in {"version", "version_info"}:
            return value.strip()[:40]
    return None


def _read(path: Path, limit: int) -> bytes | None:
    try:
        if not path.is_file():
            return None
        with path.open("rb") as opened:
            return opened.read(limit)
    except OSError:
        return None


def _package(place: Path) -> Package | None:
    """Return an installed distribution, None for a folder without readable metadata."""
    name = "METADATA" if place.name.endswith(".dist-info") else "PKG-INFO"
    raw = _read(place / name, METADATA_BYTES)
    if raw is None:
        return None
    headers = BytesHeaderParser().parsebytes(raw)
    named = str(headers.get("Name", "")).strip()[:512]
    if not named:
        return None
    version = str(headers.get("Version", "")).strip()[:200] or None
    requires = tuple(
        str(requirement)[:2000] for requirement in headers.get_all("Requires-Dist", [])
    )
    direct = _direct(place)
    return Package(
        name=named,
        version=version,
        requested=(place / "REQUESTED").exists(),
        requires_dist=requires[:MAX_REQUIREMENTS],
        **direct,
    )


def _direct(place: Path) -> dict[str, Any]:
    """Return where a distribution came from, if from no index (PEP 610)."""
    raw = _read(place / "direct_url.json", DIRECT_URL_BYTES)
    if raw is None:
        return {}
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError):
        return {"direct": True}
    if not isinstance(said, dict):
        return {"direct": True}
    found: dict[str, Any] = {"direct": True, "url": _text(said, "url")}
    vcs, folder, archive = (said.get(f"{form}_info") for form in ("vcs", "dir", "archive"))
    if isinstance(vcs, dict):
        found["vcs"] = Vcs(
            vcs=_text(vcs, "vcs") or "git",
            url=_text(said, "url"),
            requested_revision=_text(vcs, "requested_revision"),
            commit_id=_text(vcs, "commit_id"),
        )
    if isinstance(folder, dict):
        found["editable"] = folder.get("editable") is True
    if isinstance(archive, dict) and isinstance(archive.get("hashes"), dict):
        found["hashes"] = {
            name[:20]: text[:200]
            for name, text in archive["hashes"].items()
            if isinstance(text, str)
        }
    return found


def _text(document: dict[str, Any], name: str) -> str | None:
    value = document.get(name)
    return value[:2000] if isinstance(value, str) else None
