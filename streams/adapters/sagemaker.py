"""Convert SageMaker's EventBridge events of model packages and pipeline executions."""

from __future__ import annotations

import posixpath
from typing import Any, Final

from schemas import dead_letters as reasons
from schemas.events import (
    ArtifactKind,
    Event,
    File,
    PipelineRun,
    PushAction,
    RegistryPush,
    RunState,
)
from streams.adapters.payload import (
    Payload,
    adapter,
    at,
    derived_id,
    items,
    moment,
    refuse,
    registry_event,
    run_event,
    text,
)

_STATES: Final = {
    "Executing": RunState.RUNNING,
    "Stopping": RunState.RUNNING,
    "Stopped": RunState.ABORTED,
    "Failed": RunState.FAILED,
    "Succeeded": RunState.SUCCEEDED,
}


@adapter
def adapt_model_package(payload: Payload) -> list[Event[Any]]:
    """Return the event of a model package that was registered, approved, rejected or deleted.

    AWS sends several events for one change of state: the id is derived from what changed. Its
    own documented sample has the key `source` twice, a string and a list: either is accepted.

    Source: Amazon SageMaker developer guide, automating with EventBridge.
    """
    body = payload.body
    detail = at(body, "detail")
    group, version = text(detail, "ModelPackageGroupName"), text(detail, "ModelPackageVersion")
    arn = text(detail, "ModelPackageArn")
    name = group or text(detail, "ModelPackageName") or (arn or "").rpartition("/")[2]
    if not name:
        raise refuse("no ModelPackageGroupName or ModelPackageArn", reasons.MISSING_IDENTITY)
    status = text(detail, "ModelPackageStatus")
    approval = text(detail, "ModelApprovalStatus")
    if status in {"Deleting", "Deleted"}:
        action = PushAction.DELETE
    elif approval == "Approved":
        action = PushAction.PROMOTE
    else:
        action = PushAction.TAG if approval == "Rejected" else PushAction.PUSH
    account, region = text(body, "account"), text(body, "region")
    files: list[File] = []
    for number, container in enumerate(items(detail, "InferenceSpecification", "Containers")):
        uri = text(container, "ModelDataUrl")
        if uri is not None:
            base = posixpath.basename(uri) or "model"
            files.append(File(path=base if number == 0 else f"{number}/{base}", uri=uri))
    push = RegistryPush(
        action=action,
        kind=ArtifactKind.MODEL,
        registry=payload.registry("sagemaker"),
        repository="/".join(part for part in (account, region, name) if part),
        revision=version,
        tag=approval,
        files=tuple(files),
    )
    changed = text(detail, "LastModifiedTime") or text(body, "time")
    return [
        registry_event(
            payload,
            push,
            id=derived_id("sagemaker", arn or push.repository, version, status, approval, changed),
            source=f"//aws.sagemaker/{account or 'unknown'}/{region or 'unknown'}",
            time=moment(at(body, "time")) or moment(changed),
        )
    ]


@adapter
def adapt_pipeline(payload: Payload) -> list[Event[Any]]:
    """Return the event of a pipeline execution whose status changed.

    Source: Amazon SageMaker developer guide, automating with EventBridge.
    """
    body = payload.body
    detail = at(body, "detail")
    arn, execution = text(detail, "pipelineArn"), text(detail, "pipelineExecutionArn")
    status = text(detail, "currentPipelineExecutionStatus")
    if arn is None or execution is None or status is None:
        raise refuse("no pipelineArn, pipelineExecutionArn or status", reasons.MISSING_IDENTITY)
    account, region = text(body, "account"), text(body, "region")
    run = PipelineRun(
        pipeline=arn.rpartition("/")[2] or arn,
        run_id=execution.rpartition("/")[2] or execution,
        state=_STATES.get(status, RunState.RUNNING),
    )
    return [
        run_event(
            payload,
            run,
            id=derived_id("sagemaker-pipeline", execution, status, text(body, "time")),
            source=f"//aws.sagemaker/{account or 'unknown'}/{region or 'unknown'}",
            time=moment(at(body, "time")),
        )
    ]
