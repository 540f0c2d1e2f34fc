"""Runs the examples that rules carry: from what an example gives to the ids of rules it yields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import msgspec
import orjson

from agents.checks.provenance.push import check_push
from agents.checks.provenance.subject import push_subject
from agents.domain.detection import Outcome
from agents.domain.knowledge import Knowledge, MemoryKnowledge
from schemas.cloudevents import read_event
from schemas.events import Event, RegistryPush
from schemas.intel import IntelFact
from schemas.policy import Policy

TENANT = "tenant-a"
NOW_MS = 1_795_000_000_000
MINIMAL: dict[str, tuple[str, dict[str, Any]]] = {
    "pipelines": ("tidewatch.pipeline.run.v1", {"pipeline": "train", "run_id": "r1"}),
    "packages": ("tidewatch.package.install.v1", {"system": "host-1"}),
    "provenance": (
        "tidewatch.registry.push.v1",
        {"registry": "huggingface", "repository": "acme-labs/encoder", "revision": "1"},
    ),
}
"""The event that an example's data is merged into, by family."""
_OUTER = frozenset({"data", "policy", "intel"})
"""What an example may say beside the event's data."""
_CHECKS = {
    "pipelines": ("agents.checks.pipelines", "check_pipeline"),
    "packages": ("agents.checks.packages.check", "check_packages"),
    "provenance": ("tests.agents.examples", "check_pushed"),
}


def knowledge_of(given: Mapping[str, Any]) -> MemoryKnowledge:
    """Return what an example says is known: `policy` of its tenant, `intel` facts."""
    knowledge = MemoryKnowledge()
    if "policy" in given:
        policy = msgspec.convert({"tenant": TENANT, **given["policy"]}, Policy)
        knowledge.set_policy(TENANT, policy)
    for document in given.get("intel", ()):
        fact = msgspec.convert(document, IntelFact)
        knowledge.set_fact(fact.key, fact)
    return knowledge


def check_pushed(event: Event[RegistryPush], knowledge: Knowledge) -> Outcome:
    """Return the results of the quick checks of a push."""
    return check_push(push_subject(event, knowledge.policy(event.tenantid)), knowledge)


def event_of(family: str, data: Mapping[str, Any]) -> Any:
    """Return the minimal event of a family with `data` merged into it."""
    kind, minimal = MINIMAL[family]
    envelope = {
        "specversion": "1.0",
        "id": "example",
        "source": "//example",
        "type": kind,
        "time": "2026-11-20T09:00:00Z",
        "tenantid": TENANT,
        "data": {**minimal, **data},
    }
    raw = orjson.dumps(envelope)
    return read_event(raw, (), timestamp_ms=NOW_MS, max_bytes=1 << 20)


def _event_family(family: str, given: Mapping[str, Any]) -> set[str]:
    outer = given if set(given) & _OUTER else {"data": given}
    data = outer.get("data") or {k: v for k, v in outer.items() if k not in _OUTER}
    module, name = _CHECKS[family]
    check: Callable[..., Outcome] = getattr(import_module(module), name)
    outcome = check(event_of(family, data), knowledge_of(outer))
    return {detection.rule_id for detection in outcome.detections}


def _packages(family: str, given: Mapping[str, Any]) -> set[str]:
    if "name" in given:
        data: Any = {"packages": [{"name": given["name"], "version": "1.0.0", "requested": True}]}
    elif "requirement" in given:
        data = {"requirements": [given["requirement"]]}
    else:
        data = given["install"]
    known = {key: value for key, value in given.items() if key in {"policy", "intel"}}
    return _event_family(family, {"data": data, **known})


RUNNERS: dict[str, Callable[[str, Mapping[str, Any]], set[str]]] = {
    "pipelines": _event_family,
    "packages": _packages,
    "provenance": _event_family,
}


def run_example(family: str, given: Any) -> set[str]:
    """Return the ids of the rules that `given` meets in the checks of its family.

    A family whose examples need more than an event reads them itself, in
    `tests/agents/checks/<family>/examples.py`, by a function of the same name that takes `given`.
    """
    top = family.partition("/")[0]
    if find_spec(f"tests.agents.checks.{top}") and find_spec(f"tests.agents.checks.{top}.examples"):
        ids: set[str] = import_module(f"tests.agents.checks.{top}.examples").run_example(given)
        return ids
    return RUNNERS[top](top, given)
