"""Reads and answers AdmissionReview, admission.k8s.io/v1.

Source: Kubernetes, Dynamic Admission Control, "Webhook request and response".
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec

from schemas import dead_letters as reasons
from schemas.cloudevents import nesting
from schemas.errors import UnreadableRecordError
from streams.admission.artifacts import Named, artifacts_of
from streams.admission.judging import Ruling
from streams.cli.output import plain

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
MAX_DEPTH: Final = 200
MESSAGE: Final = 3000
"""Characters of a refusal that are answered; a client shows it as one line."""
WARNINGS: Final = 16
WARNING: Final = 256
"""Characters of a warning; the API server cuts longer ones."""
SHOWN: Final = 60
"""Characters that are shown of an unexpected kind or version."""
JUDGED: Final = frozenset({"CREATE", "UPDATE"})
"""The operations that bring something into the cluster."""
_UNJUDGED: Final = frozenset({"DELETE", "CONNECT"})


class ObjectKind(msgspec.Struct, frozen=True, kw_only=True):
    """The kind of an object."""

    group: str = ""
    version: str = ""
    kind: str = ""


class AdmissionRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The object to admit."""

    uid: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    operation: str
    kind: ObjectKind = ObjectKind()
    namespace: str | None = None
    name: str | None = None
    sub_resource: str | None = None
    object: dict[str, Any] | None = None
    old_object: dict[str, Any] | None = None

    @property
    def label(self) -> str:
        """The kind and name of the object, for logs."""
        return f"{self.kind.kind} {self.namespace or ''}/{self.name or ''}"


class Review(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One AdmissionReview."""

    api_version: str
    kind: str
    request: AdmissionRequest


_DECODER: Final = msgspec.json.Decoder(Review)


def read_review(raw: bytes) -> AdmissionRequest:
    """Return the request in a review.

    Raises:
        UnreadableRecordError: It is no AdmissionReview of version 1.
    """
    if nesting(raw, MAX_DEPTH) > MAX_DEPTH:
        raise UnreadableRecordError(reasons.TOO_DEEP, f"nested deeper than {MAX_DEPTH}")
    try:
        review = _DECODER.decode(raw)
    except msgspec.ValidationError as error:
        raise UnreadableRecordError(reasons.INVALID_ENVELOPE, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableRecordError(reasons.INVALID_JSON, str(error)) from error
    if (review.api_version, review.kind) != (API_VERSION, KIND):
        raise UnreadableRecordError(
            reasons.INVALID_ENVELOPE,
            f"it is {plain(review.kind, SHOWN)} of {plain(review.api_version, SHOWN)}, not {KIND}"
            f" of {API_VERSION}: set admissionReviewVersions: [v1] in the webhook's configuration",
        )
    return review.request


def named_anew(request: AdmissionRequest) -> Named:
    """Return the artifacts that an object newly names.

    Those it named before run already, or wait to: removing a label or a finalizer must stay
    possible. An object that is being deleted names none.

    Raises:
        UnreadableRecordError: The operation is unknown, or lacks its object.
    """
    if request.operation in _UNJUDGED:
        return Named(artifacts=(), whole=True)
    if request.operation not in JUDGED:
        raise UnreadableRecordError(
            reasons.INVALID_ENVELOPE,
            f"request.operation is {plain(request.operation, SHOWN)}, which is not known",
        )
    if request.object is None:
        raise UnreadableRecordError(reasons.INVALID_ENVELOPE, "request.object is missing")
    metadata = request.object.get("metadata")
    if isinstance(metadata, dict) and metadata.get("deletionTimestamp") and request.old_object:
        return Named(artifacts=(), whole=True)
    named = artifacts_of(request.object)
    if request.operation != "UPDATE" or request.old_object is None:
        return named
    before = artifacts_of(request.old_object)
    known = {artifact.reference for artifact in before.artifacts}
    return Named(
        artifacts=tuple(
            artifact for artifact in named.artifacts if artifact.reference not in known
        ),
        whole=named.whole,
    )


def answer(request: AdmissionRequest, ruling: Ruling) -> bytes:
    """Return the AdmissionReview that answers a request."""
    response: dict[str, Any] = {"uid": request.uid, "allowed": ruling.admitted}
    if not ruling.admitted:
        message = "tidewatch: " + "; ".join(ruling.reasons)
        response["status"] = {
            "code": HTTPStatus.FORBIDDEN.value,
            "reason": "Forbidden",
            "message": _cut(message, MESSAGE),
        }
    elif ruling.reasons:
        response["warnings"] = [
            _cut(f"tidewatch: {why}", WARNING) for why in ruling.reasons[:WARNINGS]
        ]
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": KIND, "response": response})


def _cut(text: str, limit: int) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"
