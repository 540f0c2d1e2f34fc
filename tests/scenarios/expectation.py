"""What a scenario is made of and what must come out of it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import orjson

from schemas.cloudevents import write_structured
from schemas.events import Event
from schemas.intel import IntelFact
from schemas.policy import Policy, default_policy
from schemas.severity import Severity

SCENARIOS = (
    "torchtriton",
    "ultralytics",
    "hub_pickles",
    "nullifai",
    "namespace_reuse",
    "poisoned_dataset",
    "publisher_account",
    "litellm",
    "leaked_config",
    "package_takeover",
    "merged_index",
    "swapped_model",
    "missing_signature",
    "split_view",
    "annotation_vendor",
    "base_model",
    "own_blocklist",
    "moved_action_tag",
    "pulled_image_tag",
    "stolen_token",
    "phished_maintainer",
    "unsigned_pull",
    "remote_code_served",
    "rebuilt_version",
    "backdoored_base",
    "changed_uploader",
    "impostors",
    "false_claims",
    "ordinary_week",
    "busy_week",
)


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One incident of one tenant that must be alerted."""

    tenant: str
    about: frozenset[str]
    """Component keys, one of which is among the incident's root and findings."""
    any_of: frozenset[str]
    """Kinds of indicator (taxonomy), one of which is among its findings."""
    at_least: Severity = Severity.HIGH


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What must come out."""

    title: str
    alerts: tuple[Alert, ...] = ()
    quiet: tuple[str, ...] = ()
    """Tenants for whom nothing above low may come out."""
    intel_after: bool = False
    """The facts arrive when all events have passed: found by looking back."""
    exposed: dict[str, frozenset[str]] = {}
    """Tenant to component keys that its blast radius must name."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario."""

    name: str
    expected: Expected
    events: Callable[[Path], list[Event[Any]]]
    intel: Callable[[], list[IntelFact]]
    policies: Callable[[Path], list[Policy]]


def load(name: str) -> Scenario:
    """Return the scenario of a module of this folder."""
    module: ModuleType = import_module(f"tests.scenarios.{name}")
    return Scenario(
        name=name,
        expected=module.expected,
        events=module.events,
        intel=module.intel,
        policies=module.policies,
    )


def documents(scenario: Scenario, root: Path) -> list[dict[str, Any]]:
    """Return the events of a scenario as structured CloudEvents."""
    return [orjson.loads(write_structured(event)) for event in scenario.events(root)]


def fetching(root: Path, *tenants: str) -> list[Policy]:
    """Return policies that say no more than where files may be fetched from."""
    return [
        msgspec.structs.replace(default_policy(tenant), roots=(root.resolve().as_uri(),))
        for tenant in tenants
    ]
