"""Find components in a store, and refuse names and links that lead out of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from agents.response.anchors import opened
from agents.response.config import StoreConfig
from agents.response.durable import STAGING
from agents.response.inventory import InventoryFile, digest_of, inventory
from agents.response.outcome import ABSENT, BAD, REFUSED, NotCarriedOutError
from schemas.components import ComponentKind, InvalidComponentError, split_key
from schemas.incidents.commands import CommandSpec

VERSIONS: Final = "versions"
CURRENT: Final = "current"
MAX_VERSIONS: Final = 10_000
"""Most children of a folder of versions, or of a loose folder."""
_PART: Final = re.compile(r"[^\x00-\x1f\x7f/\\]{1,255}")


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A component, or a version of it, in the store."""

    path: Path
    files: tuple[InventoryFile, ...]

    @property
    def digest(self) -> str | None:
        """The component's digest, or None if it holds links or devices."""
        return digest_of(self.files)


def component_of(spec: CommandSpec) -> str:
    """Return the key of a command's component, without version or digest."""
    for ending in (f"@{spec.version}", f"#{spec.digest}"):
        if spec.target.endswith(ending):
            return spec.target[: -len(ending)]
    return spec.target


def local_name(spec: CommandSpec) -> tuple[str, str]:
    """Return the kind and name of a command's component, without the tenant.

    Raises:
        NotCarriedOutError: The target is not a component, or belongs to another tenant.
    """
    try:
        kind, name = split_key(component_of(spec))
    except InvalidComponentError as error:
        raise NotCarriedOutError(BAD, error.what) from error
    if name.startswith("@"):
        tenant, _, name = name[1:].partition("/")
        if tenant != spec.tenant:
            raise NotCarriedOutError(REFUSED, "the component is another tenant's")
    return kind, name


def base_of(spec: CommandSpec, store: StoreConfig) -> Path | None:
    """Return the folder or file of a command's component, or None if the store has no such kind.

    Raises:
        NotCarriedOutError: The name or a link leads out of the store.
    """
    kind, name = local_name(spec)
    mapped = _mapped(spec, store)
    if mapped is not None:
        return confined(Path(os.path.realpath(mapped.parent)) / mapped.name)
    if kind != ComponentKind.MODEL:
        return None
    return confined(Path(os.path.realpath(store.root)).joinpath(*map(_name, name.split("/"))))


def _mapped(spec: CommandSpec, store: StoreConfig) -> Path | None:
    kind, name = local_name(spec)
    return store.components.get(component_of(spec)) or store.components.get(f"{kind}:{name}")


def version_folder(base: Path, version: str) -> Path:
    """Return the folder of a version; a `/` in its name is written `%2F`."""
    return confined(base / VERSIONS / _part(quote(version, safe="@+:~ ")))


def confined(path: Path) -> Path:
    """Return `path` if neither it nor a folder above it is a link.

    This is an early check; actions hold the path open (`agents.response.anchors`).

    Raises:
        NotCarriedOutError: It, or a folder above it, is a link.
    """
    if os.path.realpath(path) != str(path):
        raise NotCarriedOutError(REFUSED, "the path contains a link", where=str(path))
    return path


def find(spec: CommandSpec, store: StoreConfig) -> list[Held]:
    """Find a command's component in the store: by digest, else by version, else all versions.

    A digest takes precedence: a tag may point to other content by now.

    Raises:
        NotCarriedOutError: The component is missing, or has other content.
    """
    base = base_of(spec, store)
    if base is not None and spec.version is not None and spec.digest is not None:
        # the named version usually matches: then no other is read
        named = version_folder(base, spec.version)
        if os.path.lexists(named):
            held = Held(path=named, files=inventory(named))
            if _is(held, spec.digest):
                return [held]
    found = [Held(path=path, files=inventory(path)) for path in _candidates(spec, store, base)]
    if spec.digest is None:
        if found:
            return found
    else:
        same = [held for held in found if _is(held, spec.digest)]
        if same:
            return same
        if found:
            raise NotCarriedOutError(
                ABSENT,
                "the component is here, but nothing of it has that digest",
                where=spec.target[:200],
            )
    raise NotCarriedOutError(ABSENT, "the component is not here", where=spec.target[:200])


def _is(held: Held, digest: str) -> bool:
    return held.digest == digest or any(entry.sha256 == digest for entry in held.files)


def _candidates(spec: CommandSpec, store: StoreConfig, base: Path | None) -> Iterator[Path]:
    if base is not None and (base / VERSIONS).is_dir():
        if spec.digest is None and spec.version is not None:
            folder = version_folder(base, spec.version)
            if os.path.lexists(folder):
                yield folder
        else:
            yield from children(confined(base / VERSIONS))
    elif base is not None and _mapped(spec, store) is not None and os.path.lexists(base):
        # an unmapped folder without versions may hold all models of a publisher
        if spec.digest is None and spec.version is not None:
            raise NotCarriedOutError(
                BAD,
                "the store does not say which version is here: name the digest",
                where=str(base),
            )
        yield base
    if spec.digest is not None:
        for loose in store.loose:
            yield from children(Path(os.path.realpath(loose)))


def children(folder: Path) -> list[Path]:
    """Return the children of a folder in order, without links and temporary names.

    Args:
        folder: Absolute, and without links.

    Raises:
        NotCarriedOutError: More than `MAX_VERSIONS`, or a link leads there.
    """
    found: list[Path] = []
    with opened(folder) as held, os.scandir(held) as entries:
        for entry in entries:
            if entry.name.startswith(STAGING) or entry.is_symlink():
                continue
            found.append(folder / entry.name)
            if len(found) > MAX_VERSIONS:
                raise NotCarriedOutError(BAD, f"more than {MAX_VERSIONS} in it", where=str(folder))
    return sorted(found)


def _name(part: str) -> str:
    if part in {VERSIONS, CURRENT}:
        raise NotCarriedOutError(REFUSED, "the name leads into another component", where=part)
    return _part(part)


def _part(name: str) -> str:
    if name in {".", ".."} or name.startswith(STAGING) or not _PART.fullmatch(name):
        raise NotCarriedOutError(REFUSED, "the name leads out of the store", where=name[:80])
    return name
