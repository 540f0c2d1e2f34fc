"""A replay of a scenario through all agents in memory: checks, scans, ledger, incidents."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from agents.checking import SightingDeduplicator, outcome_messages
from agents.checks.artifacts.dispatch import scan_source
from agents.checks.packages.check import check_packages
from agents.checks.pipelines.check import check_run
from agents.checks.pipelines.subject import run_subject
from agents.checks.provenance.planning import plan_scan
from agents.checks.provenance.push import check_push
from agents.checks.provenance.scan_push import scan_push
from agents.checks.provenance.subject import push_subject
from agents.fetching.fetch_scope import FetchRules, tenant_reach
from agents.fetching.fetcher import Fetcher
from agents.package_install import install_context
from agents.pipeline_run import run_context
from agents.registry_push import push_context
from schemas.events import Event, PipelineRun, RegistryPush
from schemas.incidents.views import AlertView
from tests.agents.triage.flow import Flow
from tests.scenarios.expectation import Scenario


async def _scan_file(path: str, opened: Any, siblings: frozenset[str]) -> Any:
    # In this process: the sandbox has its own tests, and what it returns is the same.
    return scan_source(path, opened, siblings)


class Replay:
    """One scenario, played; look at `flow` for what came out."""

    def __init__(self, scenario: Scenario, root: Path) -> None:
        """Play `scenario` with its files below `root`."""
        self.flow = Flow()
        self._reported, self._reported_by_scans = SightingDeduplicator(), SightingDeduplicator()
        with asyncio.Runner() as self._runner:
            self._play(scenario, root)

    def _play(self, scenario: Scenario, root: Path) -> None:
        for policy in scenario.policies(root):
            self.flow.policy(policy)
        late = scenario.expected.intel_after
        if not late:
            self._learn(scenario)
        for offset, event in enumerate(scenario.events(root)):
            # Where its record would lie: who introduced a digest is decided by that.
            at = (self.flow.clock_ms, "events", 0, offset)
            self._take(msgspec.structs.replace(event, position=at))
        if late:
            self._learn(scenario)
        self.flow.tick(minutes=1)

    def _learn(self, scenario: Scenario) -> None:
        for fact in scenario.intel():
            self.flow.knowledge.set_fact(fact.key, fact)
            self.flow.fact(fact)

    def _take(self, event: Event[Any]) -> None:
        flow, knowledge = self.flow, self.flow.knowledge
        policy = knowledge.policy(event.tenantid)
        if isinstance(event.data, PipelineRun):
            run = run_subject(event, policy)
            outcome, context = check_run(run, knowledge), run_context(run)
        elif isinstance(event.data, RegistryPush):
            subject = push_subject(event, policy)
            outcome, context = check_push(subject, knowledge), push_context(subject)
        else:
            outcome, context = check_packages(event, knowledge), install_context(event)
        flow.send(outcome_messages(event, outcome, context, self._reported))
        if not isinstance(event.data, RegistryPush):
            return
        request = plan_scan(event, policy)
        if request is None:
            return
        with Fetcher(tenant_reach(policy, FetchRules(), {})) as fetcher:
            scanned = self._runner.run(
                scan_push(request, knowledge, fetcher, _scan_file, now_ms=flow.clock_ms)
            )
        flow.send(
            outcome_messages(event, scanned.outcome, context, self._reported_by_scans, stage="scan")
        )

    def alerts(self, tenant: str) -> list[AlertView]:
        """Return a tenant's latest alerts."""
        return self.flow.alerts_of(tenant)
