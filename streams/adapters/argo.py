"""Convert Argo workflows, given as Kubernetes events or workflow objects, to pipeline runs."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

import msgspec
import orjson

from schemas import dead_letters as reasons
from schemas.events import Event, PipelineRun
from streams.adapters.payload import (
    Payload,
    adapter,
    at,
    derived_id,
    items,
    moment,
    read_parameters,
    refuse,
    run_event,
    text,
)

_REASONS: Final = {
    "WorkflowRunning": "running",
    "WorkflowPending": "started",
    "WorkflowSucceeded": "succeeded",
    "WorkflowFailed": "failed",
    "WorkflowError": "failed",
    "WorkflowTimedOut": "failed",
    "WorkflowTerminated": "aborted",
    "WorkflowStopped": "aborted",
}
_PHASES: Final = {
    "Pending": "started",
    "Running": "running",
    "Succeeded": "succeeded",
    "Failed": "failed",
    "Error": "failed",
}
_GENERATED: Final = re.compile(r"-[bcdfghjklmnpqrstvwxz2456789]{5}$")
"""The suffix that Kubernetes appends to a generateName; it has no vowels."""


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return the event of a workflow; events of nodes and other objects give none.

    Source: Argo Workflows, workflow events (Kubernetes `Event` reasons `Workflow…`), and the
    `Workflow` object of `argoproj.io/v1alpha1`.
    """
    if text(payload.body, "kind") == "Workflow":
        return [_workflow(payload)]
    body = payload.body
    if text(body, "kind") != "Event" and at(body, "involvedObject") is None:
        raise refuse("neither a Workflow nor an Event of one")
    if text(body, "involvedObject", "kind") != "Workflow":
        return []
    reason = text(body, "reason") or ""
    state = _REASONS.get(reason)
    if state is None:
        return []
    times = ("eventTime", "lastTimestamp", "firstTimestamp")
    when = next((found for name in times if (found := moment(at(body, name)))), None)
    return [
        _event(
            payload,
            text(body, "involvedObject", "name"),
            text(body, "involvedObject", "namespace") or text(body, "metadata", "namespace"),
            text(body, "involvedObject", "uid"),
            PipelineRun(state=state),
            reason,
            when,
        )
    ]


def _workflow(payload: Payload) -> Event[Any]:
    body = payload.body
    phase = text(body, "status", "phase") or "Pending"
    parameters = read_parameters(
        {
            key: at(entry, "value")
            for entry in items(body, "spec", "arguments", "parameters")
            if (key := text(entry, "name")) is not None
        }
    )
    run = PipelineRun(
        pipeline=text(body, "spec", "workflowTemplateRef", "name")
        or (text(body, "metadata", "generateName") or "").rstrip("-")
        or None,
        state=_PHASES.get(phase, "running"),
        config=_config(parameters.config, body),
        inputs=parameters.inputs,
        data_sources=parameters.data_sources,
    )
    times = (at(body, "status", "finishedAt"), at(body, "status", "startedAt"),
             at(body, "metadata", "creationTimestamp"))  # fmt: skip
    return _event(
        payload,
        text(body, "metadata", "name"),
        text(body, "metadata", "namespace"),
        text(body, "metadata", "uid"),
        run,
        phase,
        next((found for value in times if (found := moment(value))), None),
    )


_STEP: Final = ("image", "command", "args", "env", "source")


def _config(parameters: msgspec.Raw, body: dict[str, Any]) -> msgspec.Raw:
    """Return the configuration: the parameters, and what the templates run."""
    templates = items(body, "spec", "templates") or items(
        body, "status", "storedWorkflowTemplateSpec", "templates"
    )
    steps = {}
    for number, template in enumerate(templates):
        name = text(template, "name") or str(number)
        for kind in ("container", "script"):
            step = at(template, kind)
            if isinstance(step, dict):
                steps[name] = {key: step[key] for key in _STEP if key in step}
    if not steps:
        return parameters
    given = orjson.loads(bytes(parameters))
    return msgspec.Raw(orjson.dumps({**(given or {}), "templates": steps}))


def _event(
    payload: Payload,
    name: str | None,
    namespace: str | None,
    uid: str | None,
    run: PipelineRun,
    step: str,
    when: datetime | None,
) -> Event[Any]:
    if name is None:
        raise refuse("the workflow has no name", reasons.MISSING_IDENTITY)
    pipeline = run.pipeline or _GENERATED.sub("", name)
    data = PipelineRun(
        pipeline=f"{namespace}/{pipeline}" if namespace else pipeline,
        run_id=name,
        state=run.state,
        config=run.config,
        inputs=run.inputs,
        data_sources=run.data_sources,
    )
    return run_event(
        payload,
        data,
        id=derived_id("argo", uid or f"{namespace}/{name}", step),
        source=f"//argo/{namespace or 'default'}",
        time=when,
    )
