"""Read the model hub: files of a pinned revision, and their listing with digests."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

import msgspec

from agents.fetching.errors import FetchError, RefusedError
from agents.fetching.fetch_scope import Location, Reach, parse_location
from agents.fetching.http import HttpClient, bearer
from agents.fetching.sources import OpenSource
from schemas.components import is_sha256
from schemas.events import File

LISTING_BYTES: Final = 32 << 20
MAX_FILES: Final = 10_000
_KINDS: Final = {"datasets": "datasets", "spaces": "spaces"}
_COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")


class _Lfs(msgspec.Struct, frozen=True):
    sha256: str | None = None
    oid: str | None = None
    size: int | None = None


class _Sibling(msgspec.Struct, frozen=True):
    rfilename: str
    size: int | None = None
    lfs: _Lfs | None = None


class _RepositoryInfo(msgspec.Struct, frozen=True):
    sha: str | None = None
    siblings: tuple[_Sibling, ...] = ()


class HubReference(msgspec.Struct, frozen=True, kw_only=True):
    """A repository at a revision, and optionally a file in it."""

    kind: str
    """`models`, `datasets` or `spaces`."""
    repository: str
    revision: str
    path: str = ""

    @property
    def uri(self) -> str:
        """The URI of the repository at its revision."""
        kind = "" if self.kind == "models" else f"{self.kind}/"
        return f"hf://{kind}{self.repository}@{self.revision}"


def hub_reference(location: Location) -> HubReference:
    """Parse `hf://[datasets/]organisation/name@revision[/path]`.

    Raises:
        RefusedError: the location has another form.
    """
    segments = location.path.strip("/").split("/")
    kind = _KINDS.get(segments[0], "models")
    if kind != "models":
        segments = segments[1:]
    at = next((i for i, segment in enumerate(segments[:2]) if "@" in segment), None)
    revision = "main"
    if at is not None:
        segments[at], _, revision = segments[at].partition("@")
        names, path = segments[: at + 1], segments[at + 1 :]
    else:
        names, path = segments[:2], segments[2:]
    if not names or not all(_PART.fullmatch(name) for name in names):
        raise RefusedError("not a repository of the hub", where=location.uri[:200])
    if not _REVISION.fullmatch(revision):
        raise RefusedError("not a revision", where=location.uri[:200])
    return HubReference(
        kind=kind, repository="/".join(names), revision=revision, path="/".join(path)
    )


class Hub:
    """Reads the hub for one tenant."""

    def __init__(self, reach: Reach, client: HttpClient) -> None:
        """Use the operator's hub with the tenant's token, if it has one for that host."""
        self._hub = parse_location(reach.rules.hub)
        self._client = client
        self._sign = bearer(reach)

    def _at(self, path: str, query: str = "") -> Location:
        return Location(
            scheme=self._hub.scheme,
            host=self._hub.host,
            path=f"{self._hub.path.rstrip('/')}{path}",
            query=query,
        )

    def open(self, location: Location) -> OpenSource:
        """Open a file of a repository as a source.

        Raises:
            FetchError: the fetch failed.
        """
        reference = hub_reference(location)
        if not reference.path:
            raise FetchError("a repository, not a file", where=location.uri[:200])
        kind = "" if reference.kind == "models" else f"/{reference.kind}"
        path = f"{kind}/{reference.repository}/resolve/{reference.revision}/{reference.path}"
        return self._client.open(self._at(path), sign=self._sign, own_host=True)

    def listing(self, location: Location) -> tuple[File, ...]:
        """Return the files of a repository at its revision, with sizes and digests.

        Raises:
            FetchError: it can't be had, is of another revision, or holds too many files.
        """
        reference = hub_reference(location)
        path = f"/api/{reference.kind}/{reference.repository}/revision/{reference.revision}"
        answer = self._client.get(
            self._at(path, "blobs=true"), sign=self._sign, limit=LISTING_BYTES, own_host=True
        )
        try:
            found = msgspec.json.decode(answer.body, type=_RepositoryInfo)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FetchError("the listing can't be read", where=reference.uri) from error
        if _COMMIT.fullmatch(reference.revision) and found.sha != reference.revision:
            raise FetchError("the listing is of another revision", where=reference.uri)
        if len(found.siblings) > MAX_FILES:
            raise FetchError(f"more than {MAX_FILES} files", where=reference.uri)
        pinned = msgspec.structs.replace(reference, revision=found.sha or reference.revision)
        return tuple(
            File(
                path=entry.rfilename,
                uri=f"{pinned.uri}/{quote(entry.rfilename)}",
                size=entry.lfs.size if entry.lfs and entry.lfs.size is not None else entry.size,
                digests=_digests(entry),
            )
            for entry in found.siblings
        )


def _digests(entry: _Sibling) -> dict[str, str]:
    value = ((entry.lfs.sha256 or entry.lfs.oid) if entry.lfs else None) or ""
    return {"sha256": value} if is_sha256(value) else {}
