"""Component keys: how a model, package, dataset, digest, domain or publisher is named."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from schemas.errors import TidewatchError


class ComponentKind(StrEnum):
    """The kinds of component, as the prefixes of their keys name them."""

    MODEL = "model"
    DATASET = "dataset"
    PYPI = "pypi"
    IMAGE = "image"
    SERVICE = "service"
    DEPLOYMENT = "deployment"
    DOMAIN = "domain"
    PUBLISHER = "publisher"
    SHA256 = "sha256"
    TREE = "tree"
    PIPELINE = "pipeline"


PREFIXES: Final = frozenset(ComponentKind)
_LOWER_CASE: Final = frozenset({ComponentKind.SHA256, ComponentKind.TREE, ComponentKind.DOMAIN})
KEY_LIMIT: Final = 512
"""Characters of a component key; longer names are cut and marked with their hash."""
_SEPARATORS: Final = re.compile(r"[-_.]+")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MARK: Final = 24
_MISREAD: Final = re.compile(r"[/@\s\x00-\x1f\x7f]")
"""Separators that would split a tenant's name in a key."""


class InvalidComponentError(TidewatchError):
    """A component key that can't be read."""


def canonical_package(name: str) -> str:
    """Return a package name as PEP 503 normalises it."""
    return _SEPARATORS.sub("-", name.strip()).lower()


def is_sha256(text: str) -> bool:
    """Return whether `text` is a SHA-256 in lower-case hex."""
    return _SHA256.fullmatch(text) is not None


def component_key(prefix: str, name: str) -> str:
    """Return the key of a component: the prefix and the name in its canonical form.

    Args:
        prefix: One of `PREFIXES`.
        name: The name; packages are normalised (PEP 503), digests and domains lower-cased.

    Raises:
        InvalidComponentError: unknown prefix or empty name.
    """
    if prefix not in PREFIXES:
        raise InvalidComponentError(
            f"unknown component kind {prefix!r}",
            remedy=f"use one of {', '.join(sorted(PREFIXES))}",
        )
    if prefix == ComponentKind.PYPI:
        name = canonical_package(name)
    elif prefix in _LOWER_CASE:
        name = name.strip().lower().rstrip(".")
    else:
        name = name.strip()
    if not name:
        raise InvalidComponentError("empty component name", where=prefix)
    if len(name) > KEY_LIMIT:
        mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_MARK]
        name = f"{name[: KEY_LIMIT - _MARK - 1]}~{mark}"
    return f"{prefix}:{name}"


def split_key(key: str) -> tuple[str, str]:
    """Return the prefix and the name of a component key.

    Raises:
        InvalidComponentError: no known prefix, or no name.
    """
    prefix, colon, name = key.partition(":")
    if not colon or prefix not in PREFIXES or not name:
        raise InvalidComponentError(
            f"not a component key: {key[:80]!r}",
            remedy="write it as kind:name, for instance pypi:numpy",
        )
    return prefix, name


def split_version(key: str) -> tuple[str, str | None]:
    """Return the component key and the version of `<key>@<version>`; None without a version.

    An `@` that opens the name (`pypi:@tenant/name`, `model:@acme/x`) is part of the name.
    """
    start = key.find(":") + 2
    at = key.find("@", start)
    if at < 0:
        return key, None
    return key[:at], key[at + 1 :] or None


def normalise_key(key: str) -> str:
    """Return `key` in canonical form.

    Raises:
        InvalidComponentError: not a component key.
    """
    return component_key(*split_key(key))


def tenant_part(tenant: str) -> str:
    """Return a tenant as part of a key: itself, or a hash of it where that could be misread.

    No tenant can choose a name that reads as another's: what holds a separator is hashed, and so is
    what looks like such a hash.
    """
    if tenant and not tenant.startswith("~") and _MISREAD.search(tenant) is None:
        return tenant
    return f"~{hashlib.sha256(tenant.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def tenant_scoped(key: str, tenant: str) -> str:
    """Return the key of a name that means something in one tenant only."""
    prefix, name = split_key(key)
    return f"{prefix}:@{tenant_part(tenant)}/{name}"


def digest_of_files(files: Mapping[str, str] | Iterable[tuple[str, str]]) -> str:
    """Return the digest of a component of several files; of one file, its own.

    Args:
        files: Paths and their SHA-256 in hex.

    Returns:
        SHA-256 over the sorted lines `path NUL hex LF`, in hex.
    """
    pairs: list[tuple[str, str]] = sorted(files.items() if isinstance(files, Mapping) else files)
    if len(pairs) == 1:
        return pairs[0][1]
    digest = hashlib.sha256()
    for path, value in pairs:
        digest.update(path.encode("utf-8", "surrogatepass") + b"\0" + value.encode() + b"\n")
    return digest.hexdigest()
