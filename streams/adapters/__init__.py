"""Convert producers' payloads to native events: `tidewatch send --as KIND`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from schemas.cloudevents import read_event, write_structured
from schemas.errors import TidewatchError
from schemas.events import Event

ADAPTERS: Final[dict[str, str]] = {
    "acr": "streams.adapters.acr:adapt",
    "argo": "streams.adapters.argo:adapt",
    "artifact-registry": "streams.adapters.artifact_registry:adapt",
    "azure-ml": "streams.adapters.azure_ml:adapt",
    "cdevents": "streams.adapters.cdevents:adapt",
    "conda-environment": "streams.adapters.manifests.conda:adapt_environment",
    "conda-explicit": "streams.adapters.manifests.conda:adapt_explicit",
    "conda-lock": "streams.adapters.manifests.conda:adapt_lock",
    "cyclonedx": "streams.adapters.manifests.cyclonedx:adapt",
    "docker-hub": "streams.adapters.docker_hub:adapt",
    "dockerfile": "streams.adapters.manifests.commands:adapt_dockerfile",
    "ecr": "streams.adapters.ecr:adapt",
    "github-package": "streams.adapters.github:adapt_package",
    "github-workflow-run": "streams.adapters.github:adapt_workflow_run",
    "gitlab": "streams.adapters.gitlab:adapt",
    "harbor": "streams.adapters.harbor:adapt",
    "huggingface": "streams.adapters.huggingface:adapt",
    "jfrog": "streams.adapters.jfrog:adapt",
    "kubeflow": "streams.adapters.kubeflow:adapt",
    "mlflow": "streams.adapters.mlflow:adapt",
    "oci": "streams.adapters.oci:adapt",
    "openlineage": "streams.adapters.openlineage:adapt",
    "pdm-lock": "streams.adapters.manifests.pdm_lock:adapt",
    "pip-inspect": "streams.adapters.manifests.pip_reports:adapt_inspect",
    "pip-list": "streams.adapters.manifests.pip_reports:adapt_list",
    "pip-report": "streams.adapters.manifests.pip_reports:adapt_report",
    "pipfile": "streams.adapters.manifests.pipfile:adapt",
    "pipfile-lock": "streams.adapters.manifests.pipfile:adapt_lock",
    "poetry-lock": "streams.adapters.manifests.poetry_lock:adapt",
    "pylock": "streams.adapters.manifests.pylock:adapt",
    "pyproject": "streams.adapters.manifests.pyproject:adapt",
    "python-script": "streams.adapters.manifests.python_script:adapt",
    "quay": "streams.adapters.quay:adapt",
    "requirements": "streams.adapters.manifests.requirements:adapt",
    "sagemaker-model-package": "streams.adapters.sagemaker:adapt_model_package",
    "sagemaker-pipeline": "streams.adapters.sagemaker:adapt_pipeline",
    "setup-cfg": "streams.adapters.manifests.setup_cfg:adapt",
    "shell-script": "streams.adapters.manifests.commands:adapt_script",
    "spdx": "streams.adapters.manifests.spdx:adapt",
    "syft": "streams.adapters.manifests.syft:adapt",
    "tekton": "streams.adapters.tekton:adapt",
    "uv-lock": "streams.adapters.manifests.uv_lock:adapt",
    "wandb": "streams.adapters.wandb:adapt",
}
"""`module:function` by kind of payload; a module is imported when its kind is first used."""
MAX_EVENT_BYTES: Final = 8 << 20


class UnknownProducerError(TidewatchError):
    """A kind of payload without an adapter."""


def adapt(
    kind: str,
    payload: bytes | str | Mapping[str, Any],
    *,
    tenant: str | None,
    **options: Any,  # noqa: ANN401 -- each kind has its own
) -> list[Event[Any]]:
    """Return the native events that a producer's payload represents.

    Ids are derived from the payload, so a payload sent twice gives the same events. Fields that
    the producer omits stay None. A payload unrelated to a supply chain (a discussion, a quota)
    gives no event.

    Args:
        kind: One of `ADAPTERS`.
        payload: JSON, or for packages the file of the kind.
        tenant: The tenant, which producers don't know.
        options: `source` and `system` of the events, `time` or `received_ms` of reception for
            payloads without a time, `headers` of the request, and options of the kind itself.

    Raises:
        UnknownProducerError: no such kind.
        UnreadableRecordError: the payload is not valid for its kind.
    """
    reference = ADAPTERS.get(kind)
    if reference is None:
        raise UnknownProducerError(
            f"no adapter for {kind[:60]!r}",
            remedy=f"use one of {', '.join(sorted(ADAPTERS))}",
        )
    module, _, name = reference.partition(":")
    function: Callable[..., list[Event[Any]]] = getattr(import_module(module), name)
    events = function(payload, tenant=tenant, **options)
    for event in events:
        # An event that its topic would refuse is refused here, where the sender sees the error.
        read_event(
            write_structured(event),
            (),
            timestamp_ms=int(event.time.timestamp() * 1000),
            max_bytes=MAX_EVENT_BYTES,
        )
    return events
