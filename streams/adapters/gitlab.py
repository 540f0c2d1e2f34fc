"""Convert GitLab's webhooks and packages to pipeline runs and registry pushes."""

from __future__ import annotations

from typing import Any, Final

from schemas import dead_letters as reasons
from schemas.events import (
    ArtifactKind,
    ComponentRef,
    Event,
    File,
    PipelineRun,
    Publisher,
    PushAction,
    RegistryPush,
    RunStage,
    RunState,
)
from streams.adapters.file_kinds import kind_of_files
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
    registry_event,
    run_event,
    sha256_digest,
    text,
)

_STATES: Final = {
    "created": RunState.STARTED,
    "waiting_for_resource": RunState.STARTED,
    "preparing": RunState.STARTED,
    "pending": RunState.STARTED,
    "scheduled": RunState.STARTED,
    "manual": RunState.STARTED,
    "blocked": RunState.STARTED,
    "running": RunState.RUNNING,
    "canceling": RunState.RUNNING,
    "success": RunState.SUCCEEDED,
    "failed": RunState.FAILED,
    "canceled": RunState.ABORTED,
    "skipped": RunState.ABORTED,
}
_MODELS: Final = "ml_model"
"""The type of a package that is a version of GitLab's model registry."""


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return the event of a pipeline, a deployment, or a package.

    Webhooks of pipelines and deployments are read, and packages as the REST API gives them, with
    their files in `package_files`: GitLab sends no webhook for packages. Jobs are a part of their
    pipeline; everything else (issues, comments, releases, system hooks) is not monitored.

    Source: GitLab documentation, webhook events; Packages API.
    """
    kind = text(payload.body, "object_kind")
    if kind == "pipeline":
        return [_pipeline(payload)]
    if kind == "deployment":
        return [_deployment(payload)]
    if kind is not None or text(payload.body, "event_name") is not None:
        return []
    if text(payload.body, "package_type") is not None:
        return [_package(payload)]
    raise refuse("no object_kind of a webhook, and no package_type of a package")


def _project(body: dict[str, Any]) -> tuple[str, str | None]:
    """Return the path of a webhook's project and its host."""
    path = text(body, "project", "path_with_namespace")
    if path is None:
        raise refuse("no project.path_with_namespace", reasons.MISSING_IDENTITY)
    return path, host_of(text(body, "project", "web_url"))


def _pipeline(payload: Payload) -> Event[Any]:
    body = payload.body
    path, host = _project(body)
    run = at(body, "object_attributes")
    run_id, status = text(run, "id"), text(run, "status") or ""
    if run_id is None:
        raise refuse("no object_attributes.id", reasons.MISSING_IDENTITY)
    parameters = read_parameters(
        {
            key: at(entry, "value")
            for entry in items(run, "variables")
            if (key := text(entry, "key")) is not None
        }
    )
    data = PipelineRun(
        # The name of a pipeline often contains the branch or commit: it does not identify it.
        pipeline=path,
        run_id=run_id,
        state=_STATES.get(status, RunState.RUNNING),
        config=parameters.config,
        inputs=parameters.inputs,
        data_sources=parameters.data_sources,
    )
    when = moment(at(run, "finished_at")) or moment(at(run, "created_at"))
    return run_event(
        payload,
        data,
        id=derived_id("gitlab-pipeline", host, path, run_id, status),
        source=f"//gitlab/{host or 'unknown'}/{path}",
        time=when,
    )


def _deployment(payload: Payload) -> Event[Any]:
    body = payload.body
    path, host = _project(body)
    status = text(body, "status") or ""
    run_id = text(body, "deployment_id")
    environment = text(body, "environment")
    if run_id is None or environment is None:
        raise refuse("no deployment_id or environment", reasons.MISSING_IDENTITY)
    data = PipelineRun(
        pipeline=f"{path}/{environment}",
        run_id=run_id,
        stage=RunStage.DEPLOYMENT,
        state=_STATES.get(status, RunState.RUNNING),
        outputs=(ComponentRef(component=f"deployment:{path}/{environment}"),),
    )
    return run_event(
        payload,
        data,
        id=derived_id("gitlab-deployment", host, path, run_id, status),
        source=f"//gitlab/{host or 'unknown'}/{path}",
        time=moment(at(body, "status_changed_at")),
    )


def _package(payload: Payload) -> Event[Any]:
    body = payload.body
    name, version = text(body, "name"), text(body, "version")
    kind = text(body, "package_type")
    if name is None:
        raise refuse("no name of the package", reasons.MISSING_IDENTITY)
    web = text(body, "_links", "web_path")
    project = text(body, "project_path") or (web or "").partition("/-/")[0].strip("/") or None
    files = tuple(_file(entry) for entry in items(body, "package_files"))
    listed = tuple(file for file in files if file is not None)
    # A generic package can contain anything: its files show what it is.
    by_files = (
        kind_of_files([file.path for file in listed]) if kind == "generic" else ArtifactKind.PACKAGE
    )
    when = max(
        (found for entry in items(body, "package_files")
         if (found := moment(at(entry, "created_at"))) is not None),
        default=moment(at(body, "created_at")),
    )  # fmt: skip
    host = host_of(text(body, "pipeline", "web_url"))
    push = RegistryPush(
        action=PushAction.PUSH,
        kind=ArtifactKind.MODEL if kind == _MODELS else by_files,
        ecosystem=None if kind in {_MODELS, "generic"} else kind,
        registry=payload.registry(host or "gitlab"),
        repository=f"{project}/{name}" if project else name,
        revision=version,
        publisher=Publisher(
            name=(project or "").rpartition("/")[0] or None,
            account=text(body, "pipeline", "user", "username"),
        ),
        files=listed,
    )
    return registry_event(
        payload,
        push,
        id=derived_id(
            "gitlab-package", host, text(body, "id") or push.repository, version,
            *(file.digests.get("sha256") for file in listed),
        ),
        source=f"//gitlab/{host or 'unknown'}/{project or name}",
        time=when,
    )  # fmt: skip


def _file(entry: Any) -> File | None:  # noqa: ANN401 -- any JSON value
    path = text(entry, "file_name")
    size = at(entry, "size")
    if path is None:
        return None
    return File(
        path=path,
        size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        digests=sha256_digest(text(entry, "file_sha256")),
    )
