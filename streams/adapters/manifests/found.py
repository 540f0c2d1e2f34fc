"""The contents of a manifest, and the options of its sender."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from agents.checks.packages.versions import canonical_name
from schemas.events import Environment, Installer, Package

PART_BYTES: Final = 900_000
"""Bytes of packages, requirements and lock in one event: below Kafka's default record limit."""
ARCHIVES: Final = (".whl", ".gz", ".zip", ".bz2", ".xz", ".tar", ".egg")
"""Endings of distributions."""
Lock = dict[str, tuple[str, ...]]
"""Digests by `name==version`."""


class InstallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Facts that the file lacks: where the install ran, and its allowed sources."""

    tenant: str | None = None
    source: str | None = None
    system: str | None = None
    image: str | None = None
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    lock: str | bytes | None = None
    """The text of a lock: hashed requirements, pylock.toml or uv.lock."""
    requirements: str | bytes | None = None
    """The text of the requested requirements."""
    path: str = ""
    """The path of the file among `files`: paths in it are relative to it."""
    files: Mapping[str, str] = {}
    """Texts of files that it may name, by path."""
    identities: tuple[str, ...] = ()
    time: datetime | None = None
    received_ms: int | None = None
    part_bytes: int = PART_BYTES


class Found(msgspec.Struct, kw_only=True):
    """The contents of a manifest, before it is split into events."""

    packages: list[Package] = []
    requirements: list[str] = []
    lock: Lock = {}
    installer: Installer = Installer()
    environment: Environment = Environment()
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    time: datetime | None = None
    system: str | None = None
    foreign: dict[str, list[str]] = {}
    """Names of packages of other ecosystems, which are not checked, by ecosystem."""
    unsupported: list[str] = []
    """Other parts that are recognised but not checked, each with location and reason."""
    incomplete: list[str] = []
    """Parts that could not be read, each with location and reason."""

    def add_foreign(self, ecosystem: str, name: str) -> None:
        """Record a package that is not checked."""
        self.foreign.setdefault(ecosystem, []).append(name)

    def add_locked(self, package: Package, digests: tuple[str, ...]) -> None:
        """Add a package of a lock whose format lists hashes: without one, nothing fixes its file.

        Args:
            package: The package.
            digests: Of its files.
        """
        lock_in(self.lock, package.name, package.version, digests)
        if package.version and not digests and not package.direct:
            self.lock.setdefault(f"{canonical_name(package.name)}=={package.version}", ())
        self.packages.append(package)

    def add_installed(self, installed: Found) -> None:
        """Add what the manifest's own commands install.

        Args:
            installed: The packages of these commands, read by themselves.
        """
        self.packages += installed.packages
        self.requirements += installed.requirements
        self.incomplete += installed.incomplete
        self.extra_index_urls += installed.extra_index_urls
        for ecosystem, names in installed.foreign.items():
            self.foreign.setdefault(ecosystem, []).extend(names)

    def unchecked(self) -> list[str]:
        """Return the parts that are recognised but not checked, each in one line."""
        lines = []
        for ecosystem, names in sorted(self.foreign.items()):
            listed = ", ".join(dict.fromkeys(names[:_SHOWN]))
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            noun = "package" if len(names) == 1 else "packages"
            lines.append(f"{len(names)} {noun} of {ecosystem} not checked: {listed}{more}")
        return [*lines, *self.unsupported]


_SHOWN: Final = 5
ReadManifest = Callable[[bytes, InstallOptions], Found]
"""Returns the contents of a manifest of one kind."""


class Distribution(msgspec.Struct, frozen=True):
    """One distribution that a lock or inventory names."""

    url: str | None
    digests: dict[str, str]


def digests_of(files: Sequence[Distribution]) -> tuple[str, ...]:
    """Return the digests of all files, as `algorithm:hex`."""
    return tuple(
        f"{kind}:{value}" for file in files for kind, value in sorted(file.digests.items())
    )


def lock_in(lock: Lock, name: str, version: str | None, digests: tuple[str, ...]) -> None:
    """Add the digests of a release, which a lock may name once for each index or marker."""
    if version and digests:
        entry = f"{canonical_name(name)}=={version}"
        lock[entry] = tuple(dict.fromkeys((*lock.get(entry, ()), *digests)))


def from_files(files: Sequence[Distribution]) -> dict[str, Any]:
    """Return the details of a package of one file; of several, the installed one is not known."""
    if len(files) != 1:
        return {}
    url = files[0].url
    return {"url": url, "hashes": files[0].digests, "filename": filename_of(url) if url else None}


def filename_of(url: str) -> str | None:
    """Return the name of the distribution that a URL leads to, None if it leads to none."""
    name = unquote(posixpath.basename(urlsplit(url).path))
    return name if name.endswith(ARCHIVES) else None


def with_digest(url: str | None, files: Sequence[Distribution]) -> str | None:
    """Return a direct URL with the digest that its lock demands of it."""
    digest = files[0].digests.get("sha256") if files else None
    return f"{url}#sha256={digest}" if url and digest and "#" not in url else url


def table(value: Any) -> dict[str, Any]:  # noqa: ANN401 -- any value of TOML, YAML or JSON
    """Return a mapping unchanged, and anything else, such as null, as an empty one."""
    return value if isinstance(value, dict) else {}


def entries(value: Any) -> list[dict[str, Any]]:  # noqa: ANN401 -- any value of TOML, YAML or JSON
    """Return the mappings in a list; none for anything else, such as null."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def texts(value: Any) -> list[str]:  # noqa: ANN401 -- any value of TOML, YAML or JSON
    """Return the texts in a list; none for anything else, such as null."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def word(value: Any) -> str | None:  # noqa: ANN401 -- any value of TOML, YAML or JSON
    """Return a text or a plain number as text; None for anything else or empty text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).strip() or None
