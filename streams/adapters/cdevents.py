"""Convert CDEvents 0.4 and 0.5 to registry pushes and pipeline runs."""

from __future__ import annotations

import re
from typing import Any, Final

from schemas import dead_letters as reasons
from schemas.events import (
    ArtifactKind,
    Event,
    File,
    PipelineRun,
    Publisher,
    PushAction,
    RegistryPush,
    RunState,
    SignatureRef,
)
from streams.adapters.payload import (
    Payload,
    Purl,
    adapter,
    at,
    host_of,
    moment,
    read_purl,
    refuse,
    registry_event,
    run_event,
    sha256_digest,
    text,
)

_TYPE: Final = re.compile(
    r"dev\.cdevents\.(?P<subject>[a-z]+)\.(?P<predicate>[a-z]+)\.\d+\.\d+\.\d+"
)
_ACTIONS: Final = {
    "published": PushAction.PUSH,
    "packaged": PushAction.PUSH,
    "signed": PushAction.TAG,
    "downloaded": PushAction.PULL,
    "deleted": PushAction.DELETE,
}
_RUNS: Final = {
    "queued": RunState.STARTED,
    "started": RunState.RUNNING,
    "finished": RunState.SUCCEEDED,
}
_OUTCOMES: Final = {
    "success": RunState.SUCCEEDED,
    "failure": RunState.FAILED,
    "error": RunState.FAILED,
    "cancel": RunState.ABORTED,
}
_MODEL_TYPES: Final = {"huggingface": "huggingface", "mlflow": "mlflow"}
_IMAGE_TYPES: Final = frozenset({"oci", "docker"})


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return the event of an artifact, or of a pipeline or task run.

    Other subjects give none. A CDEvent inside a CloudEvent's `data` is taken out of it.

    Source: cdevents/spec 0.4.1 and 0.5.1, `artifact.*`, `pipelinerun.*`, `taskrun.*`.
    """
    body = payload.body
    if "context" not in body and isinstance(body.get("data"), dict):
        body = body["data"]
    kind, identity = text(body, "context", "type"), text(body, "context", "id")
    subject = text(body, "subject", "id")
    if kind is None or identity is None or subject is None:
        raise refuse("no context.type, context.id or subject.id", reasons.MISSING_IDENTITY)
    match = _TYPE.fullmatch(kind)
    if match is None:
        raise refuse(f"not a CDEvents type: {kind[:100]!r}", reasons.UNKNOWN_TYPE)
    source = text(body, "context", "source") or "//cdevents"
    when = moment(at(body, "context", "timestamp"))
    content = at(body, "subject", "content")
    predicate = match["predicate"]
    if match["subject"] == "artifact" and predicate in _ACTIONS:
        push = _push(payload, subject, source, content, _ACTIONS[predicate])
        return [registry_event(payload, push, id=identity, source=source, time=when)]
    if match["subject"] in {"pipelinerun", "taskrun"} and predicate in _RUNS:
        outcome = text(content, "outcome")
        state = _RUNS[predicate]
        if predicate == "finished" and outcome is not None:
            state = _OUTCOMES.get(outcome, RunState.FAILED)
        named = text(content, "pipelineName") or text(content, "taskName")
        run = PipelineRun(pipeline=named or subject, run_id=subject, state=state)
        return [run_event(payload, run, id=identity, source=source, time=when)]
    return []


def _push(
    payload: Payload,
    subject: str,
    source: str,
    content: Any,  # noqa: ANN401 -- any JSON value
    action: str,
) -> RegistryPush:
    purl = read_purl(subject)
    signature = text(content, "signature")
    digests: dict[str, str] = {}
    if purl is None:
        kind, registry, repository, revision = ArtifactKind.MODEL, host_of(source), subject, None
    else:
        kind, registry, repository = _identity(purl)
        revision = purl.version
        digests = sha256_digest(purl.version) or sha256_digest(purl.qualifiers.get("checksum"))
    return RegistryPush(
        action=action,
        kind=kind,
        ecosystem=purl.type if purl and kind == ArtifactKind.PACKAGE else None,
        registry=payload.registry(registry),
        repository=repository,
        revision=revision,
        tag=purl.qualifiers.get("tag") if purl else None,
        publisher=Publisher(account=text(content, "user")),
        files=(File(path=repository.rpartition("/")[2], digests=digests),) if digests else (),
        # The event holds the signature itself; the digest of the artifact says what it signs.
        signatures=(SignatureRef(kind="cdevents"),) if signature else (),
    )


def _identity(purl: Purl) -> tuple[ArtifactKind, str, str]:
    if purl.type in _MODEL_TYPES:
        host = host_of(purl.qualifiers.get("repository_url"))
        return ArtifactKind.MODEL, host or _MODEL_TYPES[purl.type], purl.name
    if purl.type in _IMAGE_TYPES:
        url = purl.qualifiers.get("repository_url")
        host = host_of(url)
        if url and "/" in url:
            # The repository_url of an OCI purl is the full path of the repository, with its name.
            path = url.partition("://")[2] or url
            return (
                ArtifactKind.IMAGE,
                host or purl.type,
                path.partition("/")[2].strip("/") or purl.name,
            )
        return ArtifactKind.IMAGE, host or purl.type, purl.name
    return ArtifactKind.PACKAGE, purl.type, purl.name
