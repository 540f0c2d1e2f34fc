"""Open and list artifacts by URI within a tenant's fetch scope."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self
from urllib.parse import quote

import msgspec

from agents.fetching.addresses import Resolver, system_resolver
from agents.fetching.errors import FetchError
from agents.fetching.fetch_scope import Location, Reach
from agents.fetching.fsspec_store import open_store
from agents.fetching.http import HttpClient, bearer
from agents.fetching.hub import Hub
from agents.fetching.local import list_below, open_below
from agents.fetching.mlflow import MlflowRegistry
from agents.fetching.object_store import ObjectStore
from agents.fetching.oci import OciRegistry
from agents.fetching.sources import OpenSource
from schemas.events import LARGE, File


class Fetcher:
    """Reads artifacts for one tenant; keeps connections until closed."""

    def __init__(self, reach: Reach, resolve: Resolver = system_resolver) -> None:
        """Start without connections.

        Args:
            reach: The tenant's allow-list.
            resolve: Resolves names; the operating system by default.
        """
        self.reach = reach
        self._http = HttpClient(reach, resolve)
        self._hub = Hub(reach, self._http)
        self._registry = OciRegistry(reach, self._http)
        self._mlflow = MlflowRegistry(reach, self._http)
        self._store = ObjectStore(reach, self._http)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close all connections."""
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def open(self, uri: str) -> OpenSource:
        """Open a URI as a source; the caller closes it.

        Raises:
            RefusedError: the URI is outside the tenant's fetch scope.
            FetchError: the fetch failed.
        """
        location = self.reach.admit(uri)
        match location.scheme:
            case "file":
                return open_below(self._root(location), location)
            case "http" | "https":
                return self._http.open(location, sign=bearer(self.reach))
            case "s3":
                return self._store.open(location)
            case "hf":
                return self._hub.open(location)
            case "oci":
                return self._registry.open(location)
            case "mlflow":
                return self._mlflow.open(location)
            case _:
                return open_store(self.reach, location)

    def listing(self, uri: str) -> tuple[File, ...]:
        """Return the files of a folder, bucket prefix, or a version that a registry has.

        An impossible size in a server's answer counts as unknown.

        Raises:
            RefusedError: the URI is outside the tenant's fetch scope.
            FetchError: the fetch failed, or the scheme has no listings.
        """
        return tuple(
            file
            if file.size is None or 0 <= file.size <= LARGE
            else msgspec.structs.replace(file, size=None)
            for file in self._listing(uri)
        )

    def _listing(self, uri: str) -> tuple[File, ...]:
        location = self.reach.admit(uri)
        match location.scheme:
            case "hf":
                return self._hub.listing(location)
            case "oci":
                return self._registry.listing(location)
            case "mlflow":
                if self._mlflow.is_proxied(location):
                    return self._mlflow.listing(location)
                # elsewhere the tenant's own fetch scope decides about its artifacts
                return self._stored(self._mlflow.place(location))
            case "s3":
                return _files(location, self._store.listing(location))
            case "file":
                return _files(location, list_below(self._root(location), location))
            case _:
                raise FetchError(f"{location.scheme} has no listings", where=location.uri[:200])

    def _stored(self, uri: str) -> tuple[File, ...]:
        """Return the files at a location that a registry names, which must be below a root too."""
        if self.reach.admit(uri).scheme == "mlflow":
            raise FetchError("the registry refers to another registry", where=uri[:200])
        return self._listing(uri)

    def is_published(self, uri: str) -> bool:
        """Return whether the content read is public under an immutable name.

        Only a commit of the operator's hub can be: elsewhere a name means whatever the tenant's
        host serves.

        Raises:
            RefusedError: the URI is outside the tenant's fetch scope.
            FetchError: the hub does not say.
        """
        location = self.reach.admit(uri)
        return location.scheme == "hf" and self._hub.is_published(location)

    def _root(self, location: Location) -> Location:
        root = self.reach.root_of(location)
        assert root is not None, "admitted, so under a root"
        return root


def _files(location: Location, entries: Iterable[tuple[str, int | None]]) -> tuple[File, ...]:
    base = location.uri.rstrip("/")
    return tuple(File(path=path, uri=f"{base}/{quote(path)}", size=size) for path, size in entries)
