"""Convert Tekton's CloudEvents of pipeline and task runs."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from schemas import dead_letters as reasons
from schemas.events import ComponentRef, Event, PipelineRun, RunState
from streams.adapters.payload import (
    Payload,
    adapter,
    at,
    derived_id,
    host_of,
    items,
    moment,
    read_parameters,
    refuse,
    run_event,
    sha256_digest,
    text,
)

_STATES: Final = {
    "started": RunState.STARTED,
    "running": RunState.RUNNING,
    "unknown": RunState.RUNNING,
    "successful": RunState.SUCCEEDED,
    "failed": RunState.FAILED,
}
_CANCELLED: Final = frozenset(
    {"Cancelled", "PipelineRunCancelled", "TaskRunCancelled", "CancelledRunFinally",
     "StoppedRunFinally", "PipelineRunStopping"}
)  # fmt: skip


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return the event of a run whose state changed.

    Tekton retries deliveries and repeats them when its controller restarts: the id is of run and
    state. The event's type gives the state, else the run's condition.

    Source: tektoncd/pipeline `docs/events.md`.
    """
    body = payload.body
    if "data" in body and isinstance(body["data"], dict):
        body = body["data"]
    run = at(body, "pipelineRun") or at(body, "taskRun")
    if not isinstance(run, dict):
        raise refuse("no pipelineRun or taskRun")
    name, namespace = text(run, "metadata", "name"), text(run, "metadata", "namespace")
    if name is None:
        raise refuse("no metadata.name", reasons.MISSING_IDENTITY)
    pipeline = (
        text(run, "spec", "pipelineRef", "name")
        or text(run, "spec", "taskRef", "name")
        or text(run, "metadata", "labels", "tekton.dev/pipeline")
        or text(run, "metadata", "generateName")
        or name
    ).rstrip("-")
    kind = payload.header("ce-type") or text(payload.body, "type") or ""
    state = _state(kind, run)
    uid = text(run, "metadata", "uid") or f"{namespace}/{name}"
    parameters = read_parameters(
        {
            key: at(entry, "value")
            for entry in items(run, "spec", "params")
            if (key := text(entry, "name")) is not None
        }
    )
    data = PipelineRun(
        pipeline=f"{namespace}/{pipeline}" if namespace else pipeline,
        run_id=name,
        state=state,
        config=parameters.config,
        inputs=(*parameters.inputs, *_definition(run)),
        data_sources=parameters.data_sources,
        outputs=_outputs(run),
    )
    sent = payload.header("ce-time") or text(payload.body, "time")
    times = (sent, at(run, "status", "completionTime"), at(run, "status", "startTime"),
             at(run, "metadata", "creationTimestamp"))  # fmt: skip
    return [
        run_event(
            payload,
            data,
            id=derived_id("tekton", uid, state),
            source=payload.header("ce-source")
            or text(payload.body, "source")
            or f"//tekton/{namespace or 'default'}",
            time=next((found for value in times if (found := moment(value))), None),
        )
    ]


def _state(kind: str, run: dict[str, Any]) -> RunState:
    for condition in items(run, "status", "conditions"):
        if text(condition, "type") == "Succeeded":
            status, reason = text(condition, "status"), text(condition, "reason")
            if reason in _CANCELLED:
                return RunState.ABORTED
            state = {"True": RunState.SUCCEEDED, "False": RunState.FAILED}.get(status or "")
            if state is not None:
                return state
            if reason == "Started":
                return RunState.STARTED
    parts = kind.split(".")
    return _STATES.get(parts[4] if len(parts) > 4 else "", RunState.RUNNING)  # noqa: PLR2004 -- dev.tekton.event.KIND.STATE


def _definition(run: dict[str, Any]) -> tuple[ComponentRef, ...]:
    """Return the git repository and commit of the run's definition.

    Source: tektoncd/pipeline `docs/git-resolver.md`: the digest is the commit that the
    requested revision resolved to.
    """
    source = at(run, "status", "provenance", "refSource")
    uri, commit = text(source, "uri") or "", text(source, "digest", "sha1")
    address = uri.removeprefix("git+")
    host = host_of(address) if "://" in address else None
    if commit is None or address == uri or host is None:
        return ()
    repository = f"{host}/{urlsplit(address).path.strip('/').removesuffix('.git')}"
    asked = next(
        (
            text(entry, "value")
            for ref in ("pipelineRef", "taskRef")
            for entry in items(run, "spec", ref, "params")
            if text(entry, "name") == "revision"
        ),
        None,
    )
    return (
        ComponentRef(
            component=f"service:{repository}", revision=asked, digests={"gitCommit": commit.lower()}
        ),
    )


def _outputs(run: dict[str, Any]) -> tuple[ComponentRef, ...]:
    results = {
        name: value
        for entry in (*items(run, "status", "results"), *items(run, "status", "pipelineResults"))
        if (name := text(entry, "name")) and (value := text(entry, "value"))
    }
    outputs: list[ComponentRef] = []
    for name, value in results.items():
        if not name.endswith("IMAGE_DIGEST"):
            continue
        digests = sha256_digest(value)
        url = results.get(name.removesuffix("DIGEST") + "URL")
        if not digests:
            continue
        if url and host_of(url):
            image = url.partition("://")[2] or url
            component = f"image:{image.partition('@')[0]}"
        else:
            component = f"sha256:{digests['sha256']}"
        outputs.append(ComponentRef(component=component, revision=value, digests=digests))
    return tuple(outputs)
