"""Read the model hub: files of a pinned revision, their listing, and whether it is published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeVar
from urllib.parse import quote

import msgspec

from agents.fetching.errors import FetchError, RefusedError
from agents.fetching.fetch_scope import Location, Reach, parse_location, parse_relative
from agents.fetching.http import HttpAnswer, HttpClient, bearer, no_signature
from agents.fetching.sources import OpenSource
from schemas.components import is_sha256
from schemas.events import File

LISTING_BYTES: Final = 32 << 20
MAX_FILES: Final = 10_000
REFS_BYTES: Final = 4 << 20
MAX_PAGES: Final = 32
"""Pages of history that are searched for a commit; an older commit does not count as one of the
repository."""
RepositoryKind = Literal["models", "datasets", "spaces"]
_KINDS: Final[Mapping[str, RepositoryKind]] = {"datasets": "datasets", "spaces": "spaces"}
_COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_NEXT: Final = re.compile(r'<([^<>]{1,2048})>\s*;\s*rel="?next"?')
_OWN_REFS: Final = ("refs/heads/", "refs/tags/")
"""References that only a repository's owners may write; `refs/pr/…` are open to everyone."""


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


_LISTINGS: Final = msgspec.json.Decoder(_RepositoryInfo)


class _Ref(msgspec.Struct, frozen=True, rename="camel"):
    ref: str
    target_commit: str


class _Refs(msgspec.Struct, frozen=True):
    branches: tuple[_Ref, ...] = ()
    tags: tuple[_Ref, ...] = ()


class _Commit(msgspec.Struct, frozen=True):
    id: str


_REFS: Final = msgspec.json.Decoder(_Refs)
_COMMITS: Final = msgspec.json.Decoder(list[_Commit])


class HubReference(msgspec.Struct, frozen=True, kw_only=True):
    """A repository at a revision, and optionally a file in it."""

    kind: RepositoryKind
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
        self._bearer = bearer(reach)
        self._is_signed = False

    def _sign(self, location: Location, headers: dict[str, str]) -> dict[str, str]:
        signed = self._bearer(location, headers)
        self._is_signed = self._is_signed or "Authorization" in signed
        return signed

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
            FetchError: it can't be read, is of another revision, or holds too many files.
        """
        reference = hub_reference(location)
        path = f"/api/{reference.kind}/{reference.repository}/revision/{reference.revision}"
        answer = self._client.get(
            self._at(path, "blobs=true"), sign=self._sign, limit=LISTING_BYTES, own_host=True
        )
        try:
            found = _LISTINGS.decode(answer.body)
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

    def is_published(self, location: Location) -> bool:
        """Return whether the content read so far is public as a revision.

        It is if the revision is a commit that a branch or tag of the repository leads to, and no
        request had credentials: the hub also serves commits of pull requests under the repository's
        name, and may serve private content to a tenant.

        Args:
            location: The repository at its revision.

        Raises:
            FetchError: the hub does not say.
        """
        reference = hub_reference(location)
        commit = reference.revision
        if self._is_signed or reference.path or not _COMMIT.fullmatch(commit):
            return False
        base = f"/api/{reference.kind}/{reference.repository}"
        answer = self._asked(self._at(f"{base}/refs"))
        found = _decoded(answer, _REFS, reference)
        tips = dict.fromkeys(
            branch.target_commit
            for branch in (*found.branches, *found.tags)
            if branch.ref.startswith(_OWN_REFS) and _COMMIT.fullmatch(branch.target_commit)
        )
        return commit in tips or self._leads_to(commit, list(tips), base, reference)

    def _leads_to(self, commit: str, tips: list[str], base: str, reference: HubReference) -> bool:
        """Look through the history of tips for a commit, up to `MAX_PAGES` pages in all."""
        known: set[str] = set()
        pages = 0
        for tip in tips:
            if tip in known:
                continue  # from a history that was searched
            page: Location | None = self._at(f"{base}/commits/{tip}")
            while page is not None:
                if pages == MAX_PAGES:
                    return False
                pages += 1
                answer = self._asked(page)
                commits = [entry.id for entry in _decoded(answer, _COMMITS, reference)]
                if commit in commits:
                    return True
                # A history that begins elsewhere is unrelated.
                page = _next(answer) if commits and not known.issuperset(commits) else None
                known.update(commits)
        return False

    def _asked(self, location: Location) -> HttpAnswer:
        """Return an anonymous answer about the repository of that name."""
        answer = self._client.get(location, sign=no_signature, limit=REFS_BYTES, own_host=True)
        if (answer.location.host, answer.location.path) != (location.host, location.path):
            raise FetchError("the repository has another name", where=location.uri[:200])
        return answer


_Said = TypeVar("_Said")


def _decoded(
    answer: HttpAnswer, decoder: msgspec.json.Decoder[_Said], reference: HubReference
) -> _Said:
    try:
        return decoder.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FetchError("the history can't be read", where=reference.uri) from error


def _next(answer: HttpAnswer) -> Location | None:
    """Return the next page that an answer names, None if the same history has none."""
    match = _NEXT.search(answer.headers.get("link", ""))
    if match is None:
        return None
    here = answer.location
    onward = parse_relative(f"{here.scheme}://{here.host}{here.path}", match.group(1))
    if (onward.scheme, onward.host, onward.path) != (here.scheme, here.host, here.path):
        return None
    return onward


def _digests(entry: _Sibling) -> dict[str, str]:
    value = ((entry.lfs.sha256 or entry.lfs.oid) if entry.lfs else None) or ""
    return {"sha256": value} if is_sha256(value) else {}
