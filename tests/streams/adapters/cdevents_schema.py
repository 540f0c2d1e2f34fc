"""A JSON schema of the CDEvents 0.5.1 that the adapter reads.

Source: the CDEvents specification 0.5.1: context, subject, embedded links, and the content of
artifact.downloaded 0.2.0, artifact.published 0.3.0, artifact.signed 0.3.0, and
pipelinerun.started and pipelinerun.finished 0.3.0.
"""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final = {"type": "string", "minLength": 1}
_URI: Final = {"type": "string", "format": "uri"}
_REFERENCE: Final = {**_TEXT, "format": "uri-reference"}


def _closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


_LINKED: Final = {"type": "object", "properties": {"contextId": _TEXT}, "required": ["contextId"]}
_TAGS: Final = {"type": "object"}
_LINKS: Final = {
    "type": "array",
    "items": {
        "anyOf": [
            _closed(["linkType"], linkType={"const": "END"}, **{"from": _LINKED, "tags": _TAGS}),
            _closed(
                ["linkType", "from"],
                linkType={"const": "PATH"},
                **{"from": _LINKED, "tags": _TAGS},
            ),
            _closed(
                ["linkType", "linkKind", "target"],
                linkType={"const": "RELATION"},
                linkKind=_TEXT,
                target=_LINKED,
                tags=_TAGS,
            ),
        ]
    },
}
_CONTENTS: Final[dict[str, dict[str, Any]]] = {
    "artifact.downloaded.0.2.0": _closed([], user=_TEXT),
    "artifact.published.0.3.0": _closed([], user=_TEXT, sbom=_closed(["uri"], uri=_REFERENCE)),
    "artifact.signed.0.3.0": _closed(["signature"], signature=_TEXT),
    "pipelinerun.started.0.3.0": _closed(
        ["pipelineName", "uri"], pipelineName={"type": "string"}, uri=_URI
    ),
    "pipelinerun.finished.0.3.0": _closed(
        [],
        pipelineName={"type": "string"},
        uri=_URI,
        outcome={"enum": ["success", "failure", "cancel", "error"]},
        errors={"type": "string"},
    ),
}


def cdevent_schema(kind: str) -> dict[str, Any]:
    """Return the schema of a kind of event, such as `artifact.signed.0.3.0`."""
    context = _closed(
        ["specversion", "id", "source", "type", "timestamp"],
        specversion=_TEXT,
        id=_TEXT,
        source=_REFERENCE,
        type={"const": f"dev.cdevents.{kind}"},
        timestamp={"type": "string", "format": "date-time"},
        schemaUri={**_TEXT, "format": "uri"},
        chainId=_TEXT,
        links=_LINKS,
    )
    subject = _closed(["id", "content"], id=_TEXT, source=_REFERENCE, content=_CONTENTS[kind])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_closed(
            ["context", "subject"],
            context=context,
            subject=subject,
            customData={"type": ["object", "string"]},
            customDataContentType={"type": "string"},
        ),
    }
