"""Convert GitHub's package and workflow_run webhooks to registry pushes and pipeline runs."""

from __future__ import annotations

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
)
from streams.adapters.container_images import manifest_file
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
    sha256_digest,
    text,
)

_CONTAINERS: Final = frozenset({"container", "docker"})
_CONCLUSIONS: Final = {
    "success": RunState.SUCCEEDED,
    "neutral": RunState.SUCCEEDED,
    "failure": RunState.FAILED,
    "timed_out": RunState.FAILED,
    "startup_failure": RunState.FAILED,
    "cancelled": RunState.ABORTED,
    "skipped": RunState.ABORTED,
    "stale": RunState.ABORTED,
    "action_required": RunState.STARTED,
}


def _is_ping(body: dict[str, Any]) -> bool:
    """Return whether a delivery only tests a new webhook."""
    return "zen" in body and "hook_id" in body


def _ecosystem(package: Any) -> str | None:  # noqa: ANN401 -- any JSON value
    named = text(package, "ecosystem") or text(package, "package_type")
    return named.lower() if named else None


def _package_files(version: dict[str, Any]) -> tuple[File, ...]:
    return tuple(
        File(
            path=path,
            # The query of a download URL is a signature, which is a credential.
            uri=(text(entry, "download_url") or "").partition("?")[0] or None,
            size=size if isinstance(size := at(entry, "size"), int) and size >= 0 else None,
            digests=sha256_digest(text(entry, "sha256")),
        )
        for entry in items(version, "package_files")
        if (path := text(entry, "name")) is not None
    )


@adapter
def adapt_package(payload: Payload) -> list[Event[Any]]:
    """Return the event of a package version that was published or updated.

    Reads `package` and `registry_package` deliveries. Timestamps of the year 1 (Go's zero time)
    count as absent.

    Source: octokit/webhooks, payload examples of `package` and `registry_package`.
    """
    body = payload.body
    if _is_ping(body):
        return []
    package = at(body, "registry_package") or at(body, "package")
    version = at(package, "package_version")
    name, namespace = text(package, "name"), text(package, "namespace")
    if not isinstance(version, dict) or name is None:
        raise refuse("no package or package_version")
    manifest = text(version, "container_metadata", "manifest", "digest")
    kinds = {(text(package, field) or "").lower() for field in ("ecosystem", "package_type")}
    image = manifest is not None or (not version.get("package_files") and bool(kinds & _CONTAINERS))
    repository = namespace or name
    if namespace and not namespace.endswith(f"/{name}") and not image:
        repository = f"{namespace}/{name}"
    revision = manifest or text(version, "version")
    tag = text(version, "container_metadata", "tag", "name") if image else None
    sender = at(body, "sender")
    login = text(sender, "login")
    push = RegistryPush(
        action=PushAction.PUSH,
        kind=ArtifactKind.IMAGE if image else ArtifactKind.PACKAGE,
        ecosystem=None if image else _ecosystem(package),
        registry=payload.registry("ghcr.io" if image else "github"),
        repository=repository,
        revision=revision,
        tag=tag,
        publisher=Publisher(
            name=text(package, "owner", "login"),
            account=login,
            id=text(package, "owner", "id"),
            auth="token" if login and login.endswith("[bot]") else "unknown",
        ),
        files=manifest_file(manifest) or _package_files(version),
        visibility=text(body, "repository", "visibility"),
    )
    times = [at(version, "updated_at"), at(version, "created_at"), at(package, "updated_at")]
    when = next((found for value in times if (found := moment(value))), None)
    action = text(body, "action")
    if action is None:
        raise refuse("no action")
    return [
        registry_event(
            payload,
            push,
            id=payload.header("x-github-delivery")
            or derived_id(
                "github-package",
                text(package, "id"),
                text(version, "id"),
                action,
                revision,
                when.isoformat() if when else None,
            ),
            source=f"//github/{text(body, 'repository', 'full_name') or repository}",
            time=when,
        )
    ]


@adapter
def adapt_workflow_run(payload: Payload) -> list[Event[Any]]:
    """Return the event of a workflow run that was requested, is in progress or completed.

    Source: octokit/webhooks, payload examples of `workflow_run`.
    """
    body = payload.body
    if _is_ping(body):
        return []
    run = at(body, "workflow_run")
    run_id, full_name = text(run, "id"), text(body, "repository", "full_name")
    if run_id is None or full_name is None:
        raise refuse("no workflow_run.id or repository.full_name", reasons.MISSING_IDENTITY)
    name = text(body, "workflow", "name") or text(run, "name") or text(run, "path") or "workflow"
    status, conclusion = text(run, "status"), text(run, "conclusion")
    if conclusion is not None:
        state = _CONCLUSIONS.get(conclusion, RunState.FAILED)
    else:
        state = RunState.RUNNING if status == "in_progress" else RunState.STARTED
    attempt = text(run, "run_attempt") or "1"
    when = moment(at(run, "updated_at"))
    data = PipelineRun(
        pipeline=f"{full_name}/{name}",
        run_id=run_id if attempt == "1" else f"{run_id}/{attempt}",
        state=state,
    )
    return [
        run_event(
            payload,
            data,
            # Derive the id from run, attempt and state: a redelivery has a new delivery id.
            id=derived_id("github-run", run_id, attempt, status, conclusion),
            source=f"//github/{full_name}",
            time=when,
        )
    ]
