"""Tests an endpoint as its producer would: an authenticated request that writes nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import time
import urllib.error
import urllib.request
import uuid
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec

from schemas.errors import TidewatchError
from streams.gateway.config import CLOUDEVENTS, Endpoint, GatewayConfig, proof_rule, url_of
from streams.http.secrets import read_secrets

HEADER: Final = "X-Tidewatch-Test"
"""A request with this header is answered after authentication and not processed further."""
BODY: Final = b'{"test": true}'
SECONDS: Final = 15.0
ANSWER_BYTES: Final = 64 * 1024


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a test."""

    url: str
    """Without a secret."""
    status: int
    """Status of the answer; 0: there was none."""
    why: str

    @property
    def well(self) -> bool:
        """Whether the endpoint accepts its producer's requests."""
        return self.status == HTTPStatus.OK


def try_endpoint(name: str, config: GatewayConfig) -> Tried:
    """Send a request with an endpoint's newest secret to its address, and return the result.

    Raises:
        TidewatchError: There is no such endpoint, its secret can't be read, or it has none.
    """
    endpoint = config.endpoints.get(name)
    if endpoint is None:
        raise TidewatchError(
            f"there is no endpoint {name[:64]!r}",
            where="--test",
            remedy=f"name one of {', '.join(config.endpoints)}",
        )
    if endpoint.secret is None:
        raise TidewatchError(
            "the endpoint requires a client certificate",
            where=f"endpoints.{name}",
            remedy=f"send a request with the header {HEADER} from that client",
        )
    secret = read_secrets(endpoint.secret, f"endpoints.{name}.secret")[0]
    shown = url_of(name, config)
    url = shown.removesuffix("/SECRET") + f"/{quote(secret)}" if "/SECRET" in shown else shown
    request = urllib.request.Request(  # noqa: S310 -- the address of the operator's own file
        url, data=BODY, method="POST", headers=proof_headers(endpoint, secret, BODY)
    )
    try:
        with urllib.request.urlopen(  # noqa: S310 -- the same
            request, timeout=SECONDS, context=_tls(config)
        ) as answer:
            return Tried(url=shown, status=answer.status, why="it accepts its producer's requests")
    except urllib.error.HTTPError as error:
        return Tried(url=shown, status=error.code, why=_why(error.read(ANSWER_BYTES)))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Tried(url=shown, status=0, why=f"no answer ({reason})")


def proof_headers(endpoint: Endpoint, secret: str, body: bytes) -> dict[str, str]:
    """Return the headers by which a producer proves a request.

    Args:
        endpoint: The endpoint.
        secret: The secret.
        body: The request's body.
    """
    headers = {HEADER: "1", "Content-Type": "application/json"}
    rule = proof_rule(endpoint)
    if endpoint.producer == CLOUDEVENTS or rule.kind == "bearer":
        headers["Authorization"] = f"Bearer {secret}"
    elif rule.kind == "header":
        headers[rule.header] = secret
    elif rule.kind == "hmac-sha256":
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers[rule.header] = f"{rule.prefix}{digest}"
    elif rule.kind == "mlflow":
        delivery, stamp = str(uuid.uuid4()), str(int(time.time()))
        signed = f"{delivery}.{stamp}.".encode() + body
        raw = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
        headers["X-MLflow-Delivery-Id"] = delivery
        headers["X-MLflow-Timestamp"] = stamp
        headers[rule.header] = f"v1,{base64.b64encode(raw).decode()}"
    return headers


def _tls(config: GatewayConfig) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if config.listen.certificate is not None:
        # a certificate that is self-signed, or signed by the operator's authority, is in the file
        context.load_verify_locations(config.listen.certificate)
    return context


def _why(raw: bytes) -> str:
    try:
        found = msgspec.json.decode(raw, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "the answer is not from a gateway"
    said = [str(found[name]) for name in ("title", "detail", "remedy") if found.get(name)]
    return "; ".join(said)[:500]
