"""OpenC2 1.0 commands and responses (oasis-tcs/openc2-oc2ls v1.0-cs02) of containment.

Actions are fixed by the standard; the exact meaning of ours is in the extension argument
`x-tidewatch`. Hashes are upper-case hex, there is exactly one target, custom targets are scalar.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from schemas.errors import TidewatchError
from schemas.incidents.commands import CommandSpec

CONTENT_TYPE: Final = "application/openc2+json;version=1.0"
EXTENSION: Final = "x-tidewatch"
COMMAND_TYPE: Final = "tidewatch.containment.command.v1"
PROPOSAL_TYPE: Final = "tidewatch.containment.proposal.v1"
RESULT_TYPE: Final = "tidewatch.containment.result.v1"
ACTIONS: Final = {
    "capture-evidence": "copy",
    "quarantine": "contain",
    "rollback": "restore",
    "block": "deny",
    "revoke": "deny",
    "hold-pipeline": "stop",
    "rebuild": "remediate",
    "investigate": "investigate",
    "restore": "restore",
    "roll-forward": "restore",
    "unblock": "allow",
    "release-pipeline": "start",
}
"""Our action: the OpenC2 action."""
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""The errors of msgspec for bytes that are not the expected document."""


class InvalidCommandError(TidewatchError):
    """A document that is not one of our OpenC2 commands or responses."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """An OpenC2 response."""

    status: int
    status_text: str = ""
    results: dict[str, Any] = {}


def _target(spec: CommandSpec) -> dict[str, Any]:
    if spec.target_type == "identity":
        return {f"{EXTENSION}:identity": spec.target}
    if spec.target_type == "pipeline":
        return {f"{EXTENSION}:pipeline": spec.target}
    if spec.target_type == "system":
        return {"device": {"hostname": spec.target}}
    kind, _, name = spec.target.partition(":")
    if kind == "domain":
        return {"domain_name": name}
    if spec.digest is not None:
        return {"file": {"name": name, "hashes": {"sha256": spec.digest.upper()}}}
    if kind == "sha256":
        return {"file": {"hashes": {"sha256": name.upper()}}}
    return {f"{EXTENSION}:component": spec.target}


def command_document(spec: CommandSpec) -> dict[str, Any]:
    """Return the OpenC2 command of a spec.

    Raises:
        InvalidCommandError: the spec's action has no OpenC2 action.
    """
    action = ACTIONS.get(spec.action)
    if action is None:
        raise InvalidCommandError(f"no OpenC2 action for {spec.action!r}", where=spec.command_id)
    extension = msgspec.to_builtins(spec)
    del extension["command_id"]
    return {
        "action": action,
        "target": _target(spec),
        "args": {"response_requested": "complete", EXTENSION: extension},
        "command_id": spec.command_id,
    }


def read_command(raw: bytes) -> CommandSpec:
    """Return the spec of one of our OpenC2 commands.

    Raises:
        InvalidCommandError: not JSON, not OpenC2, or not one of ours.
    """
    try:
        document = msgspec.json.decode(raw, type=dict[str, Any])
        spec = msgspec.convert(
            {**document["args"][EXTENSION], "command_id": document["command_id"]}, CommandSpec
        )
    except (*_UNREADABLE, KeyError, TypeError) as error:
        raise InvalidCommandError(f"not a containment command: {error}") from error
    if ACTIONS.get(spec.action) != document.get("action") or _target(spec) != document.get(
        "target"
    ):
        raise InvalidCommandError(
            "the command's action or target differs from what its extension says",
            where=spec.command_id,
        )
    return spec


def response_document(
    spec: CommandSpec, status: int, status_text: str, results: dict[str, Any]
) -> dict[str, Any]:
    """Return the OpenC2 response to a command.

    Args:
        spec: The command.
        status: 102 working, 200 done, 4xx refused, 5xx failed.
        status_text: In a sentence.
        results: evidence digest, moved_to, ... for our extension.
    """
    return {
        "status": status,
        "status_text": status_text,
        "results": {
            EXTENSION: {
                "command_id": spec.command_id,
                "incident": spec.incident,
                "attempt": spec.attempt,
                **({"hold": spec.hold} if spec.hold else {}),
                **results,
            }
        },
    }


def read_response(raw: bytes) -> Response:
    """Return an OpenC2 response.

    Raises:
        InvalidCommandError: not a response to one of our commands.
    """
    try:
        response = msgspec.json.decode(raw, type=Response)
    except _UNREADABLE as error:
        raise InvalidCommandError(f"not a containment result: {error}") from error
    extension = response.results.get(EXTENSION)
    if not isinstance(extension, dict) or not isinstance(extension.get("command_id"), str):
        raise InvalidCommandError("the result names no command", where=f"results.{EXTENSION}")
    return response
