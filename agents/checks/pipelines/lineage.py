"""Sightings of a run for the component ledger: what it used, produced and serves."""

from __future__ import annotations

import re
from typing import Final

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
from schemas.events import RunStage
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
    if stage == RunStage.CRAWL and source.url:
        return RunStage.CRAWL
    if not source.url:
        return None
    match = _RELEASE.search(source.address.path.partition("?")[0])
    return match[1] if match else None


class _RunSightings:
    """Collects the sightings of one run, each once."""

    def __init__(self, subject: RunSubject) -> None:
        self._subject = subject
        self.found: dict[str, Sighting] = {}
        self.parents: dict[str, None] = {}
        """What the outputs are made from, in the order of the event."""
        self.unreadable: dict[str, None] = {}

    def see(
        self,
        component: str,
        kind: SightingKind,
        exposure: ExposureLevel,
        *,
        version: str | None = None,
        digest: str | None = None,
        **more: object,
    ) -> None:
        """Keep a sighting, unless there is one with this identity."""
        subject, event = self._subject, self._subject.event
        identity = stable_id(
            "sgt",
            event.tenantid,
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
            tenant=event.tenantid,
            system=subject.system,
            event_id=event.id,
            source=event.source,
            occurred_at=event.time,
            kind=kind,
            version=version,
            digest=digest,
            stage=subject.run.stage,
            exposure=exposure,
            criticality=subject.criticality,
            identities=subject.run.identities,
            appended=event.position,
        )
        self.found.setdefault(
            identity, msgspec.structs.replace(sighting, **more) if more else sighting
        )

    def see_inputs(self) -> None:
        """Keep what the run used, as parents of its outputs too."""
        used_as, parents = self._subject.used_as, self.parents
        for named in self._subject.inputs:
            ref, key, digest = named.ref, named.key, named.digest
            if key is None:
                self.unreadable[ref.component[:100]] = None
                continue
            # With the version or digest that was used: no other version taints the outputs.
            used = ref.revision or (f"sha256:{digest}" if digest else None)
            parents[f"{key}@{used}" if used else key] = None
            if digest and ref.revision and not names_content(ref.revision):
                # The same version may get other content: facts about one do not apply to both.
                parents[f"{key}@sha256:{digest}"] = None
            self.see(key, SightingKind.USED, used_as, version=ref.revision, digest=digest)
            commit = commit_of(ref.digests)
            if commit and commit != ref.revision:
                # Under its tag and its resolved commit: either may turn out to be bad.
                parents[f"{key}@{commit}"] = None
                self.see(key, SightingKind.USED, used_as, version=commit, tag=ref.revision)
            if digest:
                parents[digest_used_as(digest, key)] = None
                self.see(
                    f"sha256:{digest}",
                    SightingKind.USED,
                    used_as,
                    version=ref.revision,
                    digest=digest,
                    name=key,
                )

    def see_source(self, source: RunSource, reached_by: tuple[str, ...]) -> None:
        """Keep one data source: the dataset, its digest, its domain and its vendor."""
        subject, exposure = self._subject, self._subject.used_as
        dataset = dataset_key(source, subject.event.tenantid)
        domain, vendor = domain_key(source), vendor_key(source)
        digest = source.digest or source.pinned
        origin = source.address.host or None
        self.parents[dataset] = None
        # The vendor is not a publisher of the dataset's registry: it has its own sighting.
        version = source_version(source, subject.run.stage)
        self.see(
            dataset, SightingKind.USED, exposure, version=version, digest=digest, origin=origin
        )
        if digest:
            content = f"sha256:{digest}"
            self.parents[content] = None
            self.see(
                content, SightingKind.USED, exposure, digest=digest, name=dataset, origin=origin
            )
        if domain:
            self.parents[domain] = None
            for component in reached_by:
                self.see(domain, SightingKind.USED, exposure, name=component)
        if vendor:
            self.parents[vendor] = None
            self.see(vendor, SightingKind.USED, exposure, name=dataset)

    def through_the_run(self, parents: tuple[str, ...]) -> tuple[str, ...]:
        """Keep the run as made from its inputs; return the parents of its outputs.

        In parts, as versions of the pipeline: a sighting may name only so many inputs.
        """
        event, pipeline = self._subject.event, self._subject.component
        of = tuple(parent for parent in parents if split_version(parent)[0] != pipeline)
        run_id = stable_id("run", event.tenantid, event.source, event.id)
        versions = []
        for number, start in enumerate(range(0, len(of), PARENTS_OF_ONE)):
            versions.append(f"{run_id}-{number}")
            self.see(
                pipeline,
                SightingKind.SEEN,
                self._subject.used_as,
                version=versions[-1],
                made_from=of[start : start + PARENTS_OF_ONE],
            )
        itself = (parent for parent in parents if split_version(parent)[0] == pipeline)
        return (*itself, *(f"{pipeline}@{version}" for version in versions))

    def see_outputs(self, made_from: tuple[str, ...]) -> None:
        """Keep what the run produced or serves."""
        subject, run, made_as = self._subject, self._subject.run, self._subject.made_as
        produced = SightingKind.SERVED if made_as is ExposureLevel.SERVING else SightingKind.MADE
        for named in subject.outputs:
            key, version, digest = named.key, named.ref.revision, named.digest
            if key is None:
                self.unreadable[named.ref.component[:100]] = None
                continue
            own = {key, f"sha256:{digest}"}
            of = tuple(parent for parent in made_from if split_version(parent)[0] not in own)
            self.see(key, produced, made_as, version=version, digest=digest, made_from=of)
            if digest:
                self.see(f"sha256:{digest}", produced, made_as, version=version, digest=digest,
                         name=key, made_from=of)  # fmt: skip
        if run.stage in SERVING_STAGES and not run.outputs and (run.pipeline or run.system):
            # A deployment without outputs still serves: its inputs are recorded under its name.
            name = run.pipeline or run.system or ""
            key = tenant_scoped(component_key("deployment", name), subject.event.tenantid)
            self.see(key, produced, made_as, made_from=made_from)


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
            pipeline with this configuration: its findings do not apply to other runs.
        is_baseline: Whether the hash is to become the pipeline's baseline.
    """
    collected = _RunSightings(subject)
    pipeline = subject.component
    collected.parents[f"{pipeline}@{config_digest}" if config_digest else pipeline] = None
    collected.see_inputs()
    # The components that may have reached a domain: the pipeline, and the models it loaded.
    used = dict.fromkeys(named.key for named in subject.inputs if named.key is not None)
    models = [key for key in used if key.startswith("model:")][:MAX_REACHING]
    for source in sources:
        collected.see_source(source, (pipeline, *models))
    made_from = tuple(collected.parents)[:MAX_PARENTS]
    cut = len(collected.parents) - len(made_from)
    if len(made_from) * len(subject.run.outputs) > MAX_EDGES or len(made_from) > PARENTS_OF_ONE:
        made_from = collected.through_the_run(made_from)
    collected.see_outputs(made_from)
    if config_digest is not None and is_baseline:
        collected.see(
            pipeline,
            SightingKind.CONFIG,
            subject.used_as,
            version=config_digest,
            digest=config_digest,
        )
    else:
        collected.see(pipeline, SightingKind.SEEN, subject.used_as, version=config_digest)
    # At the limit the outputs are kept: without them lineage ends here.
    ordered = sorted(
        collected.found.values(), key=lambda item: not (item.made_from or item.kind in _MADE)
    )
    return Lineage(
        sightings=tuple(ordered[:MAX_SIGHTINGS]),
        unreadable=tuple(collected.unreadable),
        left_out=max(len(ordered) - MAX_SIGHTINGS, 0) + cut,
    )
