"""Remote locations to scan: hubs, registries, stores and servers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from urllib.parse import urlsplit

import msgspec

from agents.fetching.fetch_scope import Credentials, FetchRules, Reach, parse_location
from agents.fetching.fetcher import Fetcher
from streams.scanning.targets import LOCAL_TENANT, Target

_HUB_REPOSITORY = 2
"""Slashes in `/organisation/name@revision`; further ones lead to a file."""


def local_fetcher(uri: str, rules: FetchRules, credentials: Credentials | None) -> Fetcher:
    """Return a fetcher that can reach only the location that the user named.

    The host may be private: the user chose it, not an event.
    """
    root = parse_location(uri)
    if root.scheme == "hf":
        # a branch or tag is listed at its commit, which the locations of the files name
        root = msgspec.structs.replace(root, path=root.path.partition("@")[0])
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
            roots=(root,),
            credentials=credentials,
        )
    )


def remote_targets(uri: str, fetcher: Fetcher) -> Iterator[Target]:
    """Yield the files of a location: of a repository, folder or prefix, or the one file it is.

    Raises:
        FetchError: it can't be fetched.
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
