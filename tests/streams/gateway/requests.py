"""Requests as producers send them, with their proofs."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

from schemas.cloudevents import format_time
from tests.schemas.events import PACKAGE_INSTALL

TENANT = "acme"
SECRET = "a-secret-of-acme-0001"
FOREIGN = "a-secret-of-globex-01"


def event(**attributes: Any) -> dict[str, Any]:
    """Return a CloudEvent of acme; an attribute of None is left out."""
    made = {**PACKAGE_INSTALL, "id": "http-1", "tenantid": TENANT, **attributes}
    return {name: value for name, value in made.items() if value is not None}


def mlflow_headers(
    body: bytes, *, secret: str = SECRET, delivery: str = "d-1", at: datetime | None = None
) -> dict[str, str]:
    """Return the headers of a delivery that MLflow signed."""
    stamp = str(int((at or datetime.now(UTC)).timestamp()))
    signed = f"{delivery}.{stamp}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return {
        "X-MLflow-Delivery-Id": delivery,
        "X-MLflow-Timestamp": stamp,
        "X-MLflow-Signature": "v1," + base64.b64encode(digest).decode(),
    }


def hub_signature(body: bytes, secret: str = SECRET) -> str:
    """Return the value of GitHub's signature header."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as a server sees them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


NOW = format_time(datetime.now(UTC))
