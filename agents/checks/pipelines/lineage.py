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
    vendor_key,
)
from agents.checks.pipelines.subject import SERVING_STAGES, RunSubject
from agents.domain.component_keys import names_content
from agents.domain.roles import digest_used_as
from agents.triage.routing import split_version
from schemas.canonical import stable_id
from schemas.components import component_key, tenant_scoped
from schemas.observations import Sighting, SightingKind
from schemas.severity import ExposureLevel

MAX_PARENTS: Final = 512
MAX_REACHING: Final = 8
"""Models of a run that are recorded with each domain it reached."""
MAX_SIGHTINGS: Final = 4_000
MAX_EDGES: Final = 1_024
"""Inputs times outputs; a larger run becomes a node of its own, so that edges add, not multiply."""
PARENTS_OF_ONE: Final = 128
"""Inputs in one sighting of a larger run."""
_RELEASE: Final = re.compile(
    r"[/_.@-](v[0-9]+(?:\.[0-9]+)*|[0-9]+\.[0-9]+(?:\.[0-9]+)*|20[0-9]{2}-?[01][0-9](?:-?[0-3][0-9])?)"
    r"(?=[/_.-]|$)"
)
_MADE: Final = frozenset({SightingKind.MADE, SightingKind.SERVED, SightingKind.CONFIG})


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Sightings of one run, and counts of what could not be reported."""

    sightings: tuple[Sighting, ...]
    unreadable: tuple[str, ...] = ()
    """References that name no component."""
    left_out: int = 0
    """Sightings or parents beyond the limits."""


def source_version(source: RunSource, stage: str | None) -> str | None:
    """Return the version an address names, whose content must not change.

    It is a release or date in the path, or the page itself for a crawl; an address without one is
    expected to change daily.
    """
    if stage == "crawl" and source.url:
        return "crawl"
    if not source.url:
        return None
    match = _RELEASE.search(source.address.path.partition("?")[0])
    return match[1] if match else None


def run_lineage(
    subject: RunSubject,
    sources: list[RunSource],
    *,
    config_digest: str | None,
    is_baseline: bool = False,
) -> Lineage:
    """Return the sightings of a run.

    Args:
        subject: The run.
        sources: Its data sources.
        config_digest: The hash of the run's configuration, if it has one. Outputs are made by the
            pipeline with this configuration: what is found in it says nothing of other runs.
        is_baseline: Whether the hash is to become the pipeline's baseline.
    """
    event, run, tenant = subject.event, subject.run, subject.event.tenantid
    used_as, made_as = subject.used_as, subject.made_as
    unreadable: list[str] = []
    found: dict[str, Sighting] = {}

    def see(
        component: str,
        kind: SightingKind,
        exposure: ExposureLevel,
        *,
        version: str | None = None,
        digest: str | None = None,
        **more: object,
    ) -> None:
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
            system=subject.system,
            event_id=event.id,
            source=event.source,
            occurred_at=event.time,
            kind=kind,
            version=version,
            digest=digest,
            stage=run.stage,
            exposure=exposure,
            criticality=subject.criticality,
            identities=run.identities,
            appended=event.position,
        )
        found.setdefault(identity, msgspec.structs.replace(sighting, **more) if more else sighting)

    pipeline = subject.component
    parents: dict[str, None] = {f"{pipeline}@{config_digest}" if config_digest else pipeline: None}
    models: list[str] = []
    for named in subject.inputs:
        ref, key, digest = named.ref, named.key, named.digest
        if key is None:
            unreadable.append(ref.component[:100])
            continue
        # With the version or digest that was used: no other version taints the outputs.
        used = ref.revision or (f"sha256:{digest}" if digest else None)
        parents[f"{key}@{used}" if used else key] = None
        if digest and ref.revision and not names_content(ref.revision):
            # The same version may be given another content: what is known of one is not of both.
            parents[f"{key}@sha256:{digest}"] = None
        models.append(key)
        see(key, SightingKind.USED, used_as, version=ref.revision, digest=digest)
        commit = commit_of(ref.digests)
        if commit and commit != ref.revision:
            # Under its tag and under the commit it resolved to: either may be found to be bad.
            parents[f"{key}@{commit}"] = None
            see(key, SightingKind.USED, used_as, version=commit, tag=ref.revision)
        if digest:
            parents[digest_used_as(digest, key)] = None
            see(
                f"sha256:{digest}",
                SightingKind.USED,
                used_as,
                version=ref.revision,
                digest=digest,
                name=key,
            )
    # Who reached a domain: the pipeline, and the models it loaded, whose code may have.
    loaded = [key for key in dict.fromkeys(models) if key.startswith("model:")][:MAX_REACHING]
    reached_by = (subject.component, *loaded)
    for source in sources:
        for key in _see_source(source, tenant, see, used_as, run.stage, reached_by):
            parents[key] = None

    made_from = tuple(parents)[:MAX_PARENTS]
    left_out = len(parents) - len(made_from)
    if len(made_from) * len(run.outputs) > MAX_EDGES or len(made_from) > PARENTS_OF_ONE:
        made_from = _through_the_run(subject, made_from, see, used_as)
    produced = SightingKind.SERVED if made_as is ExposureLevel.SERVING else SightingKind.MADE
    for named in subject.outputs:
        ref, key, digest = named.ref, named.key, named.digest
        if key is None:
            unreadable.append(ref.component[:100])
            continue
        own = {key, f"sha256:{digest}"}
        of = tuple(parent for parent in made_from if split_version(parent)[0] not in own)
        see(key, produced, made_as, version=ref.revision, digest=digest, made_from=of)
        if digest:
            see(f"sha256:{digest}", produced, made_as, version=ref.revision, digest=digest,
                name=key, made_from=of)  # fmt: skip
    if run.stage in SERVING_STAGES and not run.outputs and (run.pipeline or run.system):
        # A deployment without outputs still serves: its inputs are recorded under its name.
        name = run.pipeline or run.system or ""
        key = tenant_scoped(component_key("deployment", name), tenant)
        see(key, produced, made_as, made_from=made_from)
    if config_digest is not None and is_baseline:
        see(pipeline, SightingKind.CONFIG, used_as, version=config_digest, digest=config_digest)
    else:
        see(pipeline, SightingKind.SEEN, used_as, version=config_digest)
    # At the limit the outputs are kept: without them lineage ends here.
    first = sorted(found.values(), key=lambda item: not (item.made_from or item.kind in _MADE))
    kept = tuple(first[:MAX_SIGHTINGS])
    return Lineage(
        sightings=kept,
        unreadable=tuple(dict.fromkeys(unreadable)),
        left_out=len(found) - len(kept) + left_out,
    )


def _through_the_run(
    subject: RunSubject, parents: tuple[str, ...], see: _See, exposure: ExposureLevel
) -> tuple[str, ...]:
    """Record the run as made from its inputs; return the parents of its outputs.

    In parts, as versions of the pipeline: a sighting may name only so many inputs.
    """
    event, pipeline = subject.event, subject.component
    of = tuple(parent for parent in parents if split_version(parent)[0] != pipeline)
    run_id = stable_id("run", event.tenantid, event.source, event.id)
    versions = []
    for number, start in enumerate(range(0, len(of), PARENTS_OF_ONE)):
        versions.append(f"{run_id}-{number}")
        part = of[start : start + PARENTS_OF_ONE]
        see(pipeline, SightingKind.SEEN, exposure, version=versions[-1], made_from=part)
    itself = (parent for parent in parents if split_version(parent)[0] == pipeline)
    return (*itself, *(f"{pipeline}@{version}" for version in versions))


class _See(Protocol):
    """Records one sighting of the run."""

    def __call__(
        self,
        component: str,
        kind: SightingKind,
        exposure: ExposureLevel,
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
    exposure: ExposureLevel,
    stage: str | None,
    reached_by: tuple[str, ...],
) -> list[str]:
    """Record the sightings of one data source and return its keys."""
    dataset, domain, vendor = dataset_key(source, tenant), domain_key(source), vendor_key(source)
    digest = source.digest or source.pinned
    origin = source.address.host or None
    keys = [dataset]
    # The vendor is not a publisher of the dataset's registry: it has its own sighting.
    version = source_version(source, stage)
    see(dataset, SightingKind.USED, exposure, version=version, digest=digest, origin=origin)
    if digest:
        keys.append(f"sha256:{digest}")
        see(keys[-1], SightingKind.USED, exposure, digest=digest, name=dataset, origin=origin)
    if domain:
        keys.append(domain)
        for component in reached_by:
            see(domain, SightingKind.USED, exposure, name=component)
    if vendor:
        keys.append(vendor)
        see(vendor, SightingKind.USED, exposure, name=dataset)
    return keys
