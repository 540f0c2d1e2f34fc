"""Runs the examples of the rules of artifacts: a file, as text, hex, a sample or of the corpus."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import Budget, BytesSource
from tests.corpus import KINDS, samples

SAMPLES = Path(__file__).resolve().parents[3] / "data" / "rule_samples"


@cache
def _corpus() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for kind in KINDS:
        for name, content in samples(kind):
            if isinstance(content, bytes):
                found.setdefault(f"{kind}/{name}", content)
    return found


def run_example(given: Mapping[str, Any]) -> set[str]:
    """Return the ids of the rules that a file meets.

    Args:
        given: `name` of the file; its bytes as `text` or `hex`, by their path in the `corpus`, or
            as a `sample` of the folder of samples; its `siblings`; and `steps`, what the scan may
            cost.
    """
    if "corpus" in given:
        raw = _corpus()[given["corpus"]]
    elif "sample" in given:
        raw = (SAMPLES / given["sample"]).read_bytes()
    elif "text" in given:
        raw = str(given["text"]).encode()
    else:
        raw = bytes.fromhex(given["hex"])
    name = given.get("name") or given["corpus"].rsplit("/", 1)[-1]
    budget = Budget(steps=given.get("steps", 50_000_000))
    siblings = frozenset(given.get("siblings", ()))
    report = scan_source(name, BytesSource(raw), siblings, budget=budget, second_opinion=True)
    return {detection.rule_id for detection in report.detections}
