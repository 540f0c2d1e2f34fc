"""Results of the checks that a policy requires reach the ledger."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec

from agents.checks.provenance.planning import plan_scan
from agents.checks.required import REQUIRED, with_required
from agents.domain.detection import Outcome
from agents.package_install import package_install_agent
from agents.ports import Delivery
from agents.registry_push import registry_push_agent
from agents.scan import scan_agent
from schemas.assessments import Check
from schemas.channels import Channel
from schemas.ledger import LedgerMessage
from schemas.observations import Sighting
from schemas.policy import Policy
from schemas.severity import Status
from tests.agents.checks.packages.installs import install
from tests.agents.checks.provenance.pushes import knowing, push_event
from tests.agents.checks.provenance.scanning import MemoryFetch, by_content
from tests.agents.test_checking import TIME, Published, record

WANTED = {"required_checks": ["format_safety", "hash", "card_claims"]}
WEIGHTS = b"\x02" + bytes(7) + b"{}"
FILES = [{"path": "m.safetensors", "uri": "file:///m/m.safetensors"}]


def sightings_of(agent: Any, value: Any) -> list[Sighting]:
    class Batch:
        partition = 1
        deliveries = [Delivery(record=record(), value=value)]  # noqa: RUF012 -- a plain stand-in

    published = Published()
    asyncio.run(agent(Batch(), published))
    assert published.refused == []
    messages = [
        msgspec.json.decode(message.value, type=LedgerMessage)
        for message in published
        if message.channel is Channel.OBSERVATIONS
    ]
    return [message for message in messages if isinstance(message, Sighting)]


def test_a_push_passes_nothing_as_long_as_its_scan_is_to_follow():
    knowledge = knowing({**WANTED, "roots": ["file:///m"]})
    event = push_event(files=FILES)
    seen = sightings_of(registry_push_agent(knowledge), event)
    model = next(entry for entry in seen if entry.component.startswith("model:"))
    assert (model.passed, model.not_passed) == ((), ("format_safety",))

    def fetch(_policy: Policy) -> Any:
        return contextlib.nullcontext(MemoryFetch({"file:///m/m.safetensors": WEIGHTS}))

    request = plan_scan(event, knowledge.policy("tenant-a"))
    seen = sightings_of(scan_agent(knowledge, fetch, by_content, lambda: 0), request)
    model = next(entry for entry in seen if entry.component.startswith("model:"))
    assert "format_safety" in model.passed
    assert all(
        (entry.passed, entry.not_passed) == ((), ())
        for entry in seen
        if entry.component.startswith(("sha256:", "publisher:"))
    )


def test_a_push_that_nothing_more_follows_on_passed_what_its_names_and_digests_tell():
    files = [{"path": "m.safetensors", "digests": {"sha256": "a" * 64}}]
    hashes = {"m.safetensors": "a" * 64}
    for expected, passed in ((hashes, True), ({"m.safetensors": "b" * 64}, False)):
        event = push_event(files=files, expected={"hashes": expected})
        seen = sightings_of(registry_push_agent(knowing(WANTED)), event)
        model = next(entry for entry in seen if entry.component.startswith("model:"))
        assert "format_safety" in model.passed
        assert ("hash" in model.passed) is passed
        assert ("hash" in model.not_passed) is not passed


def test_an_install_reports_it_for_each_package():
    knowledge = knowing({"required_checks": ["known_compromised"]})
    event = install({"packages": [{"name": "left-pad", "version": "1.0"}]})
    seen = sightings_of(package_install_agent(knowledge), event)
    packages = [entry for entry in seen if entry.component.startswith("pypi:")]
    assert packages
    assert {package.passed for package in packages} == {("known_compromised",)}


def test_without_required_checks_nothing_is_reported():
    seen = sightings_of(registry_push_agent(knowing({})), push_event(files=FILES))
    assert {(entry.passed, entry.not_passed) for entry in seen} == {((), ())}


def test_the_number_of_reported_required_checks_is_bounded():
    names = tuple(f"check-{number:02}" for number in range(REQUIRED + 4))
    outcome = Outcome(
        checks=tuple(Check(name=name, status=Status.PASS) for name in names),
        sightings=(
            Sighting(
                id="s",
                component="model:hub/m",
                tenant="a",
                system="hub",
                event_id="e",
                source="//hub",
                occurred_at=TIME,
            ),
        ),
    )
    policy = Policy(tenant="a", required_checks=names)
    (seen,) = with_required(outcome, policy, "model:hub/m", final=True).sightings
    assert seen.passed == names[:REQUIRED]
