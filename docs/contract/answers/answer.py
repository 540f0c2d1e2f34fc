"""Answer a containment command of Tidewatch: all that a responder of your own needs.

Written from docs/contract.md alone: it imports nothing of Tidewatch. Verify the command's signature
first (../signatures/verify.py), carry it out once, then send what `answer` returns to the topic
containment-results.
"""

import base64
import hashlib
import json
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

COMMAND = "tidewatch.containment.command.v1"
RESULT = "tidewatch.containment.result.v1"
SIGNED = ("ce_id", "ce_type", "ce_tenantid", "ce_time")


def refusal(headers: dict[str, bytes], value: bytes, now: datetime) -> str:
    """Return why a command whose signature is right must not be carried out; empty if it may."""
    command = json.loads(value)
    ours = command["args"]["x-tidewatch"]
    if headers["ce_type"].decode() != COMMAND or ours["mode"] not in {"automatic", "approved"}:
        return "nobody approved it"
    if headers["ce_tenantid"].decode() != ours["tenant"]:
        return "it is of another tenant than its record"
    if "expires" in ours and now >= datetime.fromisoformat(ours["expires"]):
        return "it expired"
    return ""


def answer(
    headers: dict[str, bytes],
    value: bytes,
    status: int,
    text: str,
    key: Ed25519PrivateKey,
    key_id: str,
    *,
    now: datetime | None = None,
    **results: object,
) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    """Return key, value and headers of the answer to a command."""
    command = json.loads(value)
    ours = command["args"]["x-tidewatch"]
    attempt = ours.get("attempt", 1)
    extension = {"command_id": command["command_id"], "attempt": attempt, **results}
    if ours.get("hold"):
        extension["hold"] = ours["hold"]
    body = json.dumps(
        {"status": status, "status_text": text, "results": {"x-tidewatch": extension}}
    ).encode()
    told = f"{command['command_id']} {attempt} {status}".encode()
    time = (now or datetime.now(UTC)).astimezone(UTC)
    answered = {
        "ce_specversion": b"1.0",
        "ce_id": hashlib.sha256(told).hexdigest()[:32].encode(),
        "ce_source": b"//acme/responder",
        "ce_type": RESULT.encode(),
        "ce_time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode(),
        "ce_tenantid": headers["ce_tenantid"],
        "ce_correlationid": headers["ce_correlationid"],
        "content-type": b"application/openc2+json;version=1.0",
    }
    parts = [*(answered[name] for name in SIGNED), body]
    signed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    signature = base64.b64encode(key.sign(signed)).decode()
    answered["ce_signature"] = f"ed25519;kid={key_id};{signature}".encode()
    return command["command_id"].encode(), body, list(answered.items())
