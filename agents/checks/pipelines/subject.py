"""The subject of a pipeline run: everything that its checks need of the event, computed once."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.checks.pipelines.sources import sha256_of
from agents.checks.provenance.identity import registry_name
from agents.domain.component_keys import event_key
from agents.triage.routing import is_own_name
from schemas.components import (
    InvalidComponentError,
    component_key,
    split_key,
    tenant_scoped,
)
from schemas.events import ComponentRef, Event, PipelineRun, RunStage, RunState
from schemas.policy import Policy
from schemas.severity import ExposureLevel

SERVING_STAGES: Final = frozenset({RunStage.DEPLOYMENT, RunStage.SERVING})
_IN_REGISTRY: Final = frozenset({"model", "dataset", "image"})
_GATHERING_STAGES: Final = frozenset({RunStage.CRAWL, RunStage.ANNOTATION})
_LIVE: Final = frozenset({RunState.RUNNING, RunState.SUCCEEDED})
_WITHOUT_OUTPUT: Final = frozenset({RunState.STARTED, RunState.FAILED, RunState.ABORTED})


class RunRef(msgspec.Struct, frozen=True):
    """An input or output, under its component key."""

    ref: ComponentRef
    key: str | None
    """None if it names no component."""
    digest: str | None
    """SHA-256, hex."""


class RunSubject(msgspec.Struct, frozen=True, kw_only=True):
    """A run and what follows from it under its tenant's policy."""

    event: Event[PipelineRun]
    policy: Policy
    component: str
    """Component key of the pipeline itself."""
    system: str
    """The system that it ran on."""
    used_as: ExposureLevel
    """Exposure of its inputs."""
    made_as: ExposureLevel
    """Exposure of its outputs."""
    criticality: float | None
    inputs: tuple[RunRef, ...]
    outputs: tuple[RunRef, ...]

    @property
    def run(self) -> PipelineRun:
        """The event's data."""
        return self.event.data


def run_subject(event: Event[PipelineRun], policy: Policy) -> RunSubject:
    """Return the subject of a run.

    Args:
        event: The run.
        policy: Its tenant's policy: internal registries, criticality.
    """
    run = event.data
    used_as, made_as = _exposures(run)

    def keyed(ref: ComponentRef) -> RunRef:
        try:
            key = _component(ref, event.tenantid, policy)
        except InvalidComponentError:
            key = None
        return RunRef(ref, key, sha256_of(ref.digests))

    return RunSubject(
        event=event,
        policy=policy,
        component=_pipeline(event),
        system=run.system or run.pipeline or event.source,
        used_as=used_as,
        made_as=made_as,
        criticality=_criticality(event, policy),
        inputs=tuple(map(keyed, run.inputs)),
        outputs=tuple(map(keyed, run.outputs)),
    )


def _pipeline(event: Event[PipelineRun]) -> str:
    """Return the component key of the pipeline itself, apart for each tenant."""
    name = event.data.pipeline or event.subject.removeprefix("pipeline:") or event.source
    return tenant_scoped(component_key("pipeline", name), event.tenantid)


def _component(ref: ComponentRef, tenant: str, policy: Policy) -> str:
    """Return the key of an input or output: of an internal registry, the tenant's own key.

    Raises:
        InvalidComponentError: it names no component.
    """
    prefix, name = split_key(ref.component.strip())
    if name.startswith("@"):
        return event_key(prefix, name, tenant)
    if is_own_name(f"{prefix}:{name}"):
        return tenant_scoped(component_key(prefix, name), tenant)
    if prefix in _IN_REGISTRY and "/" in name:
        registry, _, rest = name.partition("/")
        key = event_key(prefix, f"{registry_name(registry)}/{rest.strip('/')}", tenant)
        own = {registry_name(item) for item in policy.internal.registries}
        return tenant_scoped(key, tenant) if registry_name(registry) in own else key
    return event_key(prefix, name, tenant)


def _exposures(run: PipelineRun) -> tuple[ExposureLevel, ExposureLevel]:
    """Return the exposure of a run's inputs and of its outputs, by its stage and state.

    A running deployment is serving; loaded inputs are executed, inputs that are only gathered are
    delivered; outputs of a run that failed or has only started are staged.
    """
    serves = run.stage in SERVING_STAGES
    if serves and run.state in _LIVE:
        return ExposureLevel.SERVING, ExposureLevel.SERVING
    gathers = run.stage in _GATHERING_STAGES or run.state == RunState.ABORTED
    stays = serves or run.state in _WITHOUT_OUTPUT
    return (
        ExposureLevel.DELIVERED if gathers else ExposureLevel.EXECUTED,
        ExposureLevel.STAGED if stays else ExposureLevel.DELIVERED,
    )


def _criticality(event: Event[PipelineRun], policy: Policy) -> float | None:
    """Return the greatest criticality that policy or event assign to the run or its outputs."""
    run = event.data
    names = [
        run.system or "",
        f"host:{run.system}",
        f"pipeline:{run.pipeline}",
        event.subject,
        *(ref.component for ref in run.outputs),
    ]
    known = [policy.criticality[name] for name in names if name in policy.criticality]
    if run.criticality is not None:
        known.append(run.criticality)
    return max(known, default=None)
