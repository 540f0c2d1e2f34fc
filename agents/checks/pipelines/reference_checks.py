"""Findings about the components of a run: its inputs, outputs and evaluations."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator

from agents.checks.pipelines.behaviour import regression
from agents.checks.pipelines.lineage import ref_component, run_component
from agents.checks.pipelines.remote_code import UNPINNED, pinned
from agents.checks.pipelines.sources import RunSource, blocks, dataset_key, sha256_of
from agents.domain.detection import Detection
from schemas.components import InvalidComponentError
from schemas.events import Event, PipelineRun
from schemas.findings import Indicator
from schemas.policy import Policy
from schemas.severity import Disposition


def check_blocked_inputs(event: Event[PipelineRun], policy: Policy) -> Iterator[Detection]:
    """Find inputs that the policy blocks."""
    if not policy.blocked_sources:
        return
    for ref in event.data.inputs:
        try:
            key = ref_component(ref, event.tenantid, policy)
        except InvalidComponentError:
            continue
        digest = sha256_of(ref.digests)
        keys = [key, ref.component, *([f"sha256:{digest}"] if digest else [])]
        entry = next((e for e in policy.blocked_sources if blocks(e, keys)), None)
        if entry is not None:
            yield Detection(
                rule_id="TW-PIPE-BLOCKED-SOURCE",
                description=f"An input that the policy blocks was used: {ref.component[:200]}",
                evidence={"component": key, "revision": ref.revision, "blocked": entry[:200]},
                locator=f"input:{key}@{ref.revision or ''}",
                component=key,
                version=ref.revision,
                indicator=Indicator(key=key, type=key.partition(":")[0], value=key),
            )


def check_digests(event: Event[PipelineRun], policy: Policy) -> Iterator[Detection]:
    """Find versions that have several digests in one run."""
    seen: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for ref in (*event.data.inputs, *event.data.outputs):
        digest = sha256_of(ref.digests)
        if digest is None:
            continue
        try:
            key = ref_component(ref, event.tenantid, policy)
        except InvalidComponentError:
            continue
        # Without a revision, an input and an output of one name are versions, not a conflict.
        if ref.revision:
            seen[key, ref.revision][digest] = None
    for (key, revision), digests in seen.items():
        if len(digests) > 1:
            yield Detection(
                rule_id="TW-PIPE-DIGEST-CONFLICT",
                description=f"{key[:200]} at {revision[:80]} has several digests in one run",
                evidence={"component": key, "revision": revision, "digests": list(digests)[:10]},
                locator=f"input:{key}@{revision}",
                component=key,
                version=revision,
            )


def check_pins(event: Event[PipelineRun], policy: Policy) -> Iterator[Detection]:
    """Find models referenced by a mutable revision."""
    for ref in event.data.inputs:
        if not ref.component.startswith("model:huggingface/"):
            continue
        if pinned(ref.revision) or sha256_of(ref.digests):
            continue
        key = ref_component(ref, event.tenantid, policy)
        yield Detection(
            rule_id=UNPINNED,
            description=f"A model is taken by a revision that moves: {ref.component[:200]}",
            evidence={"component": key, "revision": ref.revision},
            locator=f"input:{key}@{ref.revision or ''}",
            component=key,
            version=ref.revision,
            indicator=Indicator(
                key=key, type="model-revision", value=key, disposition=Disposition.CONTEXT
            ),
        )


def check_behaviour(
    event: Event[PipelineRun], sources: list[RunSource], policy: Policy, *, inputs_changed: bool
) -> Iterator[Detection]:
    """Find regressions of an evaluation, with more confidence if an input changed as well."""
    evaluation = event.data.evaluation
    result = regression(evaluation) if evaluation is not None else None
    if evaluation is None or result is None:
        return
    made = [ref for ref in event.data.outputs if ref.component.startswith("model:")]
    models = made or [ref for ref in event.data.inputs if ref.component.startswith("model:")]
    yield Detection(
        rule_id="TW-PIPE-REGRESSION",
        description=f"Behaviour regressed in {evaluation.suite or 'an evaluation'}: {result.reason}"
        + (", after an input changed" if inputs_changed else ""),
        evidence={
            "suite": evaluation.suite,
            "score": evaluation.score,
            "baseline": evaluation.baseline,
            "passed": evaluation.passed,
            "drop": result.drop,
            "inputs_changed": inputs_changed,
        },
        locator=f"evaluation:{evaluation.suite or ''}",
        confidence=0.9 if inputs_changed else None,
        component=run_component(event),
        related_keys=(
            *_datasets(event, sources, policy),
            *(ref.component for ref in models[:20]),
        ),
    )


def _datasets(
    event: Event[PipelineRun], sources: list[RunSource], policy: Policy
) -> tuple[str, ...]:
    """Return the keys of the data inputs of a run."""
    keys = [dataset_key(source, event.tenantid) for source in sources]
    for ref in event.data.inputs:
        if ref.component.startswith("dataset:"):
            with contextlib.suppress(InvalidComponentError):
                keys.append(ref_component(ref, event.tenantid, policy))
    return tuple(dict.fromkeys(keys))[:20]


def check_synthetic(event: Event[PipelineRun]) -> Iterator[Detection]:
    """Find synthetic data whose generating model the run does not name."""
    if any(ref.component.startswith("model:") for ref in event.data.inputs):
        return
    for ref in event.data.outputs:
        if ref.synthetic:
            yield Detection(
                rule_id="TW-PIPE-SYNTHETIC",
                description=f"Synthetic data, but no model that made it: {ref.component[:200]}",
                evidence={"component": ref.component, "revision": ref.revision},
                locator=f"output:{ref.component}@{ref.revision or ''}",
            )
