"""Convert Argo workflows, given as Kubernetes events or workflow objects, to pipeline runs."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
import orjson

from schemas import dead_letters as reasons
from schemas.events import DataSource, Event, PipelineRun, RunState
from streams.adapters.payload import (
    MAX_ITEMS,
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

_Entry = TypeVar("_Entry")
_REASONS: Final = {
    "WorkflowRunning": RunState.RUNNING,
    "WorkflowPending": RunState.STARTED,
    "WorkflowSucceeded": RunState.SUCCEEDED,
    "WorkflowFailed": RunState.FAILED,
    "WorkflowError": RunState.FAILED,
    "WorkflowTimedOut": RunState.FAILED,
    "WorkflowTerminated": RunState.ABORTED,
    "WorkflowStopped": RunState.ABORTED,
}
_PHASES: Final = {
    "Pending": RunState.STARTED,
    "Running": RunState.RUNNING,
    "Succeeded": RunState.SUCCEEDED,
    "Failed": RunState.FAILED,
    "Error": RunState.FAILED,
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
            for entry in _parameters(body)
            if (key := text(entry, "name")) is not None
        }
    )
    run = PipelineRun(
        pipeline=text(body, "spec", "workflowTemplateRef", "name")
        or (text(body, "metadata", "generateName") or "").rstrip("-")
        or None,
        state=_PHASES.get(phase, RunState.RUNNING),
        config=_config(parameters.config, body),
        inputs=parameters.inputs,
        data_sources=(*parameters.data_sources, *_addresses(body)),
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


def _parameters(body: dict[str, Any]) -> list[Any]:
    """Return the workflow's parameters: its own override its template's."""
    return [
        *items(body, "status", "storedWorkflowTemplateSpec", "arguments", "parameters"),
        *items(body, "spec", "arguments", "parameters"),
    ]


_STEP: Final = ("image", "command", "args", "env", "source")
_ONE: Final = ("container", "script")
_MANY: Final = ("initContainers", "sidecars")
_GIVEN: Final = ("parameters", "artifacts")


def _templates(body: dict[str, Any]) -> list[Any]:
    """Return a workflow's own templates, else those of the template that it refers to."""
    return items(body, "spec", "templates") or items(
        body, "status", "storedWorkflowTemplateSpec", "templates"
    )


def _config(parameters: msgspec.Raw, body: dict[str, Any]) -> msgspec.Raw:
    """Return the configuration: the parameters, and the commands and inputs of the templates."""
    steps = {}
    for number, template in enumerate(_templates(body)):
        found = _template(template)
        if found:
            steps[text(template, "name") or str(number)] = found
    if not steps:
        return parameters
    given = orjson.loads(bytes(parameters))
    return msgspec.Raw(orjson.dumps({**(given or {}), "templates": steps}))


def _template(template: Any) -> dict[str, Any]:  # noqa: ANN401 -- any JSON value
    """Return a template's command, its inputs, and the arguments that it passes to others.

    Source: Argo Workflows, fields of `Template`.
    """
    found: dict[str, Any] = {}
    for kind in _ONE:
        found |= _step(at(template, kind))
    for kind in _MANY:
        if several := [step for container in items(template, kind) if (step := _step(container))]:
            found[kind] = several
    if several := [step for container in items(template, "containerSet", "containers")
                   if (step := _step(container))]:  # fmt: skip
        found["containers"] = several
    for name, path in (("manifest", ("resource", "manifest")), ("url", ("http", "url"))):
        if (value := _any_text(template, *path)) is not None:
            found[name] = value
    if given := _given(at(template, "inputs")):
        found["inputs"] = given
    calls = [call for group in items(template, "steps") for call in _in_order(group)]
    calls += items(template, "dag", "tasks")
    arguments = {
        text(call, "name") or str(number): given
        for number, call in enumerate(_bounded(calls))
        if (given := _given(at(call, "arguments")))
    }
    return {**found, "arguments": arguments} if arguments else found


def _any_text(document: Any, *path: str) -> str | None:  # noqa: ANN401 -- any JSON value
    """Return the text at a path, of any length: a manifest is not limited as names are."""
    value = at(document, *path)
    return value if isinstance(value, str) and value else None


def _in_order(group: Any) -> list[Any]:  # noqa: ANN401 -- any JSON value
    """Return the steps of one group, which run in parallel; older workflows have single steps."""
    if isinstance(group, list):
        return items({"steps": group}, "steps")
    inner = at(group, "steps")
    return items(group, "steps") if isinstance(inner, list) else [group]


def _step(step: Any) -> dict[str, Any]:  # noqa: ANN401 -- any JSON value
    return {key: step[key] for key in _STEP if key in step} if isinstance(step, dict) else {}


def _given(arguments: Any) -> dict[str, Any]:  # noqa: ANN401 -- any JSON value
    """Return parameters and artifacts with their values; a default is one."""
    found: dict[str, Any] = {}
    for kind in _GIVEN:
        entries = [
            {"name": name, "value": value} if kind == "parameters" else entry
            for entry in items(arguments, kind)
            if isinstance(entry, dict)
            and (name := text(entry, "name")) is not None
            and (
                (value := entry.get("value", entry.get("default"))) is not None
                or kind == "artifacts"
            )
        ]
        if entries:
            found[kind] = entries
    return found


def _addresses(body: dict[str, Any]) -> list[DataSource]:
    """Return the locations of the artifacts that a workflow reads.

    Source: Argo Workflows, fields of `ArtifactLocation`.
    """
    places = [at(body, "spec", "arguments")]
    for template in _templates(body):
        places.append(at(template, "inputs"))
        calls = [call for group in items(template, "steps") for call in _in_order(group)]
        calls += items(template, "dag", "tasks")
        places += [at(call, "arguments") for call in _bounded(calls)]
    found: dict[str, DataSource] = {}
    for node in places:
        for artifact in items(node, "artifacts"):
            url = _address(artifact)
            if url is not None:
                found.setdefault(url, DataSource(url=url, name=text(artifact, "name")))
    return _bounded(list(found.values()))


def _bounded(entries: list[_Entry]) -> list[_Entry]:
    """Return entries of several lists together.

    Raises:
        UnreadableRecordError: more than one list may have.
    """
    if len(entries) > MAX_ITEMS:
        raise refuse(f"{len(entries)} steps or artifacts, the limit is {MAX_ITEMS}")
    return entries


def _address(artifact: Any) -> str | None:  # noqa: ANN401 -- any JSON value
    if url := text(artifact, "http", "url"):
        return url
    for kind, scheme in (("s3", "s3"), ("gcs", "gs"), ("oss", "oss")):
        key = text(artifact, kind, "key")
        if key:
            return f"{scheme}://{text(artifact, kind, 'bucket') or ''}/{key.lstrip('/')}"
    endpoint, container = text(artifact, "azure", "endpoint"), text(artifact, "azure", "container")
    if endpoint and container:
        return f"{endpoint.rstrip('/')}/{container}/{text(artifact, 'azure', 'blob') or ''}"
    nodes, path = items(artifact, "hdfs", "addresses"), text(artifact, "hdfs", "path")
    if nodes and isinstance(nodes[0], str) and path:
        return f"hdfs://{nodes[0]}/{path.lstrip('/')}"
    return None


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
