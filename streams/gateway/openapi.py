"""The OpenAPI description of the gateway's interface."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from streams.gateway.reading import BATCH, MAX_BATCH, STRUCTURED
from streams.http.problems import PROBLEM_TYPE

_EVENT_ID: Final = {
    "type": "object",
    "required": ["id", "source", "type", "subject"],
    "properties": {
        "id": {"type": "string"},
        "source": {"type": "string"},
        "type": {"type": "string"},
        "subject": {"type": "string"},
    },
}
_ACCEPTED: Final = {
    "type": "object",
    "required": ["events"],
    "properties": {
        "events": {"type": "array", "items": {"$ref": "#/components/schemas/EventId"}},
        "reason": {"type": "string", "description": "Why there is no event."},
        "repeated": {
            "type": "boolean",
            "description": "It was accepted before, and was not written again.",
        },
    },
}
_ASSESSED: Final = {
    "type": "object",
    "required": ["final", "status", "severity", "assessment"],
    "properties": {
        "final": {"type": "boolean"},
        "status": {"enum": ["PASS", "WARN", "INCOMPLETE", "FAIL", None]},
        "severity": {"type": ["string", "null"]},
        "assessment": {
            "type": ["object", "null"],
            "description": "As on the topic: `tidewatch schema assessments`.",
        },
    },
}
_PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457, with a code and what to do.",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "reason": {"type": "string", "description": "A code, kept stable."},
        "remedy": {"type": "string"},
        "dead_letter": {"type": "string", "description": "The key of its dead letter."},
    },
}
_CLOUDEVENT: Final = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "time", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string"},
        "source": {"type": "string"},
        "type": {"type": "string"},
        "subject": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "tenantid": {"type": "string", "description": "Only the token's own tenant."},
        "data": {"type": "object"},
    },
}
_REFUSALS: Final = {
    "400": "It is unreadable; `dead_letter` is the key of its dead letter.",
    "401": "No such endpoint, or its secret or signature is not right.",
    "403": "It names another tenant than the one it is bound to.",
    "408": "The body did not arrive in time.",
    "413": "The body, or an event in it, is too large.",
    "415": "An unsupported content type, or compressed.",
    "429": "Too many requests are in flight; Retry-After says when to retry.",
    "503": "The broker did not acknowledge in time. Retry the same request.",
}


_SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"mtls": []}]
_ENDPOINT: Final = {
    "name": "endpoint",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
}
_SECRET: Final = {"name": "secret", "in": "path", "required": True, "schema": {"type": "string"}}
_PAYLOAD: Final = {
    "required": True,
    "description": "The payload of the endpoint's producer, as it sends it.",
    "content": {"*/*": {"schema": {}}},
}


def document() -> dict[str, Any]:
    """Return the description, OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tidewatch gateway",
            "version": version("tidewatch"),
            "description": "Accepts events over HTTP. 202 means that the broker has"
            " acknowledged them; a retry adds nothing.",
        },
        "paths": {
            "/v1/events": {"post": _send_events()},
            "/v1/hooks/{endpoint}": {
                "post": {
                    "summary": "Send what a producer's webhook sends.",
                    "description": "The producer authenticates as its endpoint requires: a token or"
                    " secret in a header, a signature over the body, or a client certificate.",
                    "parameters": [_ENDPOINT],
                    "requestBody": _PAYLOAD,
                    "responses": _taken(),
                }
            },
            "/v1/hooks/{endpoint}/{secret}": {
                "post": {
                    "summary": "The same, for a producer that can be given nothing but a URL.",
                    "parameters": [_ENDPOINT, _SECRET],
                    "requestBody": _PAYLOAD,
                    "responses": _taken(),
                }
            },
            "/v1/assessments/{event}": {"get": _read_assessment()},
            "/openapi.json": {
                "get": {
                    "summary": "This description.",
                    "responses": {
                        "200": {
                            "description": "OpenAPI 3.1.",
                            "content": {"application/json": {"schema": {"type": "object"}}},
                        }
                    },
                }
            },
        },
        "components": {
            "schemas": {
                "Accepted": _ACCEPTED,
                "Assessed": _ASSESSED,
                "CloudEvent": _CLOUDEVENT,
                "EventId": _EVENT_ID,
                "Problem": _PROBLEM,
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "mtls": {"type": "mutualTLS"},
            },
        },
    }


def _send_events() -> dict[str, Any]:
    event = {"$ref": "#/components/schemas/CloudEvent"}
    return {
        "summary": "Send CloudEvents.",
        "description": "Structured, batched, or binary with `ce-` headers and a JSON"
        " body. A batch is taken as a whole or not at all.",
        "security": _SECURITY,
        "requestBody": {
            "required": True,
            "content": {
                STRUCTURED: {"schema": event},
                BATCH: {"schema": {"type": "array", "maxItems": MAX_BATCH, "items": event}},
                "application/json": {"schema": {"type": "object"}},
            },
        },
        "responses": _taken(),
    }


def _read_assessment() -> dict[str, Any]:
    assessed = _json("Assessed")
    refusals = {
        "400": "`wait` is not a number of seconds.",
        "401": _REFUSALS["401"],
        "409": "Several sources have an event of this id.",
        "429": "Too many requests of the tenant wait.",
    }
    return {
        "summary": "The assessment of an event of the token's tenant.",
        "security": _SECURITY,
        "parameters": [
            {**_ENDPOINT, "name": "event", "description": "The id of the event."},
            {
                "name": "source",
                "in": "query",
                "description": "Its source, where several have such an event.",
                "schema": {"type": "string"},
            },
            {
                "name": "wait",
                "in": "query",
                "description": "Seconds to wait until it is final.",
                "schema": {"type": "integer", "minimum": 0, "maximum": 60},
            },
        ],
        "responses": {
            "200": {"description": "It is final.", "content": assessed},
            "202": {"description": "It is not final yet, or not known here.", "content": assessed},
            **_problems(refusals),
        },
    }


def _taken() -> dict[str, Any]:
    """Return the responses to a request that sends events."""
    accepted = _json("Accepted")
    return {
        "200": {
            "description": "Nothing in it concerns a supply chain, or it was accepted before.",
            "content": accepted,
        },
        "202": {"description": "The broker acknowledged the events.", "content": accepted},
        **_problems(_REFUSALS),
    }


def _problems(refusals: Mapping[str, str]) -> dict[str, Any]:
    content = _json("Problem", PROBLEM_TYPE)
    return {status: {"description": text, "content": content} for status, text in refusals.items()}


def _json(schema: str, media_type: str = "application/json") -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
