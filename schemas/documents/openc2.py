"""OpenC2 1.0 commands and responses (oasis-tcs/openc2-oc2ls v1.0-cs02) of containment.

Actions are fixed by the standard; the exact meaning of ours is in the extension argument
`x-tidewatch`. Hashes are upper-case hex, there is exactly one target, custom targets are scalar.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from schemas.components import ComponentKind
from schemas.conversion import Converter
from schemas.errors import TidewatchError
from schemas.incidents.commands import CommandSpec
from schemas.incidents.states import TargetType

_SPEC: Final = Converter(CommandSpec)

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
OPENC2_FIRST: Final = 100
OPENC2_LAST: Final = 599
"""Statuses are those of HTTP: 102 working, 200 done, 4xx refused, 5xx failed."""
ANSWER_HEADERS: Final = {
    "ce_id": "Hash of command, attempt and status: the same answer has the same id.",
    "ce_type": f"`{RESULT_TYPE}`.",
    "ce_tenantid": "The command's `ce_tenantid`; the key that signs must be trusted for it.",
    "ce_time": "When it was answered, RFC 3339; within the replay window of the broker's time.",
    "ce_correlationid": "The command's `ce_correlationid`: its incident.",
    "ce_signature": "The signature, by a key that is trusted for the tenant's responders.",
}
"""The headers that an answer must have, and their contents."""
_DOCUMENTED: Final = "see containment-results in docs/contract.md"
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""The errors of msgspec for bytes that are not the expected document."""


class InvalidCommandError(TidewatchError):
    """A document that is not one of our OpenC2 commands or responses."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """An OpenC2 response."""

    status: int
    status_text: str = ""
    results: dict[str, Any] = {}


_RESPONSES: Final = msgspec.json.Decoder(Response)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Our extension of a response; a responder may add results of its own."""

    command_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    """The command's `command_id`."""
    incident: str | None = None
    """The command's incident; where it is given, the same as the header `ce_correlationid`."""
    attempt: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    """The command's `attempt`: an answer to an earlier attempt does not end a later one."""
    hold: str | None = None
    """The command's `hold`, where it has one."""
    changed: bool | None = None
    """Whether anything was changed: false where it was as commanded before."""


_ANSWER: Final = Converter(Answer)


def _target(spec: CommandSpec) -> dict[str, Any]:
    """Return the subject of a command: the key of a component with a version, else a digest."""
    if spec.version is not None and spec.target.endswith(f"@{spec.version}"):
        return {f"{EXTENSION}:component": spec.target}
    return _target_by_digest(spec)


def _target_by_digest(spec: CommandSpec) -> dict[str, Any]:
    """Return the target as it was written before versions were named by their keys."""
    if spec.target_type == TargetType.IDENTITY:
        return {f"{EXTENSION}:identity": spec.target}
    if spec.target_type == TargetType.PIPELINE:
        return {f"{EXTENSION}:pipeline": spec.target}
    if spec.target_type == TargetType.SYSTEM:
        return {"device": {"hostname": spec.target}}
    kind, _, name = spec.target.partition(":")
    if kind == ComponentKind.DOMAIN:
        return {"domain_name": name}
    if spec.digest is not None:
        return {"file": {"name": name, "hashes": {"sha256": spec.digest.upper()}}}
    if kind == ComponentKind.SHA256:
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
        spec = _SPEC({**document["args"][EXTENSION], "command_id": document["command_id"]})
    except (*_UNREADABLE, KeyError, TypeError) as error:
        raise InvalidCommandError(f"not a containment command: {error}") from error
    named = document.get("target")
    if ACTIONS.get(spec.action) != document.get("action") or named not in (
        _target(spec),
        _target_by_digest(spec),
    ):
        raise InvalidCommandError(
            "the command's action or target contradicts its extension",
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
        response = _RESPONSES.decode(raw)
    except _UNREADABLE as error:
        raise InvalidCommandError(
            f"not a containment result: {error}", remedy=_DOCUMENTED
        ) from error
    if not OPENC2_FIRST <= response.status <= OPENC2_LAST:
        raise InvalidCommandError(
            f"status {response.status} is not an OpenC2 status", where="status", remedy=_DOCUMENTED
        )
    where = f"results.{EXTENSION}"
    extension = response.results.get(EXTENSION)
    if not isinstance(extension, dict):
        raise InvalidCommandError(
            "the result lacks the extension x-tidewatch", where=where, remedy=_DOCUMENTED
        )
    try:
        _ANSWER(extension)
    except msgspec.ValidationError as error:
        raise InvalidCommandError(
            f"the result is not complete: {error}", where=where, remedy=_DOCUMENTED
        ) from error
    return response


def missing_headers(headers: Mapping[str, bytes]) -> str:
    """Return which headers an answer lacks, as an error's detail; empty if none.

    Args:
        headers: By lower-case name.
    """
    absent = [name for name in ANSWER_HEADERS if not headers.get(name, b"").strip()]
    if absent:
        return f"the result has no header {', '.join(absent)}: {_DOCUMENTED}"
    if headers["ce_type"] != RESULT_TYPE.encode():
        return f"the result's header ce_type is not {RESULT_TYPE}: {_DOCUMENTED}"
    return ""
