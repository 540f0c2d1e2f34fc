"""pip's own reports: `install --report`, `inspect`, and `list` as JSON or as a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from schemas.events import Environment, Installer, Package, Vcs
from streams.adapters.manifests.found import Found, InstallOptions, filename_of
from streams.adapters.payload import refuse

_TEXT_LIMIT: Final = 2048
_DOCUMENT: Final = re.compile(rb"^[{\[].*^[}\]]", re.MULTILINE | re.DOTALL)


class _Archive(msgspec.Struct):
    hashes: dict[str, str] = {}
    hash: str | None = None


class _VcsInfo(msgspec.Struct):
    vcs: str = "git"
    commit_id: str | None = None
    requested_revision: str | None = None


class _DirInfo(msgspec.Struct):
    editable: bool = False


class _Download(msgspec.Struct):
    url: str = ""
    archive_info: _Archive | None = None
    vcs_info: _VcsInfo | None = None
    dir_info: _DirInfo | None = None


class _Metadata(msgspec.Struct):
    name: str
    version: str | None = None
    requires_dist: list[str] = []


class _Installed(msgspec.Struct):
    metadata: _Metadata
    download_info: _Download | None = None
    direct_url: _Download | None = None
    is_direct: bool = False
    is_yanked: bool = False
    requested: bool = False
    provenance: dict[str, Any] | None = None


class _Listed(msgspec.Struct):
    name: str
    version: str | None = None
    editable_project_location: str | None = None


_LISTS: Final = msgspec.json.Decoder(list[_Listed])


class _PipReport(msgspec.Struct):
    """Only what is kept: descriptions, classifiers and licences are skipped while reading."""

    install: list[_Installed]
    pip_version: str | None = None
    environment: dict[str, str] = {}


_REPORTS: Final = msgspec.json.Decoder(_PipReport)


class _PipInspect(msgspec.Struct):
    installed: list[_Installed]
    pip_version: str | None = None
    environment: dict[str, str] = {}


_INSPECTIONS: Final = msgspec.json.Decoder(_PipInspect)


def _without_extras(entries: Iterable[str]) -> tuple[str, ...]:
    """Return the requirements that hold without an extra: what could have been installed."""
    return tuple(
        entry[:_TEXT_LIMIT]
        for entry in entries
        if "extra" not in entry.partition(";")[2].replace("extra_", "")
    )


def _package(entry: _Installed) -> Package:
    download = entry.download_info or entry.direct_url
    fields: dict[str, Any] = {}
    if download is not None:
        fields["url"] = download.url or None
        fields["filename"] = filename_of(download.url)
        archive = download.archive_info
        if archive is not None:
            fields["hashes"] = archive.hashes or _old_hash(archive.hash)
        if download.vcs_info is not None:
            fields["vcs"] = Vcs(
                vcs=download.vcs_info.vcs,
                url=download.url,
                commit_id=download.vcs_info.commit_id,
                # No requested revision means the default branch, which is mutable.
                requested_revision=download.vcs_info.requested_revision or "HEAD",
            )
        fields["editable"] = download.dir_info is not None and download.dir_info.editable
    return Package(
        name=entry.metadata.name,
        version=entry.metadata.version,
        requested=entry.requested,
        direct=entry.is_direct or entry.direct_url is not None,
        yanked=entry.is_yanked,
        requires_dist=_without_extras(entry.metadata.requires_dist),
        attestations=(entry.provenance,) if entry.provenance else (),
        **fields,
    )


def _old_hash(text: str | None) -> dict[str, str]:
    kind, equals, value = (text or "").partition("=")
    return {kind: value} if equals else {}


def _environment(values: Mapping[str, str]) -> Environment:
    return Environment(
        python_version=values.get("python_full_version") or values.get("python_version"),
        platform=values.get("sys_platform"),
    )


def _document(raw: bytes) -> bytes:
    """Return the JSON of a report: without --quiet, pip prints its progress before and after it."""
    if raw.lstrip()[:1] in {b"{", b"["}:
        return raw
    found = _DOCUMENT.search(raw)
    if found is None:
        raise refuse("no JSON in it: run pip with --quiet")
    return found[0]


def read_report(raw: bytes, _options: InstallOptions) -> Found:
    """Return the packages that pip would install, or has installed, from its report."""
    report = _REPORTS.decode(_document(raw))
    return _found(report.install, report.pip_version, report.environment)


def read_inspect(raw: bytes, _options: InstallOptions) -> Found:
    """Return the packages of an environment."""
    report = _INSPECTIONS.decode(_document(raw))
    return _found(report.installed, report.pip_version, report.environment)


def _found(
    installed: list[_Installed], version: str | None, environment: Mapping[str, str]
) -> Found:
    return Found(
        packages=[_package(entry) for entry in installed],
        installer=Installer(name="pip", version=version),
        environment=_environment(environment),
    )


def read_list(raw: bytes, _options: InstallOptions) -> Found:
    """Return the packages of a list, in JSON or as a table."""
    is_json = raw.lstrip()[:1] == b"["
    listed = _LISTS.decode(raw) if is_json else list(_columns(raw.decode()))
    return Found(
        packages=[
            Package(
                name=item.name,
                version=item.version,
                editable=item.editable_project_location is not None,
                direct=item.editable_project_location is not None,
            )
            for item in listed
        ],
        installer=Installer(name="pip"),
    )


def _columns(text: str) -> Iterator[_Listed]:
    """Yield the rows of pip's table: name, version, and the folder of an editable project."""
    lines = iter(text.splitlines())
    heading = next((line for line in lines if line.split()[:2] == ["Package", "Version"]), None)
    if heading is None or not next(lines, "").startswith("-"):
        raise refuse("no table of pip list")
    place = heading.find("Editable project location")
    for line in lines:
        words = line.split()
        if len(words) < 2:  # noqa: PLR2004 -- name and version
            break
        location = line[place:].strip() if 0 < place < len(line) else None
        yield _Listed(name=words[0], version=words[1], editable_project_location=location or None)
