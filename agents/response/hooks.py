"""Call HTTP hooks, which revoke tokens or hold pipelines, with signed requests.

`POST` of the command as JSON. `X-Tidewatch-Signature` is `sha256=` and the HMAC-SHA-256, in hex,
with the shared secret over `X-Tidewatch-Timestamp` (seconds since the epoch), a full stop and the
body; a receiver refuses old timestamps. `Idempotency-Key` is the command's id: a receiver carries
out each id once. Any 2xx means done.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from typing import Final

import orjson
import tenacity
import urllib3

from agents.response.action_context import ActionContext
from agents.response.config import HookConfig
from agents.response.outcome import FAILED, OK, UNAVAILABLE, CommandOutcome, NotCarriedOutError

MAX_ANSWER: Final = 64 * 1024
MAX_SECRET: Final = 16 * 1024
SHOWN: Final = 500
"""Most characters of a hook's error that are reported."""
_SUCCESS: Final = range(200, 300)
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
WAIT: Final = tenacity.wait_random_exponential(multiplier=0.3, max=20)


class _TransientError(NotCarriedOutError):
    """A failure that a retry may resolve."""


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return the value of `X-Tidewatch-Signature`."""
    mac = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={mac.hexdigest()}"


def call(context: ActionContext, hook: HookConfig, now: datetime) -> CommandOutcome:
    """Ask a hook to carry out a command.

    Args:
        context: The context of the command.
        hook: The URL and secret of the hook.
        now: The time to sign.

    Raises:
        NotCarriedOutError: The hook refused, or did not answer within the attempts.
        OSError: The secret can't be read.
    """
    spec = context.spec
    if spec.dry_run:
        return CommandOutcome(status=OK, status_text=f"the hook for {spec.action} would be called")
    body = orjson.dumps(
        {
            "command_id": spec.command_id,
            "attempt": spec.attempt,
            "action": spec.action,
            "target": spec.target,
            "target_type": spec.target_type,
            "system": spec.system,
            "tenant": spec.tenant,
            "incident": spec.incident,
            "reason": spec.reason,
            "undoes": spec.undoes,
        }
    )
    with hook.secret_file.open("rb") as opened:
        secret = opened.read(MAX_SECRET).strip()
    if not secret:
        raise NotCarriedOutError(FAILED, "the hook's secret is empty", where=str(hook.secret_file))
    timestamp = str(int(now.timestamp()))
    headers = {
        "content-type": "application/json",
        "idempotency-key": spec.command_id,
        "x-tidewatch-timestamp": timestamp,
        "x-tidewatch-signature": signature(secret, timestamp, body),
    }
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_TransientError),
        stop=tenacity.stop_after_attempt(hook.attempts),
        wait=WAIT,
        reraise=True,
    )
    with urllib3.PoolManager(timeout=hook.timeout_seconds, retries=False) as pool:
        status = retrying(_post, pool, hook.url, body, headers)
    return CommandOutcome(
        status=OK,
        status_text=f"the hook for {spec.action} answered {status}",
        results={"hook_status": status},
    )


def _post(pool: urllib3.PoolManager, url: str, body: bytes, headers: dict[str, str]) -> int:
    try:
        answer = pool.request(
            "POST", url, body=body, headers=headers, redirect=False, preload_content=False
        )
        said = answer.read(MAX_ANSWER)[:SHOWN].decode("utf-8", "replace")
        answer.release_conn()
    except urllib3.exceptions.HTTPError as error:
        raise _TransientError(
            UNAVAILABLE, "the hook does not answer", where=url, remedy=type(error).__name__
        ) from error
    if answer.status in _SUCCESS:
        return int(answer.status)
    kind = _TransientError if answer.status in _TRANSIENT else NotCarriedOutError
    status = UNAVAILABLE if answer.status in _TRANSIENT else FAILED
    raise kind(status, f"the hook answered {answer.status}", where=url, remedy=said)
