"""Read MLflow model registries: the artifacts of a version, through the tracking server."""

from __future__ import annotations

import re
from typing import Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from agents.fetching.errors import FetchError, RefusedError
from agents.fetching.fetch_scope import Location, Reach
from agents.fetching.http import HttpClient, bearer
from agents.fetching.sources import OpenSource
from schemas.events import File

ANSWER_BYTES: Final = 8 << 20
MAX_FILES: Final = 10_000
MAX_FOLDERS: Final = 2_000
MAX_DEPTH: Final = 32
_API: Final = "/api/2.0/mlflow"
_ARTIFACTS: Final = "/api/2.0/mlflow-artifacts/artifacts"
_REFERENCE: Final = re.compile(r"/(?P<name>[^@]{1,512})@(?P<version>[0-9]{1,18})(?:/(?P<path>.+))?")
_LOGGED: Final = re.compile(r"models:/(m-[A-Za-z0-9]{1,64})")


class _Download(msgspec.Struct, frozen=True):
    artifact_uri: str


class _Entry(msgspec.Struct, frozen=True):
    path: str
    is_dir: bool = False
    file_size: int | None = None


class _Entries(msgspec.Struct, frozen=True):
    files: list[_Entry] = []


class _Info(msgspec.Struct, frozen=True):
    artifact_uri: str


class _Model(msgspec.Struct, frozen=True):
    info: _Info


class _LoggedModel(msgspec.Struct, frozen=True):
    model: _Model


_DOWNLOADS: Final = msgspec.json.Decoder(_Download)
_FOLDERS: Final = msgspec.json.Decoder(_Entries)
_LOGGED_MODELS: Final = msgspec.json.Decoder(_LoggedModel)
_Said = TypeVar("_Said")


class MlflowReference(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a registered model, and optionally a file in it."""

    name: str
    version: str
    path: str = ""


def mlflow_reference(location: Location) -> MlflowReference:
    """Parse `mlflow://host/name@version[/path]`.

    Raises:
        RefusedError: the location has another form.
    """
    match = _REFERENCE.fullmatch(location.path)
    if match is None or not location.host:
        raise RefusedError(
            "not a version of a registered model",
            where=location.uri[:200],
            remedy="write it as mlflow://host/name@3",
        )
    return MlflowReference(name=match["name"], version=match["version"], path=match["path"] or "")


class MlflowRegistry:
    """Reads MLflow registries for one tenant."""

    def __init__(self, reach: Reach, client: HttpClient) -> None:
        """Use the tenant's token or password, for their hosts only."""
        self._reach = reach
        self._client = client
        self._sign = bearer(reach)
        self._places: dict[tuple[str, str, str], str] = {}

    def place(self, location: Location) -> str:
        """Return where the artifacts of a version are, as its registry says.

        Raises:
            FetchError: it does not say.
        """
        reference = mlflow_reference(location)
        known = (location.host, reference.name, reference.version)
        if known not in self._places:
            query = urlencode({"name": reference.name, "version": reference.version})
            uri = self._asked(
                location, f"{_API}/model-versions/get-download-uri", query, _DOWNLOADS
            ).artifact_uri
            logged = _LOGGED.fullmatch(uri)
            if logged is not None:
                found = self._asked(
                    location, f"{_API}/logged-models/{logged[1]}", "", _LOGGED_MODELS
                )
                uri = found.model.info.artifact_uri
            try:
                urlsplit(uri)
            except ValueError as error:
                raise FetchError(
                    "the registry's answer can't be read", where=location.uri[:200]
                ) from error
            self._places[known] = uri
        return self._places[known]

    def is_proxied(self, location: Location) -> bool:
        """Return whether the tracking server itself serves the artifacts of a version."""
        return urlsplit(self.place(location)).scheme == "mlflow-artifacts"

    def listing(self, location: Location) -> tuple[File, ...]:
        """Return the files of a version that the tracking server serves.

        Raises:
            FetchError: it can't be read, is empty, or holds too many files.
        """
        reference = mlflow_reference(location)
        base = self._base(location)
        files: list[File] = []
        folders, seen = [""], 0
        while folders:
            folder = folders.pop()
            seen += 1
            if seen > MAX_FOLDERS or folder.count("/") > MAX_DEPTH:
                raise FetchError(
                    f"more than {MAX_FOLDERS} folders, or deeper than {MAX_DEPTH}",
                    where=location.uri[:200],
                )
            query = urlencode({"path": f"{base}/{folder}".rstrip("/")})
            for entry in self._asked(location, _ARTIFACTS, query, _FOLDERS).files:
                name = entry.path.rstrip("/").rpartition("/")[2]
                if not name or name in {".", ".."}:
                    raise FetchError("the listing names no file", where=location.uri[:200])
                path = f"{folder}/{name}".lstrip("/")
                if entry.is_dir:
                    folders.append(path)
                    continue
                at = f"{quote(reference.name)}@{reference.version}/{quote(path)}"
                size = entry.file_size
                files.append(
                    File(
                        path=path,
                        uri=f"mlflow://{location.host}/{at}",
                        size=size if size is not None and size >= 0 else None,
                    )
                )
            if len(files) > MAX_FILES:
                raise FetchError(f"more than {MAX_FILES} files", where=location.uri[:200])
        if not files:
            raise FetchError("the version has no artifacts", where=location.uri[:200])
        return tuple(sorted(files, key=lambda file: file.path))

    def open(self, location: Location) -> OpenSource:
        """Open a file of a version as a source.

        Raises:
            FetchError: the fetch failed.
        """
        reference = mlflow_reference(location)
        if not reference.path:
            raise FetchError("a version, not a file", where=location.uri[:200])
        path = f"{_ARTIFACTS}/{self._base(location)}/{reference.path}"
        return self._client.open(self._at(location, path, ""), sign=self._sign)

    def _base(self, location: Location) -> str:
        parts = urlsplit(self.place(location))
        base = parts.path.strip("/")
        climbs = {".", ".."} & set(base.split("/"))
        if parts.scheme != "mlflow-artifacts" or not base or climbs:
            raise FetchError(
                f"its artifacts are at {parts.scheme or 'a path of the server'}",
                where=location.uri[:200],
                remedy="let the tracking server serve them (--serve-artifacts)",
            )
        return base

    def _at(self, location: Location, path: str, query: str) -> Location:
        name = location.host.partition(":")[0]
        plain = "http" in self._reach.rules.schemes and bool(
            {name, location.host} & set(self._reach.rules.private_hosts)
        )
        scheme = "http" if plain else "https"
        return Location(scheme=scheme, host=location.host, path=path, query=query)

    def _asked(
        self, location: Location, path: str, query: str, decoder: msgspec.json.Decoder[_Said]
    ) -> _Said:
        answer = self._client.get(
            self._at(location, path, query), sign=self._sign, limit=ANSWER_BYTES
        )
        try:
            return decoder.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FetchError(
                "the registry's answer can't be read", where=location.uri[:200]
            ) from error
