"""Read S3-compatible stores with requests signed by AWS Signature Version 4."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote
from xml.etree import ElementTree as ET

from agents.fetching.errors import FetchError, RefusedError
from agents.fetching.fetch_scope import Credentials, Location, Reach, parse_location
from agents.fetching.http import HttpClient, Signer, no_signature
from agents.fetching.sources import OpenSource

_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}")
_SIZE: Final = re.compile(r"\d{1,15}", re.ASCII)
"""Matches a size below 1 PB; a larger one counts as unknown."""
LISTING_BYTES: Final = 8 << 20
MAX_KEYS: Final = 10_000


def signature_v4(
    credentials: Credentials, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Signer:
    """Return a signer by AWS Signature Version 4 for the service `s3`.

    Args:
        credentials: Access key, secret key, region, optionally a session token. Sent to the
            endpoint only.
        now: The time of the signature; a store refuses one that is minutes off.
    """

    def sign(location: Location, headers: dict[str, str]) -> dict[str, str]:
        if location.host != _endpoint(credentials).host:
            return headers
        stamp = now().strftime("%Y%m%dT%H%M%SZ")
        scope = f"{stamp[:8]}/{credentials.region}/s3/aws4_request"
        signed = {
            "host": location.host,
            "x-amz-content-sha256": _EMPTY,
            "x-amz-date": stamp,
        }
        if credentials.session_token:
            signed["x-amz-security-token"] = credentials.session_token
        query = "&".join(
            f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
            for name, value in sorted(parse_qsl(location.query, keep_blank_values=True))
        )
        names = ";".join(sorted(signed))
        canonical = "\n".join(
            [
                "GET",
                quote(location.path, safe="/-_.~"),
                query,
                *(f"{name}:{signed[name]}" for name in sorted(signed)),
                "",
                names,
                _EMPTY,
            ]
        )
        text = "\n".join(
            ["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()]
        )
        key = f"AWS4{credentials.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        mark = hmac.digest(key, text.encode(), "sha256").hex()
        del signed["host"]
        return {
            **headers,
            **signed,
            "Authorization": (
                f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
                f"SignedHeaders={names}, Signature={mark}"
            ),
        }

    return sign


def _endpoint(credentials: Credentials) -> Location:
    return parse_location(credentials.endpoint or f"https://s3.{credentials.region}.amazonaws.com")


class ObjectStore:
    """Reads buckets for one tenant."""

    def __init__(self, reach: Reach, client: HttpClient) -> None:
        """Take the endpoint and keys from the tenant's credentials; without keys, sign nothing."""
        self._client = client
        self._credentials = reach.credentials or Credentials(tenants=(reach.tenant,))
        keys = self._credentials.access_key and self._credentials.secret_key
        self._sign = signature_v4(self._credentials) if keys else no_signature

    def _object(self, location: Location, query: str = "") -> Location:
        if not _BUCKET.fullmatch(location.host):
            raise RefusedError("not a bucket's name", where=location.uri[:200])
        endpoint = _endpoint(self._credentials)
        path = f"/{location.host}{location.path}" if not query else f"/{location.host}/"
        return Location(scheme=endpoint.scheme, host=endpoint.host, path=path, query=query)

    def open(self, location: Location) -> OpenSource:
        """Open an object of a bucket as a source.

        Raises:
            FetchError: the fetch failed.
        """
        return self._client.open(self._object(location), sign=self._sign)

    def listing(self, location: Location) -> Iterator[tuple[str, int | None]]:
        """Yield the key (relative to the location) and size of each object below it.

        Raises:
            FetchError: the fetch failed, or there are more than `MAX_KEYS` objects.
        """
        prefix = location.path.strip("/") + "/"
        after, count = "", 0
        while True:
            query = f"list-type=2&prefix={quote(prefix, safe='-_.~')}"
            if after:
                query = f"continuation-token={quote(after, safe='-_.~')}&{query}"
            answer = self._client.get(
                self._object(location, query), sign=self._sign, limit=LISTING_BYTES
            )
            keys, after = _read_listing(answer.body)
            for key, size in keys:
                count += 1
                if count > MAX_KEYS:
                    raise FetchError(f"more than {MAX_KEYS} objects", where=location.uri[:200])
                if key.startswith(prefix) and key != prefix:
                    yield key.removeprefix(prefix), size
            if not after:
                return


def _read_listing(body: bytes) -> tuple[list[tuple[str, int | None]], str]:
    if b"<!" in body:
        # A listing has neither entities nor a document type; both can expand without bound.
        raise FetchError("the listing holds a document type")
    try:
        root = ET.fromstring(body)  # noqa: S314 -- no document type, so nothing expands
    except (ET.ParseError, ValueError, LookupError) as error:  # LookupError: no such encoding
        raise FetchError("the listing is not XML") from error
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    keys = []
    for entry in root.iter(f"{space}Contents"):
        size = entry.findtext(f"{space}Size") or ""
        keys.append(
            (entry.findtext(f"{space}Key") or "", int(size) if _SIZE.fullmatch(size) else None)
        )
    more = root.findtext(f"{space}IsTruncated") == "true"
    return keys, (root.findtext(f"{space}NextContinuationToken") or "") if more else ""
