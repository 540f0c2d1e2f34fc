"""The corpus against its thresholds, and the mechanisms that no single sample shows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from agents.checks.artifacts.report import FileReport
from agents.checks.artifacts.scanning import severity_of
from schemas.severity import Severity, Verdict
from tests.corpus import KINDS, samples
from tests.corpus.evasions import evasions, page
from tests.corpus.table import verdict, worst_of


@pytest.fixture(scope="module")
def reports() -> dict[str, dict[str, list[FileReport]]]:
    return {
        kind: {name: verdict(name, content)[1] for name, content in samples(kind)} for kind in KINDS
    }


@pytest.fixture(scope="module")
def outcomes(reports) -> dict[str, dict[str, Verdict]]:
    return {
        kind: {name: worst_of(found) for name, found in by_name.items()}
        for kind, by_name in reports.items()
    }


def test_whatever_is_not_clean_says_why_and_where(reports):
    every = [report for kind in reports.values() for found in kind.values() for report in found]
    seen = Counter(report.verdict for report in every)
    assert set(seen) == set(Verdict), seen
    silent = [report.path for report in every if not _explained(report)]
    assert not silent


def _explained(report: FileReport) -> bool:
    least = {Verdict.MALICIOUS: Severity.CRITICAL, Verdict.SUSPICIOUS: Severity.MEDIUM}
    if report.verdict in least:
        return any(
            severity_of(found).rank >= least[report.verdict].rank and found.evidence["file"]
            for found in report.detections
        )
    if report.verdict is Verdict.CLEAN:
        return not report.reasons
    placed = [place and said for place, _, said in (r.partition(": ") for r in report.reasons)]
    return bool(placed) and all(placed)


def test_the_corpus_is_broad(outcomes):
    assert len(outcomes["hostile"]) >= 250
    assert len(outcomes["harmless"]) >= 90
    assert len(outcomes["damaged"]) >= 22


def test_of_hostile_files_97_percent_are_malicious_and_none_is_clean(outcomes):
    found = outcomes["hostile"]
    missed = {name: verdict for name, verdict in found.items() if verdict is not Verdict.MALICIOUS}
    assert Verdict.CLEAN not in missed.values(), missed
    assert len(missed) <= 0.03 * len(found), missed


def test_of_harmless_files_none_is_malicious_and_few_are_suspicious(outcomes):
    counts = Counter(outcomes["harmless"].values())
    odd = {k: v for k, v in outcomes["harmless"].items() if v is not Verdict.CLEAN}
    assert counts[Verdict.MALICIOUS] == 0, odd
    assert counts[Verdict.CORRUPT] == 0, odd
    assert counts[Verdict.SUSPICIOUS] <= 4, odd


def test_code_that_travels_by_value_and_only_computes_is_suspicious(outcomes):
    found = dict(outcomes["suspicious"])
    for name in ("keras_optimizer.pkl", "dill_enum.dill"):  # of a class on no list
        assert found.pop(f"ordinary/{name}") is Verdict.UNSUPPORTED
    assert found
    assert set(found.values()) == {Verdict.SUSPICIOUS}, found


def test_library_output_is_clean_and_hostile_variants_are_malicious(outcomes):
    clean = {k: v for k, v in outcomes["harmless"].items() if k.startswith("ordinary/")}
    twins = {k: v for k, v in outcomes["hostile"].items() if k.startswith("ordinary/")}
    assert len(clean) >= 30
    assert len(twins) >= 50
    assert set(clean.values()) == {Verdict.CLEAN}, clean
    assert set(twins.values()) == {Verdict.MALICIOUS}, twins


def test_no_damaged_file_is_clean(outcomes):
    assert Verdict.CLEAN not in outcomes["damaged"].values()


@pytest.mark.parametrize("way", evasions(), ids=lambda way: way.title)
def test_every_way_to_hide_is_found(outcomes, way):
    hostile = outcomes["hostile"]
    for pattern in way.samples:
        assert msgspec.structs.replace(way, samples=(pattern,)).among(hostile), pattern
    missed = {name: hostile[name] for name in way.among(hostile)}
    assert set(missed.values()) == {Verdict.MALICIOUS}, missed


def test_the_page_of_ways_to_hide_is_current(outcomes):
    written = (Path(__file__).parents[4] / "docs" / "evasions.md").read_text("utf-8")
    assert written == page(outcomes["hostile"])
