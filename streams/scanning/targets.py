"""What a user names to be scanned: files, folders and locations, as things that can be opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from agents.checks.fetching.errors import FetchError
from agents.checks.fetching.fetcher import Fetcher
from agents.checks.fetching.reach import Credentials, FetchRules, Reach, parse_location
from agents.checks.fetching.sources import DescriptorSource, OpenSource

LOCAL_TENANT = "local"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One file, where it is, and the paths beside it."""

    path: str
    """As reported."""
    name: str
    """Within its folder or repository."""
    open: Callable[[], OpenSource]
    siblings: frozenset[str] = frozenset()
    local: Path | None = None
    """Where it lies on this machine, for the sandbox to open."""


def is_location(text: str) -> bool:
    """Tell whether a user's argument is a URI and not a path."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme.isascii() and scheme.replace("+", "").isalnum()


def open_local(path: Path) -> OpenSource:
    """Open a regular file of this machine; the user's own links are followed.

    Raises:
        FetchError: absent, not readable, or no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise FetchError(f"can't be opened ({error.strerror})", where=str(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FetchError("not a regular file", where=str(path))
    return DescriptorSource(descriptor)


def local_targets(path: Path) -> Iterator[Target]:
    """Yield a file, or all files below a folder, in order of their paths.

    Folders reached through links are not entered: they may lead round in a circle.
    """
    if not path.is_dir():
        yield Target(path=str(path), name=path.name, open=partial(open_local, path), local=path)
        return
    found: list[Path] = []
    for folder, folders, names in os.walk(path):
        folders.sort()
        found += [Path(folder, name) for name in names]
    siblings = frozenset(one.relative_to(path).as_posix() for one in found)
    for one in sorted(found):
        yield Target(
            path=str(one),
            name=one.relative_to(path).as_posix(),
            open=partial(open_local, one),
            siblings=siblings,
            local=one,
        )


def local_fetcher(uri: str, rules: FetchRules, credentials: Credentials | None) -> Fetcher:
    """Return a fetcher that reaches what the user named and nothing else.

    Its own host may be private: the user, and no event, chose it.
    """
    location = parse_location(uri)
    host = urlsplit(uri).hostname or ""
    hub = urlsplit(rules.hub).hostname or ""
    return Fetcher(
        Reach(
            tenant=LOCAL_TENANT,
            rules=msgspec.structs.replace(
                rules,
                schemes=rules.schemes | {"http"},
                private_hosts=(*rules.private_hosts, host, hub),
            ),
            roots=(location,),
            credentials=credentials,
        )
    )


def remote_targets(uri: str, fetcher: Fetcher) -> Iterator[Target]:
    """Yield the files of a location: of a repository, folder or prefix, or the one file it is.

    Raises:
        FetchError: it can't be had.
    """
    location = parse_location(uri)
    is_file = (location.scheme == "hf" and location.path.count("/") > _HUB_REPOSITORY) or (
        location.scheme == "oci" and location.fragment == "blob"
    )
    listed = location.scheme in {"hf", "oci"} or (
        location.scheme in {"s3", "file"} and uri.endswith("/")
    )
    if is_file or not listed:
        name = location.path.rpartition("/")[2] or location.host
        yield Target(path=uri, name=name, open=partial(fetcher.open, uri))
        return
    files = fetcher.listing(uri)
    siblings = frozenset(file.path for file in files)
    for file in files:
        place = file.uri or ""
        yield Target(
            path=place if location.scheme != "oci" else f"{uri}/{file.path}",
            name=file.path,
            open=partial(fetcher.open, place),
            siblings=siblings,
        )


_HUB_REPOSITORY = 2
"""Slashes in `/organisation/name@revision`; further ones lead to a file."""
