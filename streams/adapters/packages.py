"""What installers, locks and inventories say of packages, as package-install events."""

from __future__ import annotations

import hashlib
import posixpath
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from agents.checks.packages.requirements import Requirements, read_requirements
from agents.checks.packages.requirements_text import decode_requirements
from agents.checks.packages.versions import canonical_name
from schemas import dead_letters as reasons
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
from streams.adapters.payload import derived_id, moment, read_purl, refuse

PART_BYTES: Final = 900_000
"""Bytes of packages, requirements and lock in one event: below Kafka's default record limit."""
PART_ITEMS: Final = 15_000
PAYLOAD_LIMIT: Final = 256 << 20
PACKAGES_LIMIT: Final = 500_000
_TEXT_LIMIT: Final = 2048
_LINE_LIMIT: Final = 8000
Lock = dict[str, tuple[str, ...]]


class InstallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a producer's file does not say: where it ran and what it was allowed to fetch."""

    tenant: str | None = None
    source: str | None = None
    system: str | None = None
    image: str | None = None
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    lock: str | bytes | None = None
    """The text of a lock: hashed requirements, pylock.toml or uv.lock."""
    requirements: str | bytes | None = None
    """The text of the requirements that were asked for."""
    files: dict[str, str] = {}
    """Texts of files that requirements name by -r and -c."""
    identities: tuple[str, ...] = ()
    time: datetime | None = None
    received_ms: int | None = None
    part_bytes: int = PART_BYTES


class _Found(msgspec.Struct, kw_only=True):
    """What was read from a payload, before it is cut into events."""

    packages: list[Package] = []
    requirements: list[str] = []
    lock: Lock = {}
    installer: Installer = Installer()
    environment: Environment = Environment()
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    time: datetime | None = None
    system: str | None = None


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
    subdirectory: str | None = None


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


class _PipReport(msgspec.Struct):
    """Only what is kept: descriptions, classifiers and licences are skipped while reading."""

    install: list[_Installed]
    pip_version: str | None = None
    environment: dict[str, str] = {}


class _PipInspect(msgspec.Struct):
    installed: list[_Installed]
    pip_version: str | None = None
    environment: dict[str, str] = {}


_Reader = Callable[[bytes, InstallOptions], _Found]


def _install_adapter(kind: str, read: _Reader) -> Callable[..., list[Event[PackageInstall]]]:
    def adapted(
        payload: bytes | str | Mapping[str, Any],
        **options: Any,  # noqa: ANN401 -- see InstallOptions
    ) -> list[Event[PackageInstall]]:
        if isinstance(payload, str):
            raw = payload.encode()
        else:
            raw = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        if len(raw) > PAYLOAD_LIMIT:
            raise refuse(f"{len(raw):,} bytes exceed {PAYLOAD_LIMIT:,}", reasons.TOO_LARGE)
        known = {key: value for key, value in options.items() if key in _OPTIONS}
        given = InstallOptions(**known)
        try:
            found = read(raw, given)
        except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise refuse(f"not {kind}: {str(error)[:200]}") from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise refuse(f"not {kind}: an entry of the wrong shape ({error!r:.120})") from error
        return _events(kind, raw, found, given)

    adapted.__doc__ = f"Return the package-install events of a {kind} file."
    return adapted


_OPTIONS: Final = frozenset(InstallOptions.__struct_fields__)


def _events(
    kind: str, raw: bytes, found: _Found, options: InstallOptions
) -> list[Event[PackageInstall]]:
    if not options.tenant:
        raise refuse("no tenant is named", reasons.MISSING_IDENTITY)
    if len(found.packages) > PACKAGES_LIMIT:
        raise refuse(f"more than {PACKAGES_LIMIT:,} packages", reasons.TOO_LARGE)
    _add_options(found, options)
    time = options.time or found.time
    if time is None and options.received_ms is not None:
        time = datetime.fromtimestamp(options.received_ms / 1000, UTC)
    if time is None:
        raise refuse("it bears no time: give the option `time` or `received_ms`")
    system = options.system or found.system
    content = hashlib.sha256(raw).hexdigest()
    named = (options.tenant, system, options.image, content, found.index_url)
    batch = derived_id(f"{kind}-batch", *named)
    subject = f"host:{system}" if system else f"image:{options.image or 'unknown'}"
    parts = _parts(found, options.part_bytes)
    return [
        Event(
            id=derived_id(kind, *named, str(number)),
            source=options.source or f"//{kind}",
            type=TYPE_PACKAGE_INSTALL,
            subject=subject,
            time=time,
            tenantid=options.tenant,
            received_ms=options.received_ms or 0,
            data=PackageInstall(
                installer=found.installer,
                system=system,
                image=options.image,
                environment=found.environment,
                index_url=found.index_url,
                extra_index_urls=found.extra_index_urls,
                batch=Part(id=batch, part=number, parts=len(parts)),
                packages=tuple(part.packages),
                requirements=tuple(part.requirements),
                lock=part.lock,
                identities=options.identities,
            ),
        )
        for number, part in enumerate(parts, 1)
    ]


def _add_options(found: _Found, options: InstallOptions) -> None:
    """Add what the sender knows beside the file."""
    found.index_url = options.index_url or found.index_url
    found.extra_index_urls = (*options.extra_index_urls, *found.extra_index_urls)
    if options.lock is not None:
        for entry, digests in read_lock(options.lock).items():
            name, _, version = entry.partition("==")
            _lock_in(found.lock, name, version, digests)
    if options.requirements is not None:
        found.requirements.extend(_requirement_texts(_parsed(options.requirements, options.files)))


class _Piece(msgspec.Struct):
    packages: list[Package]
    requirements: list[str]
    lock: Lock

    def size(self) -> int:
        return len(msgspec.json.encode(self))


def _parts(found: _Found, limit: int) -> list[_Piece]:
    """Return the packages in parts below a size, each with its own requirements and lock."""
    whole = _Piece(found.packages, found.requirements, found.lock)
    count = len(found.packages) + len(found.requirements)
    if count <= PART_ITEMS and whole.size() <= limit:
        return [whole]
    pieces: dict[str, _Piece] = {}

    def piece(name: str) -> _Piece:
        return pieces.setdefault(canonical_name(name), _Piece([], [], {}))

    for package in found.packages:
        piece(package.name).packages.append(package)
    for text in found.requirements:
        end = next(
            (i for i, char in enumerate(text) if not (char.isalnum() or char in "-_.")), None
        )
        piece(text[:end] or "-").requirements.append(text)
    for entry, digests in found.lock.items():
        piece(entry.partition("==")[0]).lock[entry] = digests
    parts = [_Piece([], [], {})]
    used = items = 0
    for one in pieces.values():
        size = one.size()
        weight = len(one.packages) + len(one.requirements)
        if items and (used + size > limit or items + weight > PART_ITEMS):
            parts.append(_Piece([], [], {}))
            used = items = 0
        last = parts[-1]
        last.packages.extend(one.packages)
        last.requirements.extend(one.requirements)
        last.lock.update(one.lock)
        used, items = used + size, items + weight
    return parts


def _without_extras(entries: Iterable[str]) -> tuple[str, ...]:
    """Return the requirements that hold without an extra: what could have been installed."""
    return tuple(
        entry[:_TEXT_LIMIT]
        for entry in entries
        if "extra" not in entry.partition(";")[2].replace("extra_", "")
    )


def _filename(url: str) -> str | None:
    name = unquote(posixpath.basename(urlsplit(url).path))
    return name if name.endswith((".whl", ".gz", ".zip", ".bz2", ".xz", ".tar", ".egg")) else None


def _package(entry: _Installed) -> Package:
    download = entry.download_info or entry.direct_url
    fields: dict[str, Any] = {}
    if download is not None:
        fields["url"] = download.url or None
        fields["filename"] = _filename(download.url)
        archive = download.archive_info
        if archive is not None:
            fields["hashes"] = archive.hashes or _old_hash(archive.hash)
        if download.vcs_info is not None:
            fields["vcs"] = Vcs(
                vcs=download.vcs_info.vcs,
                url=download.url,
                commit_id=download.vcs_info.commit_id,
                # Nothing asked for is the default branch, which can move as any other.
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


def _pip_report(raw: bytes, _options: InstallOptions) -> _Found:
    report = msgspec.json.decode(raw, type=_PipReport)
    return _Found(
        packages=[_package(entry) for entry in report.install],
        installer=Installer(name="pip", version=report.pip_version),
        environment=_environment(report.environment),
    )


def _pip_inspect(raw: bytes, _options: InstallOptions) -> _Found:
    report = msgspec.json.decode(raw, type=_PipInspect)
    return _Found(
        packages=[_package(entry) for entry in report.installed],
        installer=Installer(name="pip", version=report.pip_version),
        environment=_environment(report.environment),
    )


class _File(msgspec.Struct, frozen=True):
    url: str | None
    digests: dict[str, str]


def _files(entry: Mapping[str, Any]) -> list[_File]:
    """Return the distributions of a lock's entry."""
    found = [*entry.get("wheels", ()), *([entry["sdist"]] if "sdist" in entry else [])]
    if isinstance(entry.get("archive"), dict):
        found.append(entry["archive"])
    files = []
    for one in found:
        digests = dict(one.get("hashes", {}))
        kind, colon, value = str(one.get("hash", "")).partition(":")
        if colon:
            digests[kind] = value
        files.append(_File(one.get("url") or one.get("path"), digests))
    return files


def _locked(files: Sequence[_File]) -> tuple[str, ...]:
    return tuple(
        f"{kind}:{value}" for file in files for kind, value in sorted(file.digests.items())
    )


def _lock_in(lock: Lock, name: str, version: str | None, digests: tuple[str, ...]) -> None:
    """Add the digests of a release, which a lock may name once for each index or marker."""
    if version and digests:
        entry = f"{canonical_name(name)}=={version}"
        lock[entry] = tuple(dict.fromkeys((*lock.get(entry, ()), *digests)))


def _from_files(files: Sequence[_File]) -> dict[str, Any]:
    """Return what a package of one file has; of several, which one is installed is not known."""
    if len(files) != 1:
        return {}
    url = files[0].url
    return {"url": url, "hashes": files[0].digests, "filename": _filename(url) if url else None}


def _vcs(entry: Mapping[str, Any]) -> Vcs:
    return Vcs(
        vcs=entry.get("type", "git"),
        url=entry.get("url"),
        commit_id=entry.get("commit-id"),
        requested_revision=entry.get("commit-id"),
    )


def _pylock_document(document: Mapping[str, Any]) -> _Found:
    found = _Found(installer=Installer(name=str(document.get("created-by", "pylock"))))
    for entry in document.get("packages", ()):
        version = entry.get("version")
        files = _files(entry)
        digests = _locked(files)
        _lock_in(found.lock, entry["name"], version, digests)
        fields = _from_files(files)
        if isinstance(entry.get("vcs"), dict):
            fields.update(vcs=_vcs(entry["vcs"]), url=entry["vcs"].get("url"), direct=True)
        elif isinstance(entry.get("archive"), dict):
            fields.update(direct=True, url=_with_digest(fields.get("url"), files))
        elif isinstance(entry.get("directory"), dict):
            fields.update(editable=bool(entry["directory"].get("editable")), direct=True)
        found.packages.append(
            Package(
                name=entry["name"],
                version=version,
                index_url=entry.get("index"),
                requires_dist=tuple(one["name"] for one in entry.get("dependencies", ())),
                attestations=(),
                **fields,
            )
        )
    return found


def _with_digest(url: str | None, files: Sequence[_File]) -> str | None:
    """Return a direct URL with the digest that its lock demands of it."""
    digest = files[0].digests.get("sha256") if files else None
    return f"{url}#sha256={digest}" if url and digest and "#" not in url else url


def _pylock(raw: bytes, _options: InstallOptions) -> _Found:
    document = tomllib.loads(raw.decode())
    if "lock-version" not in document:
        raise refuse("no lock-version: not a pylock.toml")
    return _pylock_document(document)


def _uv_document(document: Mapping[str, Any]) -> _Found:
    found = _Found(installer=Installer(name="uv"))
    wanted: set[str] = set()
    for entry in document.get("package", ()):
        source = entry.get("source", {})
        if source.get("virtual") == "." or source.get("editable") == ".":
            groups = entry.get("dev-dependencies", {}).values()
            for one in (*entry.get("dependencies", ()), *(one for many in groups for one in many)):
                wanted.add(canonical_name(one["name"]))
    for entry in document.get("package", ()):
        source = entry.get("source", {})
        if source.get("virtual") == "." or source.get("editable") == ".":
            continue
        version = entry.get("version")
        files = _files(entry)
        digests = _locked(files)
        _lock_in(found.lock, entry["name"], version, digests)
        fields = _from_files(files)
        if "git" in source:
            url, _, commit = str(source["git"]).partition("#")
            fields.update(
                direct=True,
                url=url,
                vcs=Vcs(url=url, commit_id=commit or None, requested_revision=commit or None),
            )
        elif "url" in source:
            fields.update(direct=True, url=_with_digest(source["url"], files))
        elif "editable" in source or "directory" in source or "path" in source:
            fields.update(direct=True, editable="editable" in source)
        found.packages.append(
            Package(
                name=entry["name"],
                version=version,
                requested=canonical_name(entry["name"]) in wanted,
                index_url=source.get("registry"),
                requires_dist=tuple(one["name"] for one in entry.get("dependencies", ())),
                **fields,
            )
        )
    return found


def _uv_lock(raw: bytes, _options: InstallOptions) -> _Found:
    document = tomllib.loads(raw.decode())
    if not isinstance(document.get("package"), list):
        raise refuse("no packages: not a uv.lock")
    return _uv_document(document)


def read_lock(text: str | bytes) -> Lock:
    """Return the digests of a lock by `name==version`.

    Args:
        text: Hashed requirements, pylock.toml or uv.lock.
    """
    content = text if isinstance(text, str) else decode_requirements(text)
    try:
        document = tomllib.loads(content)
    except tomllib.TOMLDecodeError:
        return _requirements_lock(read_requirements(content))
    if "lock-version" in document:
        return _pylock_document(document).lock
    if isinstance(document.get("package"), list):
        return _uv_document(document).lock
    return _requirements_lock(read_requirements(content))


def _requirements_lock(parsed: Requirements) -> Lock:
    lock: Lock = {}
    for line in parsed.lines:
        if line.name:
            _lock_in(lock, line.name, line.version, line.hashes)
    return lock


def _parsed(text: str | bytes, files: Mapping[str, str]) -> Requirements:
    content = text if isinstance(text, str) else decode_requirements(text)
    parsed = read_requirements(content, file="requirements.txt", files=files)
    if parsed.cut:
        raise refuse("more requirement lines than are read", reasons.TOO_LARGE)
    return parsed


def _requirement_texts(parsed: Requirements) -> list[str]:
    # A line with dozens of hashes is too long for an event: its lock holds them all.
    return [
        line.text if len(line.text) <= _LINE_LIMIT else line.text.partition(" --hash")[0]
        for line in parsed.lines
        if not line.constraint
    ]


def _requirements(raw: bytes, options: InstallOptions) -> _Found:
    parsed = _parsed(raw, options.files)
    found = _Found(
        requirements=_requirement_texts(parsed),
        lock=_requirements_lock(parsed),
        index_url=next(iter(parsed.option_values("index-url")[-1:]), None),
        extra_index_urls=parsed.option_values("extra-index-url"),
    )
    for line in parsed.lines:
        if not line.is_requirement or line.constraint or not line.name:
            continue
        digests = [text for text in line.hashes if text.startswith("sha256:")]
        found.packages.append(
            Package(
                name=line.name,
                version=line.version,
                requested=True,
                direct=line.url is not None,
                editable=line.editable,
                url=line.url,
                hashes={"sha256": digests[0][7:]} if len(digests) == 1 else {},
                vcs=Vcs(vcs=line.vcs, url=line.url, commit_id=line.commit) if line.vcs else None,
            )
        )
    return found


def _cyclonedx(raw: bytes, _options: InstallOptions) -> _Found:
    document = msgspec.json.decode(raw)
    if not isinstance(document, dict) or document.get("bomFormat") != "CycloneDX":
        raise refuse("no bomFormat CycloneDX")
    metadata = document.get("metadata") or {}
    tools = metadata.get("tools") or []
    first = (tools.get("components") if isinstance(tools, dict) else tools) or [{}]
    found = _Found(
        installer=Installer(name=first[0].get("name"), version=first[0].get("version")),
        time=moment(metadata.get("timestamp")),
    )
    names: dict[str, str] = {}
    for component in document.get("components", ()):
        purl = read_purl(component.get("purl") or "")
        if purl is not None and purl.type == "pypi":
            names[component.get("bom-ref") or component["purl"]] = purl.name
    edges = {
        one.get("ref"): tuple(names[ref] for ref in one.get("dependsOn", ()) if ref in names)
        for one in document.get("dependencies", ())
    }
    root = (metadata.get("component") or {}).get("bom-ref")
    wanted = set(edges.get(root, ()))
    for component in document.get("components", ()):
        ref = component.get("bom-ref") or component.get("purl")
        if ref not in names:
            continue
        version = component.get("version")
        files = _distributions(component)
        digests = _locked(files)
        _lock_in(found.lock, names[ref], version, digests)
        found.packages.append(
            Package(
                name=names[ref],
                version=version,
                requested=names[ref] in wanted,
                requires_dist=edges.get(ref, ()),
                **_from_files(files),
            )
        )
    return found


def _distributions(component: Mapping[str, Any]) -> list[_File]:
    """Return the files that a component names, each with one digest of each kind.

    cyclonedx-py lists the hashes of all files of a requirement under one reference.
    """
    files: list[_File] = []
    for reference in component.get("externalReferences", ()):
        if reference.get("type") != "distribution":
            continue
        for one in reference.get("hashes", ()):
            kind = str(one.get("alg", "")).replace("-", "").lower()
            files.append(_File(reference.get("url"), {kind: str(one.get("content", "")).lower()}))
    own = {
        str(one.get("alg", "")).replace("-", "").lower(): str(one.get("content", "")).lower()
        for one in component.get("hashes", ())
    }
    return [*files, _File(None, own)] if own else files


adapt_pip_report = _install_adapter("pip-report", _pip_report)
adapt_pip_inspect = _install_adapter("pip-inspect", _pip_inspect)
adapt_pylock = _install_adapter("pylock", _pylock)
adapt_uv_lock = _install_adapter("uv-lock", _uv_lock)
adapt_requirements = _install_adapter("requirements", _requirements)
adapt_cyclonedx = _install_adapter("cyclonedx", _cyclonedx)
