"""Sightings of a run for the component ledger: what it used, produced and serves."""

from __future__ import annotations

import re
from typing import Final, Protocol

import msgspec

from agents.checks.pipelines.sources import (
    RunSource,
    commit_of,
    dataset_key,
    domain_key,
    sha256_of,
    vendor_key,
)
from agents.checks.provenance.identity import registry_name
from agents.domain.component_keys import event_key
from agents.domain.roles import digest_used_as
from agents.triage.routing import is_own_name, split_version
from schemas.canonical import stable_id
from schemas.components import (
    InvalidComponentError,
    component_key,
    split_key,
    tenant_scoped,
)
from schemas.events import ComponentRef, Event, PipelineRun
from schemas.observations import Sighting
from schemas.policy import Policy

MAX_PARENTS: Final = 512
MAX_REACHING: Final = 8
"""Models of a run that are recorded with each domain it reached."""
MAX_SIGHTINGS: Final = 4_000
MAX_EDGES: Final = 1_024
"""Inputs times outputs; a larger run becomes a node of its own, so that edges add, not multiply."""
PARENTS_OF_ONE: Final = 128
"""Inputs in one sighting of a larger run."""
_IN_REGISTRY: Final = frozenset({"model", "dataset", "image"})
_RELEASE: Final = re.compile(
    r"[/_.@-](v[0-9]+(?:\.[0-9]+)*|[0-9]+\.[0-9]+(?:\.[0-9]+)*|20[0-9]{2}-?[01][0-9](?:-?[0-3][0-9])?)"
    r"(?=[/_.-]|$)"
)
_SERVING_STAGES: Final = frozenset({"deployment", "serving"})
_GATHERING_STAGES: Final = frozenset({"crawl", "annotation"})
_MADE: Final = frozenset({"made", "served", "config"})
_ENDED: Final = frozenset({"failed", "aborted"})


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Sightings of one run, and counts of what could not be reported."""

    sightings: tuple[Sighting, ...]
    unreadable: tuple[str, ...] = ()
    """References that name no component."""
    left_out: int = 0
    """Sightings or parents beyond the limits."""


def run_component(event: Event[PipelineRun]) -> str:
    """Return the component key of the pipeline itself, apart for each tenant."""
    name = event.data.pipeline or event.subject.removeprefix("pipeline:") or event.source
    return tenant_scoped(component_key("pipeline", name), event.tenantid)


def run_system(event: Event[PipelineRun]) -> str:
    """Return the system that a run ran on."""
    return event.data.system or event.data.pipeline or event.source


def ref_component(ref: ComponentRef, tenant: str, policy: Policy) -> str:
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


def exposure_of(run: PipelineRun) -> tuple[str, str]:
    """Return the exposure of a run's inputs and of its outputs, by its stage and state.

    A running deployment is serving; loaded inputs are executed, inputs that are only gathered are
    delivered; outputs of a run that failed or has only started are staged.
    """
    if run.stage in _SERVING_STAGES:
        if run.state in {"running", "succeeded"}:
            return "serving", "serving"
        return ("executed" if run.state != "aborted" else "delivered"), "staged"
    used = "delivered" if run.stage in _GATHERING_STAGES or run.state == "aborted" else "executed"
    made = "staged" if run.state in _ENDED | {"started"} else "delivered"
    return used, made


def source_version(source: RunSource, stage: str | None) -> str | None:
    """Return the version an address names, whose content must not change.

    It is a release or date in the path, or the page itself for a crawl; an address without one is
    expected to change daily.
    """
    if stage == "crawl" and source.url:
        return "crawl"
    if not source.url:
        return None
    match = _RELEASE.search(source.place.path.partition("?")[0])
    return match[1] if match else None


def run_criticality(event: Event[PipelineRun], policy: Policy) -> float | None:
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


def run_lineage(
    event: Event[PipelineRun],
    policy: Policy,
    sources: list[RunSource],
    *,
    config_digest: str | None,
) -> Lineage:
    """Return the sightings of a run.

    Args:
        event: The run.
        policy: Its tenant's policy: internal registries, criticality.
        sources: Its data sources.
        config_digest: The configuration's hash, if it is to become the pipeline's baseline.
    """
    run, tenant = event.data, event.tenantid
    used_as, made_as = exposure_of(run)
    unreadable: list[str] = []
    found: dict[str, Sighting] = {}
    criticality = run_criticality(event, policy)

    def see(component: str, kind: str, exposure: str, *, version: str | None = None,
            digest: str | None = None, **more: object) -> None:  # fmt: skip
        identity = stable_id(
            "sgt",
            tenant,
            event.source,
            event.id,
            component,
            kind,
            version or "",
            digest or "",
            str(more.get("name") or ""),
        )
        sighting = Sighting(
            id=identity,
            component=component,
            tenant=tenant,
            system=run_system(event),
            event_id=event.id,
            source=event.source,
            occurred_at=event.time,
            kind=kind,
            version=version,
            digest=digest,
            stage=run.stage,
            exposure=exposure,
            criticality=criticality,
            identities=run.identities,
            appended=event.position,
        )
        found.setdefault(identity, msgspec.structs.replace(sighting, **more) if more else sighting)

    parents: dict[str, None] = {run_component(event): None}
    models: list[str] = []
    for ref in run.inputs:
        try:
            key = ref_component(ref, tenant, policy)
        except InvalidComponentError:
            unreadable.append(ref.component[:100])
            continue
        digest = sha256_of(ref.digests)
        # With the version or digest that was used: no other version taints the outputs.
        used = ref.revision or (f"sha256:{digest}" if digest else None)
        parents[f"{key}@{used}" if used else key] = None
        models.append(key)
        see(key, "used", used_as, version=ref.revision, digest=digest)
        commit = commit_of(ref.digests)
        if commit and commit != ref.revision:
            # Under its tag and under the commit it resolved to: either may be found to be bad.
            parents[f"{key}@{commit}"] = None
            see(key, "used", used_as, version=commit, tag=ref.revision)
        if digest:
            parents[digest_used_as(digest, key)] = None
            see(f"sha256:{digest}", "used", used_as, version=ref.revision, digest=digest, name=key)
    # Who reached a domain: the pipeline, and the models it loaded, whose code may have.
    loaded = [key for key in dict.fromkeys(models) if key.startswith("model:")][:MAX_REACHING]
    reached_by = (run_component(event), *loaded)
    for source in sources:
        for key in _see_source(source, tenant, see, used_as, run.stage, reached_by):
            parents[key] = None

    made_from = tuple(parents)[:MAX_PARENTS]
    left_out = len(parents) - len(made_from)
    if len(made_from) * len(run.outputs) > MAX_EDGES or len(made_from) > PARENTS_OF_ONE:
        made_from = _through_the_run(event, made_from, see, used_as)
    for ref in run.outputs:
        try:
            key = ref_component(ref, tenant, policy)
        except InvalidComponentError:
            unreadable.append(ref.component[:100])
            continue
        digest = sha256_of(ref.digests)
        own = {key, f"sha256:{digest}"}
        of = tuple(parent for parent in made_from if split_version(parent)[0] not in own)
        kind = "served" if made_as == "serving" else "made"
        see(key, kind, made_as, version=ref.revision, digest=digest, made_from=of)
        if digest:
            see(f"sha256:{digest}", kind, made_as, version=ref.revision, digest=digest, name=key,
                made_from=of)  # fmt: skip
    if run.stage in _SERVING_STAGES and not run.outputs and (run.pipeline or run.system):
        # A deployment without outputs still serves: its inputs are recorded under its name.
        name = run.pipeline or run.system or ""
        key = tenant_scoped(component_key("deployment", name), tenant)
        see(key, "served" if made_as == "serving" else "made", made_as, made_from=made_from)
    if config_digest is not None:
        see(run_component(event), "config", used_as, version=config_digest, digest=config_digest)
    else:
        see(run_component(event), "seen", used_as)
    # At the limit the outputs are kept: without them lineage ends here.
    first = sorted(found.values(), key=lambda one: not (one.made_from or one.kind in _MADE))
    kept = tuple(first[:MAX_SIGHTINGS])
    return Lineage(
        sightings=kept,
        unreadable=tuple(dict.fromkeys(unreadable)),
        left_out=len(found) - len(kept) + left_out,
    )


def _through_the_run(
    event: Event[PipelineRun], parents: tuple[str, ...], see: _See, exposure: str
) -> tuple[str, ...]:
    """Record the run as made from its inputs; return the parents of its outputs.

    In parts, as versions of the pipeline: a sighting may name only so many inputs.
    """
    pipeline = run_component(event)
    of = tuple(parent for parent in parents if split_version(parent)[0] != pipeline)
    run_id = stable_id("run", event.tenantid, event.source, event.id)
    versions = []
    for number, start in enumerate(range(0, len(of), PARENTS_OF_ONE)):
        versions.append(f"{run_id}-{number}")
        part = of[start : start + PARENTS_OF_ONE]
        see(pipeline, "seen", exposure, version=versions[-1], made_from=part)
    return (pipeline, *(f"{pipeline}@{version}" for version in versions))


class _See(Protocol):
    """Records one sighting of the run."""

    def __call__(
        self,
        component: str,
        kind: str,
        exposure: str,
        *,
        version: str | None = None,
        digest: str | None = None,
        **more: object,
    ) -> None:
        """Keep it, once."""


def _see_source(
    source: RunSource,
    tenant: str,
    see: _See,
    exposure: str,
    stage: str | None,
    reached_by: tuple[str, ...],
) -> list[str]:
    """Record the sightings of one data source and return its keys."""
    dataset, domain, vendor = dataset_key(source, tenant), domain_key(source), vendor_key(source)
    digest = source.digest or source.pinned
    origin = source.place.host or None
    keys = [dataset]
    # The vendor is not a publisher of the dataset's registry: it has its own sighting.
    version = source_version(source, stage)
    see(dataset, "used", exposure, version=version, digest=digest, origin=origin, name=source.name)
    if digest:
        keys.append(f"sha256:{digest}")
        see(keys[-1], "used", exposure, digest=digest, name=dataset, origin=origin)
    if domain:
        keys.append(domain)
        for component in reached_by:
            see(domain, "used", exposure, name=component)
    if vendor:
        keys.append(vendor)
        see(vendor, "used", exposure, name=dataset)
    return keys
