"""What the tests of adapters share: producers' payloads, and the events that they give."""

from __future__ import annotations

from streams.adapters import adapt
from tests.samples import sample

RECEIVED_MS = 1_795_000_000_000


SAMPLES = {
    "acr.image_pushed.json": "acr",
    "acr.event_grid.image_deleted.json": "acr",
    "argo.workflow_steps.json": "argo",
    "artifact-registry.insert.json": "artifact-registry",
    "azure-ml.model_deployed.json": "azure-ml",
    "azure-ml.model_registered.json": "azure-ml",
    "azure-ml.run_status_changed.json": "azure-ml",
    "docker-hub.push.json": "docker-hub",
    "ecr.image_action.json": "ecr",
    "gitlab.deployment.json": "gitlab",
    "gitlab.package.ml_model.json": "gitlab",
    "gitlab.package.pypi.json": "gitlab",
    "gitlab.pipeline.json": "gitlab",
    "huggingface.bucket_content.json": "huggingface",
    "huggingface.repo_content.json": "huggingface",
    "jfrog.wheel_deployed.json": "jfrog",
    "quay.repository_push.json": "quay",
    "mlflow.model_version_created.json": "mlflow",
    "harbor.push_artifact.json": "harbor",
    "harbor.artifact_pushed.cloudevent.json": "harbor",
    "oci.push.json": "oci",
    "jfrog.artifact_deployed.json": "jfrog",
    "github.package_published.npm.json": "github-package",
    "github.registry_package_published.container.json": "github-package",
    "github.workflow_run_completed.json": "github-workflow-run",
    "sagemaker.model_package_state_change.json": "sagemaker-model-package",
    "sagemaker.pipeline_execution_status_change.json": "sagemaker-pipeline",
    "openlineage.run_complete.json": "openlineage",
    "tekton.pipelinerun_successful.json": "tekton",
    "argo.workflow_succeeded.json": "argo",
    "kubeflow.run.json": "kubeflow",
} | {
    f"cdevents-{version}.{name}.json": "cdevents"
    for version in ("0.4.1", "0.5.1")
    for name in (
        "artifact_downloaded",
        "artifact_published",
        "artifact_signed",
        "pipelinerun_finished",
        "pipelinerun_started",
    )
}


def payload_of(name):
    return sample("in", name)


def events_of(name, **options):
    return adapt(
        SAMPLES[name], payload_of(name), tenant="tenant-a", received_ms=RECEIVED_MS, **options
    )


def only(name, **options):
    (event,) = events_of(name, **options)
    return event
