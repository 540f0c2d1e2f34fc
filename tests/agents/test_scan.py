"""Assessments say when nothing more follows for an event, whatever becomes of its scan."""

from __future__ import annotations

import asyncio
import contextlib
import functools

import msgspec

from agents.checks.provenance.planning import plan_scan
from agents.fair_turns import FairTurns, TimedTurns
from agents.package_install import package_install_agent
from agents.ports import Delivery
from agents.registry_push import registry_push_agent
from agents.scan import scan_agent
from schemas.assessments import Assessment
from schemas.channels import Channel
from schemas.dead_letters import CHECK_FAILED
from schemas.severity import Status
from tests.agents.checks.packages.installs import install
from tests.agents.checks.provenance.pushes import knowing, push_event
from tests.agents.checks.provenance.scanning import MemoryFetch, by_content
from tests.agents.test_checking import Published, record

FILES = [{"path": "m.safetensors", "uri": "file:///m/m.safetensors"}]
WEIGHTS = b"\x02" + bytes(7) + b"{}"


def published(agent, value):
    class Batch:
        partition = 1
        deliveries = (Delivery(record=record(), value=value),)

    done = Published()
    asyncio.run(agent(Batch(), done))
    return done


def assessment(done):
    (said,) = [message for message in done if message.channel is Channel.ASSESSMENTS]
    result = msgspec.json.decode(said.value, type=Assessment)
    headers = dict(said.headers)
    assert headers["ce_final"] == (b"true" if result.final else b"false")
    assert headers["ce_stage"].decode() == result.stage
    assert headers["ce_status"].decode() == result.overall_status
    assert result.source
    return result


def record_id(done):
    (said,) = [message for message in done if message.channel is Channel.ASSESSMENTS]
    return dict(said.headers)["ce_id"]


def scanned(files):
    knowledge = knowing({"roots": ["file:///m"]})
    request = plan_scan(push_event(files=FILES), knowledge.policy("tenant-a"))

    def fetch(_policy):
        return files if isinstance(files, contextlib.nullcontext) else contextlib.nullcontext(files)

    return published(scan_agent(knowledge, fetch, by_content, lambda: 0), request)


def test_a_push_whose_scan_follows_is_not_final_and_others_are():
    knowledge = knowing({"roots": ["file:///m"]})
    done = published(registry_push_agent(knowledge), push_event(files=FILES))
    assert Channel.SCAN_REQUESTS in {message.channel for message in done}
    assert not assessment(done).final
    assert assessment(published(registry_push_agent(knowledge), push_event())).final
    assert assessment(published(package_install_agent(knowledge), install({}))).final


def test_a_scan_is_final_unless_it_is_retried():
    assert assessment(scanned(MemoryFetch({"file:///m/m.safetensors": WEIGHTS}))).final
    tried = scanned(MemoryFetch({}))
    assert Channel.SCAN_REQUESTS in {message.channel for message in tried}
    result = assessment(tried)
    assert (result.final, result.overall_status) == (False, Status.INCOMPLETE)
    again = scanned(MemoryFetch({"file:///m/m.safetensors": WEIGHTS}))
    assert assessment(again).id == result.id
    assert record_id(again) != record_id(tried)
    assert record_id(scanned(MemoryFetch({}))) == record_id(tried)


def test_the_final_assessment_repeats_every_check_of_the_event():
    """So a gate reads one record: nothing that is pending elsewhere counts any more."""
    knowledge = knowing({"roots": ["file:///m"], "required_checks": ["signature"]})
    first = assessment(published(registry_push_agent(knowledge), push_event(files=FILES)))
    last = assessment(scanned(MemoryFetch({"file:///m/m.safetensors": WEIGHTS})))
    assert {check.name for check in first.checks} <= {check.name for check in last.checks}
    pending = {check.name for check in first.checks if check.status is Status.INCOMPLETE}
    assert pending
    assert not pending & {check.name for check in last.checks if check.status is Status.INCOMPLETE}


def test_a_scan_that_fails_unexpectedly_is_incomplete_and_final():
    class Broken(contextlib.nullcontext):
        def __enter__(self):
            raise ZeroDivisionError

    done = scanned(Broken())
    assert [reason for _, reason in done.refused] == [CHECK_FAILED]
    result = assessment(done)
    assert (result.stage, result.overall_status) == ("scan", Status.INCOMPLETE)
    assert result.final


def test_the_measure_of_a_scan_leaves_out_the_wait_for_a_turn(monkeypatch):
    """The clock only moves while the push waits, so the scan itself takes no time."""
    now = [0.0]
    monkeypatch.setattr(
        "agents.scan.TimedTurns", functools.partial(TimedTurns, clock=lambda: now[0])
    )

    class Slow(FairTurns):
        @contextlib.asynccontextmanager
        async def turn(self, tenant):
            now[0] += 60
            async with super().turn(tenant):
                yield

    knowledge = knowing({"roots": ["file:///m"]})
    request = plan_scan(push_event(files=FILES), knowledge.policy("tenant-a"))
    files = MemoryFetch({"file:///m/m.safetensors": WEIGHTS})
    agent = scan_agent(
        knowledge, lambda _: contextlib.nullcontext(files), by_content, lambda: 0, Slow(4)
    )
    done = published(agent, request)
    (said,) = [message for message in done if message.channel is Channel.ASSESSMENTS]
    assert said.measure.seconds == 0
    assert now[0] > 0
