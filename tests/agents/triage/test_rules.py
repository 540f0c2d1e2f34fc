"""The correlation rules, each tried on its own examples."""

from __future__ import annotations

import pytest

from agents.triage.bounded_sets import clip
from agents.triage.correlation import (
    combination,
    correlations,
    for_fact,
    reached,
    taint_rule,
)
from agents.triage.store import row_key
from schemas.taxonomy import taxonomy
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import finding, sighting
from tests.each import each

CASES = [
    pytest.param(
        correlation, example, kind == "hit", id=f"{correlation.rule.id}-{kind}-{example.title}"
    )
    for correlation in correlations().values()
    for kind in ("hit", "miss")
    for example in getattr(correlation.rule.examples, kind)
]


def fires(one, given):
    when = one.when
    if when.kind in {"drift", "absence", "first-seen"}:
        flow = Flow()
        for number, fields in enumerate(given):
            more = dict(fields)
            component = more.pop("component")
            flow.saw(sighting(component, "a", "host", number * 2000, **more))
        rules = {
            check["name"]
            for assessment in flow.assessments.values()
            for check in assessment["checks"]
        } | {ioc.rule_id for ioc in flow.iocs.values()}
        return one.rule.id in rules
    if when.kind == "combination":
        signals = [(round(hours * 3_600_000), kind, "ev") for kind, hours in given]
        return combination(when, signals) is not None
    if when.kind == "value-count":
        return reached(when.thresholds, len(set(given))) is not None
    if when.kind == "fact":
        prefix, kind = given.split(" ")
        return for_fact(kind, prefix) is one
    assert when.kind == "taint"
    flow = Flow()
    flow.saw(
        sighting("dataset:d", "a", "lake", version="1"),
        sighting(
            "model:m",
            "a",
            "gpu",
            1,
            version="9",
            made_from=("dataset:d@1",) if given == "made from it" else ("dataset:d@0",),
        ),
    )
    flow.found(finding("poisoned_dataset", "a", component="dataset:d", digest=None, version="1"))
    systems = [system for view in flow.alerts_of("a") for system in view.systems]
    return any(system.component == "model:m" for system in systems)


@each(("one", "example", "hit"), CASES)
def test_a_rule_does_what_its_examples_say(one, example, hit):
    assert fires(one, example.given) is hit


def test_every_rule_has_examples_of_both_kinds():
    for correlation in correlations().values():
        assert correlation.rule.examples.hit, correlation.rule.id
        assert correlation.rule.examples.miss, correlation.rule.id


def test_tainting_kinds_exist():
    assert taint_rule().kinds <= set(taxonomy().ioc_types)


def test_row_keys_keep_hostile_names_apart():
    assert row_key("s", "a\x1fb", "c") != row_key("s", "a", "b\x1fc")
    assert row_key("s", "a\x1f", "c") != row_key("s", "a", "\x1fc")
    long = "x" * 5000
    assert len(row_key("s", long, "c")) < 1500
    assert row_key("s", long + "1", "c") != row_key("s", long + "2", "c")


def test_clipped_texts_stay_different():
    assert len(clip("é" * 500, 100).encode()) <= 100
    assert clip("é" * 500, 100) != clip("é" * 501, 100)
    assert at(1) > at(0)
