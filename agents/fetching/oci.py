"""Read OCI registries: the manifest of a pinned digest, and its blobs."""

from __future__ import annotations

import hashlib
import re
from typing import Final
from urllib.parse import urlencode

import msgspec
import urllib3

from agents.fetching.errors import FetchError, RefusedError
from agents.fetching.fetch_scope import Location, Reach, parse_location
from agents.fetching.http import HttpClient, Signer
from agents.fetching.sources import OpenSource
from schemas.events import File

MANIFEST_BYTES: Final = 4 << 20
TOKEN_BYTES: Final = 64 << 10
MAX_FILES: Final = 10_000
MAX_MANIFESTS: Final = 64
MANIFEST_TYPES: Final = (
    "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json"
)
_REFERENCE: Final = re.compile(
    r"/(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)@(?P<digest>sha256:[0-9a-f]{64})"
)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE: Final = re.compile(r'([a-z_]+)="([^"]{0,1000})"')
_TITLES: Final = ("org.opencontainers.image.title", "org.cnai.model.filepath")
_OK, _UNAUTHORIZED = 200, 401


class _Descriptor(msgspec.Struct, frozen=True):
    digest: str = ""
    size: int = 0
    media_type: str = msgspec.field(default="", name="mediaType")
    annotations: dict[str, str] = {}


class _Manifest(msgspec.Struct, frozen=True):
    layers: tuple[_Descriptor, ...] = ()
    manifests: tuple[_Descriptor, ...] = ()
    config: _Descriptor | None = None


_MANIFESTS: Final = msgspec.json.Decoder(_Manifest)


class _Token(msgspec.Struct, frozen=True):
    token: str | None = None
    access_token: str | None = None


_TOKENS: Final = msgspec.json.Decoder(_Token)


class OciRegistry:
    """Reads OCI registries for one tenant."""

    def __init__(self, reach: Reach, client: HttpClient) -> None:
        """Start without tokens."""
        self._reach = reach
        self._client = client
        self._tokens: dict[tuple[str, str], str] = {}

    def _base(self, location: Location) -> tuple[str, str, str]:
        """Return the scheme, the repository's name and the digest that a location names."""
        match = _REFERENCE.fullmatch(location.path)
        if match is None or not location.host:
            raise RefusedError(
                "not a repository at a digest",
                where=location.uri[:200],
                remedy="write it as oci://host/name@sha256:…",
            )
        name = location.host.partition(":")[0]
        plain = "http" in self._reach.rules.schemes and bool(
            {name, location.host} & set(self._reach.rules.private_hosts)
        )
        return "http" if plain else "https", match["name"], match["digest"]

    def _signer(self, name: str) -> Signer:
        def sign(location: Location, headers: dict[str, str]) -> dict[str, str]:
            token = self._tokens.get((location.host, name))
            if token:
                headers["Authorization"] = token
            return headers

        return sign

    def _authorise(self, at: Location, name: str) -> None:
        """Get a token if the registry requires one (Docker token authentication)."""
        answer = self._client.get(
            at,
            sign=self._signer(name),
            limit=MANIFEST_BYTES,
            headers={"Accept": MANIFEST_TYPES},
            accept=frozenset({_OK, _UNAUTHORIZED}),
        )
        if answer.status == _OK:
            return
        challenge = answer.headers.get("www-authenticate", "")
        secrets = self._reach.secrets_for(at.host)
        basic = (
            urllib3.make_headers(basic_auth=f"{secrets.username}:{secrets.password}")[
                "authorization"
            ]
            if secrets is not None and secrets.username and secrets.password
            else None
        )
        if challenge.lower().startswith("basic") and basic:
            self._tokens[at.host, name] = basic
            return
        fields = dict(_CHALLENGE.findall(challenge))
        if not challenge.lower().startswith("bearer") or "realm" not in fields:
            raise FetchError(
                "the registry refuses access and names no token service", where=at.uri[:200]
            )
        if secrets is not None and secrets.token:
            self._tokens[at.host, name] = f"Bearer {secrets.token}"
            return
        realm = parse_location(fields["realm"])
        if realm.host != at.host and not self._reach.admits_redirect(realm):
            raise RefusedError("the registry's token service is outside the tenant's fetch scope",
                               where=realm.uri[:200])  # fmt: skip
        if realm.scheme != "https" and at.scheme == "https":
            raise RefusedError("the registry's token service is not encrypted",
                               where=realm.uri[:200])  # fmt: skip
        query = urlencode(
            {"service": fields.get("service", ""), "scope": f"repository:{name}:pull"}
        )
        may_send = self._reach.secrets_for(realm.host) is not None

        def sign(location: Location, headers: dict[str, str]) -> dict[str, str]:
            if basic and may_send and location.host == realm.host:
                headers["Authorization"] = basic
            return headers

        granted = self._client.get(
            msgspec.structs.replace(realm, query=query), sign=sign, limit=TOKEN_BYTES
        )
        try:
            found = _TOKENS.decode(granted.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FetchError("the token can't be read", where=realm.uri[:200]) from error
        value = found.token or found.access_token or ""
        if not value.isascii() or not value.isprintable():
            raise FetchError("the token can't be sent", where=realm.uri[:200])
        self._tokens[at.host, name] = f"Bearer {value}"

    def _manifest(self, location: Location, digest: str) -> _Manifest:
        scheme, name, _ = self._base(location)
        at = Location(scheme=scheme, host=location.host, path=f"/v2/{name}/manifests/{digest}")
        if (location.host, name) not in self._tokens:
            self._authorise(at, name)
        answer = self._client.get(
            at, sign=self._signer(name), limit=MANIFEST_BYTES, headers={"Accept": MANIFEST_TYPES}
        )
        if f"sha256:{hashlib.sha256(answer.body).hexdigest()}" != digest:
            raise FetchError("the manifest does not match its digest", where=at.uri[:200])
        try:
            return _MANIFESTS.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FetchError("the manifest can't be read", where=at.uri[:200]) from error

    def listing(self, location: Location) -> tuple[File, ...]:
        """Return the blobs of the manifest of a digest, of all platforms of an index.

        A layer's path is its title, where it has one (ORAS, model packages), or its digest.

        Raises:
            FetchError: it can't be read, differs from its digest, or holds too much.
        """
        _, name, digest = self._base(location)
        first = self._manifest(location, digest)
        manifests = [first]
        if len(first.manifests) > MAX_MANIFESTS:
            raise FetchError(f"more than {MAX_MANIFESTS} manifests", where=location.uri[:200])
        for entry in first.manifests:
            if not _DIGEST.fullmatch(entry.digest):
                raise FetchError("a manifest without a digest", where=location.uri[:200])
            manifests.append(self._manifest(location, entry.digest))
        files: dict[str, File] = {}
        for manifest in manifests:
            for layer in manifest.layers:
                if not _DIGEST.fullmatch(layer.digest):
                    raise FetchError("a layer without a digest", where=location.uri[:200])
                title = next((layer.annotations[t] for t in _TITLES if t in layer.annotations), "")
                value = layer.digest.removeprefix("sha256:")
                files[f"{title}{layer.digest}"] = File(
                    path=title or value,
                    uri=f"oci://{location.host}/{name}@{layer.digest}#blob",
                    size=max(layer.size, 0),
                    digests={"sha256": value},
                )
        if len(files) > MAX_FILES:
            raise FetchError(f"more than {MAX_FILES} layers", where=location.uri[:200])
        return tuple(files.values())

    def open(self, location: Location) -> OpenSource:
        """Return a blob, `oci://host/name@sha256:…#blob`, as a source.

        Raises:
            FetchError: the fetch failed.
        """
        scheme, name, digest = self._base(location)
        at = Location(scheme=scheme, host=location.host, path=f"/v2/{name}/blobs/{digest}")
        if (location.host, name) not in self._tokens:
            self._authorise_blob(at, name)
        return self._client.open(at, sign=self._signer(name))

    def _authorise_blob(self, at: Location, name: str) -> None:
        # The base endpoint asks for the same token as a blob does, and costs no blob.
        probe = msgspec.structs.replace(at, path=f"/v2/{name}/tags/list", query="n=1")
        self._authorise(probe, name)
