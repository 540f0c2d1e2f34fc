"""Posts messages as signed webhooks, by the Standard Webhooks specification, version 1.

The body is JSON: `type`, `timestamp` and `data`. `webhook-signature` is one `v1,` and the Base64 of
the HMAC-SHA-256 over `webhook-id`, `webhook-timestamp` and the body, joined by full stops, for each
secret of the file. Any 2xx means taken; redirects are not followed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
import urllib3

from agents.notification.config import read_secret
from agents.notification.threads import DeliveryOutcome
from schemas.errors import TidewatchError

if TYPE_CHECKING:
    from pathlib import Path

    from agents.notification.config import Destination
    from schemas.notifications import Notification

PREFIX: Final = "whsec_"
SHORTEST: Final = 24
"""Bytes that a secret has at least, by the specification."""
SECRETS: Final = 4
"""Secrets of one file that sign; more are not needed to rotate one."""
_SUCCESS: Final = range(200, 300)
_CLIENT_ERRORS: Final = range(400, 500)
_PASSING: Final = frozenset({401, 403, 404, 407, 408, 409, 425, 429})
"""Client errors that concern the destination or the time, not the message."""


class WebhookSecretError(TidewatchError):
    """A file of secrets that can't be read, or holds none that signs."""


def load_secrets(path: Path) -> tuple[bytes, ...]:
    """Return the secrets of a file, one a line: `whsec_` and Base64 each.

    Raises:
        WebhookSecretError: It can't be read, or a line is not a secret.
    """
    try:
        lines = [line.strip() for line in read_secret(path).splitlines()]
    except OSError as error:
        raise WebhookSecretError(
            f"the webhook's secret can't be read ({error.strerror})",
            where=str(path),
            remedy="write it there, readable by this user only",
        ) from error
    secrets = tuple(_secret(line, path) for line in lines if line)
    if not 1 <= len(secrets) <= SECRETS:
        raise WebhookSecretError(
            f"the file has {len(secrets)} secrets",
            where=str(path),
            remedy=f"write one to {SECRETS} of them, one a line",
        )
    return secrets


def _secret(line: str, path: Path) -> bytes:
    try:
        secret = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        secret = b""
    if not line.startswith(PREFIX) or len(secret) < SHORTEST:
        raise WebhookSecretError(
            "the file holds a value that is not a webhook secret",
            where=str(path),
            remedy=f"write {PREFIX} and at least {SHORTEST} random bytes in Base64",
        )
    return secret


def signature(secrets: tuple[bytes, ...], message_id: str, timestamp: str, body: bytes) -> str:
    """Return the value of `webhook-signature`: one signature for each secret."""
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    macs = (hmac.new(secret, signed, hashlib.sha256).digest() for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)


def payload(message: Notification) -> bytes:
    """Return the body of a message; the same at every attempt."""
    at = datetime.fromtimestamp(message.at_ms / 1000, UTC)
    data: dict[str, Any] = {
        "id": message.id,
        "event": message.event,
        "route": message.route,
        "tenant": message.tenant,
        "incident": message.incident,
        "severity": message.severity.value,
        "status": message.status,
        "title": message.title,
        "text": message.body,
        "link": message.link,
        "step": message.step,
    }
    return orjson.dumps(
        {"type": f"tidewatch.notification.{message.event}", "timestamp": at, "data": data},
        option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z,
    )


def post(message: Notification, destination: Destination, now: datetime) -> DeliveryOutcome:
    """Post a message once.

    Args:
        message: The message.
        destination: A webhook.
        now: The time to sign.

    Returns:
        The outcome; nothing is raised for a failure that a later attempt may not meet.
    """
    assert destination.webhook is not None
    assert destination.secret_file is not None
    try:
        secrets = load_secrets(destination.secret_file)
    except WebhookSecretError as error:
        return DeliveryOutcome(taken=False, detail=error.explain())
    body = payload(message)
    timestamp = str(int(now.timestamp()))
    headers = {
        "content-type": "application/json",
        "user-agent": "tidewatch",
        "webhook-id": message.id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature(secrets, message.id, timestamp, body),
    }
    try:
        with urllib3.PoolManager(timeout=destination.timeout_seconds, retries=False) as pool:
            answer = pool.request(
                "POST",
                destination.webhook,
                body=body,
                headers=headers,
                redirect=False,
                preload_content=False,
            )
            status = int(answer.status)
            wait = answer.headers.get("retry-after")
            answer.close()
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        # the error's text may repeat the address, which may hold a token
        return DeliveryOutcome(taken=False, detail=f"no answer ({type(error).__name__})")
    if status in _SUCCESS:
        return DeliveryOutcome(taken=True)
    return DeliveryOutcome(
        taken=False,
        refused=status in _CLIENT_ERRORS and status not in _PASSING,
        retry_after=seconds_of(wait, now),
        detail=f"answered {status}",
    )


def seconds_of(retry_after: str | None, now: datetime) -> float | None:
    """Return the seconds that `Retry-After` asks to wait, None if it says nothing readable.

    Args:
        retry_after: Seconds, or a date of HTTP.
        now: The time it was read.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())
