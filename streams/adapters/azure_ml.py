"""Convert Event Grid events of Azure Machine Learning to registry pushes and pipeline runs."""

from __future__ import annotations

from typing import Any, Final

from schemas import dead_letters as reasons
from schemas.events import (
    ArtifactKind,
    ComponentRef,
    Event,
    PipelineRun,
    PushAction,
    RegistryPush,
    RunStage,
    RunState,
)
from streams.adapters.event_grid import GridEvent, read_delivery, resource_name
from streams.adapters.payload import (
    MAX_ITEMS,
    Payload,
    adapter,
    at,
    derived_id,
    read_parameters,
    refuse,
    registry_event,
    run_event,
    text,
)

_KIND: Final = "Microsoft.MachineLearningServices."
_STATES: Final = {
    "notstarted": RunState.STARTED,
    "starting": RunState.STARTED,
    "provisioning": RunState.STARTED,
    "preparing": RunState.STARTED,
    "queued": RunState.STARTED,
    "running": RunState.RUNNING,
    "finalizing": RunState.RUNNING,
    "cancelrequested": RunState.RUNNING,
    "completed": RunState.SUCCEEDED,
    "failed": RunState.FAILED,
    "canceled": RunState.ABORTED,
}


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return the event of a model that was registered or deployed, or of a run.

    Drift of a dataset and subscriptions that are being set up give none.

    Source: Azure Event Grid, Azure Machine Learning as a source:
    `Microsoft.MachineLearningServices.ModelRegistered`, `ModelDeployed`, `RunCompleted`,
    `RunStatusChanged`.
    """
    delivery = read_delivery(payload.body)
    if delivery is None:
        raise refuse("no eventType or type of Event Grid")
    if delivery.is_handshake:
        return []
    if not delivery.type.startswith(_KIND):
        raise refuse(f"not of Azure Machine Learning: {delivery.type[:100]!r}")
    workspace = resource_name(delivery.source, "workspaces")
    what = delivery.type.removeprefix(_KIND)
    if what == "ModelRegistered":
        return [_registered(payload, delivery, workspace)]
    if what == "ModelDeployed":
        return [_deployed(payload, delivery, workspace)]
    if what in {"RunCompleted", "RunStatusChanged"}:
        return [_run(payload, delivery, workspace, completed=what == "RunCompleted")]
    return []


def _source(workspace: str | None) -> str:
    return f"//azure-ml/{workspace or 'unknown'}"


def _path(workspace: str | None, name: str) -> str:
    return f"{workspace}/{name}" if workspace else name


def _id(delivery: GridEvent, *parts: str | None) -> str:
    stamp = delivery.time.isoformat() if delivery.time else None
    return delivery.id or derived_id("azure-ml", delivery.type, delivery.source, *parts, stamp)


def _registered(payload: Payload, delivery: GridEvent, workspace: str | None) -> Event[Any]:
    name, version = text(delivery.data, "ModelName"), text(delivery.data, "ModelVersion")
    if name is None:
        raise refuse("no data.ModelName", reasons.MISSING_IDENTITY)
    push = RegistryPush(
        action=PushAction.PUSH,
        kind=ArtifactKind.MODEL,
        registry=payload.registry("azure-ml"),
        repository=_path(workspace, name),
        revision=version,
    )
    return registry_event(
        payload, push, id=_id(delivery, name, version), source=_source(workspace),
        time=delivery.time,
    )  # fmt: skip


def _deployed(payload: Payload, delivery: GridEvent, workspace: str | None) -> Event[Any]:
    """Return a deployment's run: the models it serves are its inputs, the endpoint its output."""
    service = text(delivery.data, "ServiceName")
    if service is None:
        raise refuse("no data.ServiceName", reasons.MISSING_IDENTITY)
    models = (text(delivery.data, "ModelIds") or "").split(",")
    if len(models) > MAX_ITEMS:
        raise refuse(f"data.ModelIds has {len(models)} entries, the limit is {MAX_ITEMS}")
    registry = payload.registry("azure-ml")
    inputs = []
    for entry in models:
        name, _, version = entry.strip().partition(":")
        if name:
            inputs.append(
                ComponentRef(
                    component=f"model:{registry}/{_path(workspace, name)}",
                    revision=version or None,
                )
            )
    run = PipelineRun(
        pipeline=_path(workspace, service),
        run_id=delivery.id,
        stage=RunStage.DEPLOYMENT,
        inputs=tuple(inputs),
        outputs=(ComponentRef(component=f"deployment:{_path(workspace, service)}"),),
    )
    return run_event(
        payload, run, id=_id(delivery, service), source=_source(workspace), time=delivery.time
    )


def _run(
    payload: Payload, delivery: GridEvent, workspace: str | None, *, completed: bool
) -> Event[Any]:
    data = delivery.data
    run_id = text(data, "runId") or text(data, "RunId")
    if run_id is None:
        raise refuse("no data.runId", reasons.MISSING_IDENTITY)
    experiment = text(data, "experimentName") or text(data, "ExperimentName")
    status = (text(data, "runStatus") or text(data, "RunStatus") or "").lower()
    properties = at(data, "runProperties") or at(data, "RunProperties")
    # Properties are the service's own and others in each run: no configuration of the pipeline, but
    # they name models and data.
    parameters = read_parameters(properties if isinstance(properties, dict) else {})
    run = PipelineRun(
        pipeline=_path(workspace, experiment or text(data, "experimentId") or run_id),
        run_id=run_id,
        state=RunState.SUCCEEDED if completed else _STATES.get(status, RunState.RUNNING),
        inputs=parameters.inputs,
        data_sources=parameters.data_sources,
    )
    return run_event(
        payload, run, id=_id(delivery, run_id, status), source=_source(workspace),
        time=delivery.time,
    )  # fmt: skip
