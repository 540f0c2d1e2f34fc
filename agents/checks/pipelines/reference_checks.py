"""Findings about the components of a run: its inputs, outputs and evaluations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from agents.checks.pipelines.behaviour import regression
from agents.checks.pipelines.remote_code import UNPINNED, pinned
from agents.checks.pipelines.sources import RunSource, blocks, dataset_key
from agents.checks.pipelines.subject import RunSubject
from agents.domain.detection import Detection
from schemas.findings import Indicator, IndicatorType
from schemas.severity import Disposition


def check_blocked_inputs(subject: RunSubject) -> Iterator[Detection]:
    """Find inputs that the policy blocks."""
    blocked = subject.policy.blocked_sources
    if not blocked:
        return
    for named in subject.inputs:
        ref, key, digest = named.ref, named.key, named.digest
        if key is None:
            continue
        keys = [key, ref.component, *([f"sha256:{digest}"] if digest else [])]
        entry = next((e for e in blocked if blocks(e, keys)), None)
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


def check_digests(subject: RunSubject) -> Iterator[Detection]:
    """Find versions that have several digests in one run."""
    seen: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for named in (*subject.inputs, *subject.outputs):
        # Without a revision, an input and an output of one name are versions, not a conflict.
        if named.digest and named.key and named.ref.revision:
            seen[named.key, named.ref.revision][named.digest] = None
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


def check_pins(subject: RunSubject) -> Iterator[Detection]:
    """Find models referenced by a mutable revision."""
    for named in subject.inputs:
        ref, key = named.ref, named.key
        if key is None or not ref.component.startswith("model:huggingface/"):
            continue
        if pinned(ref.revision) or named.digest:
            continue
        yield Detection(
            rule_id=UNPINNED,
            description=f"A model is referenced by a mutable revision: {ref.component[:200]}",
            evidence={"component": key, "revision": ref.revision},
            locator=f"input:{key}@{ref.revision or ''}",
            component=key,
            version=ref.revision,
            indicator=Indicator(
                key=key,
                type=IndicatorType.MODEL_REVISION,
                value=key,
                disposition=Disposition.CONTEXT,
            ),
        )


def check_behaviour(
    subject: RunSubject, sources: list[RunSource], *, inputs_changed: bool
) -> Iterator[Detection]:
    """Find regressions of an evaluation; confidence is higher if an input changed as well."""
    run, evaluation = subject.run, subject.run.evaluation
    result = regression(evaluation) if evaluation is not None else None
    if evaluation is None or result is None:
        return
    made = [ref for ref in run.outputs if ref.component.startswith("model:")]
    models = made or [ref for ref in run.inputs if ref.component.startswith("model:")]
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
        component=subject.component,
        related_keys=(
            *_datasets(subject, sources),
            *(ref.component for ref in models[:20]),
        ),
    )


def _datasets(subject: RunSubject, sources: list[RunSource]) -> tuple[str, ...]:
    """Return the keys of the data inputs of a run."""
    keys = [dataset_key(source, subject.event.tenantid) for source in sources]
    keys += [
        named.key
        for named in subject.inputs
        if named.key and named.ref.component.startswith("dataset:")
    ]
    return tuple(dict.fromkeys(keys))[:20]


def check_synthetic(subject: RunSubject) -> Iterator[Detection]:
    """Find synthetic data whose generating model the run does not name."""
    if any(ref.component.startswith("model:") for ref in subject.run.inputs):
        return
    for ref in subject.run.outputs:
        if ref.synthetic:
            yield Detection(
                rule_id="TW-PIPE-SYNTHETIC",
                description=f"Synthetic data, but no model that made it: {ref.component[:200]}",
                evidence={"component": ref.component, "revision": ref.revision},
                locator=f"output:{ref.component}@{ref.revision or ''}",
            )
