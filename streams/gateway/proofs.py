"""Authenticates a request against its endpoint."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from schemas.errors import UnreadableRecordError
from streams.adapters.mlflow import TOLERANCE, verify_signature
from streams.gateway.config import Endpoint, ProofRule, proof_rule
from streams.http.secrets import any_equal, bearer_token, read_secrets

_SHORT: Final = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "serialNumber": "serialNumber",
}
_ESCAPED: Final = str.maketrans({char: f"\\{char}" for char in '\\,+="<>;'})
WINDOW_SECONDS: Final = 2 * TOLERANCE.total_seconds()
"""How long a signed delivery could be replayed: from the earliest to the latest clock allowed."""

Headers = Sequence[tuple[bytes, bytes]]


class Prover:
    """The proof of one endpoint, with its secrets."""

    def __init__(self, name: str, endpoint: Endpoint) -> None:
        """Read the secrets that the endpoint names.

        Raises:
            TidewatchError: A secret can't be read, or is too short.
        """
        self.rule: ProofRule = proof_rule(endpoint)
        self.secrets: tuple[str, ...] = ()
        self._clients = frozenset(endpoint.clients)
        if endpoint.secret is not None:
            self.secrets = read_secrets(endpoint.secret, f"endpoints.{name}.secret")

    @property
    def signs_body(self) -> bool:
        """Whether the body is needed to tell whether the request is proved."""
        return self.rule.kind in {"hmac-sha256", "mlflow"}

    def proves(
        self,
        headers: Headers,
        body: bytes,
        *,
        peer: Mapping[str, Any] | None,
        path_secret: str | None,
        now: datetime,
    ) -> bool:
        """Return whether a request is authentic, in time that does not depend on the secret.

        Args:
            headers: Its headers, names in lower case.
            body: Its body; unused unless `signs_body`.
            peer: The verified certificate of the client, if there is one.
            path_secret: The secret of the path, if it has one.
            now: The time of reception.
        """
        kind = self.rule.kind
        if kind == "mtls":
            return not self._clients.isdisjoint(certificate_names(peer))
        if kind == "path":
            return path_secret is not None and any_equal(path_secret, self.secrets)
        if kind == "mlflow":
            return self._is_mlflows(headers, body, now)
        given = single(headers, self.rule.header)
        if given is None:
            return False
        if kind == "bearer":
            token = bearer_token(given)
            return token is not None and any_equal(token, self.secrets)
        if kind == "header":
            return any_equal(given, self.secrets)
        return any_equal(
            given,
            [
                self.rule.prefix + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
                for secret in self.secrets
            ],
        )

    def _is_mlflows(self, headers: Headers, body: bytes, now: datetime) -> bool:
        wanted = ("x-mlflow-delivery-id", "x-mlflow-timestamp", "x-mlflow-signature")
        given = {name: single(headers, name) for name in wanted}
        if any(value is None for value in given.values()):
            return False
        known = False
        for secret in self.secrets:
            try:
                texts = {name: value or "" for name, value in given.items()}
                verify_signature(body, texts, secret, now=now)
                known = True
            except UnreadableRecordError:
                continue
        return known


def single(headers: Headers, name: str) -> str | None:
    """Return the value of a header that came exactly once, None otherwise."""
    wanted = name.lower().encode("ascii")
    found = [value for known, value in headers if known == wanted]
    return found[0].decode("utf-8", "surrogateescape") if len(found) == 1 else None


def certificate_names(peer: Mapping[str, Any] | None) -> set[str]:
    """Return the names of a verified certificate: its subject, and its alternative names.

    The values of a subject are escaped: one that contains `,O=Acme` is not that organisation.
    """
    if not peer:
        return set()
    parts = [
        f"{_SHORT.get(name, name)}={value.translate(_ESCAPED)}"
        for relative in peer.get("subject", ())
        for name, value in relative
    ]
    names = {f"{kind}:{value}" for kind, value in peer.get("subjectAltName", ())}
    if parts:
        names.add(",".join(parts))
    return names
