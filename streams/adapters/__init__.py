"""Convert producers' payloads to native events: `tidewatch send --as KIND`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, Final

from schemas.errors import TidewatchError
from schemas.events import Event
from streams.adapters.manifests.kinds import PACKAGES

PRODUCERS: Final[dict[str, str]] = {
    "acr": "streams.adapters.acr:adapt",
    "argo": "streams.adapters.argo:adapt",
    "artifact-registry": "streams.adapters.artifact_registry:adapt",
    "azure-ml": "streams.adapters.azure_ml:adapt",
    "cdevents": "streams.adapters.cdevents:adapt",
    "docker-hub": "streams.adapters.docker_hub:adapt",
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
    "quay": "streams.adapters.quay:adapt",
    "sagemaker-model-package": "streams.adapters.sagemaker:adapt_model_package",
    "sagemaker-pipeline": "streams.adapters.sagemaker:adapt_pipeline",
    "tekton": "streams.adapters.tekton:adapt",
    "wandb": "streams.adapters.wandb:adapt",
}
"""`module:function` by kind of payload; a module is imported when its kind is first used."""
MANIFESTS: Final = {kind.name: kind for kind in PACKAGES}
"""The manifests that name packages."""
ADAPTERS: Final = tuple(sorted({*PRODUCERS, *MANIFESTS}))
"""Every kind of payload."""
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
        payload: JSON, or for packages the file of the kind. An array, a notification of Amazon
            SNS or a pull of Pub/Sub is unwrapped.
        tenant: The tenant, which producers don't know.
        options: `source` and `system` of the events, `time` or `received_ms` of reception for
            payloads without a time, `headers` of the request, and options of the kind itself.

    Raises:
        UnknownProducerError: no such kind.
        UnreadableRecordError: the payload is not valid for its kind.
    """
    from schemas.cloudevents import read_event, write_structured  # noqa: PLC0415 -- who asks for kinds alone needs none
    from streams.adapters.envelopes import payloads_in  # noqa: PLC0415 -- the same

    read = _adapter(kind)
    # Manifests of packages may be arrays themselves.
    payloads = [payload] if kind in MANIFESTS else payloads_in(payload)
    events = [event for entry in payloads for event in read(entry, tenant=tenant, **options)]
    for event in events:
        # An event that its topic would refuse is refused here, where the sender sees the error.
        read_event(
            write_structured(event),
            (),
            timestamp_ms=int(event.time.timestamp() * 1000),
            max_bytes=MAX_EVENT_BYTES,
        )
    return events


def _adapter(kind: str) -> Callable[..., list[Event[Any]]]:
    if kind in MANIFESTS:
        adapt_manifest: Callable[..., list[Event[Any]]] = import_module(
            "streams.adapters.manifests.adapter"
        ).adapt_manifest
        return partial(adapt_manifest, MANIFESTS[kind])
    if kind not in PRODUCERS:
        raise UnknownProducerError(
            f"no adapter for {kind[:60]!r}", remedy=f"use one of {', '.join(ADAPTERS)}"
        )
    module, _, name = PRODUCERS[kind].partition(":")
    function: Callable[..., list[Event[Any]]] = getattr(import_module(module), name)
    return function
