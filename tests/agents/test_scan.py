"""Assessments say when nothing more follows for an event, whatever becomes of its scan."""

from __future__ import annotations

import asyncio
import contextlib
import functools

import msgspec

import agents.scan
from agents import scans_under_way
from agents.checks.provenance.planning import plan_scan
from agents.checks.provenance.scan_push import AT_ONCE
from agents.domain.knowledge import MemoryKnowledge
from agents.fair_turns import FairTurns, TimedTurns
from agents.package_install import package_install_agent
from agents.ports import Delivery
from agents.registry_push import registry_push_agent
from agents.scan import scan_agent
from schemas.assessments import Assessment
from schemas.channels import Channel
from schemas.dead_letters import CHECK_FAILED
from schemas.policy import default_policy
from schemas.scans import ScanRequest
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


class Held:
    """Scans a file once it may: a server that answers slowly."""

    def __init__(self):
        self.begun = []
        self.may = asyncio.Event()

    async def __call__(self, path, source, siblings):
        self.begun.append(path)
        await self.may.wait()
        return await by_content(path, source, siblings)


class Partition:
    """Hands requests to an agent chunk by chunk, as the engine does, and takes what is put back."""

    def __init__(self, agent):
        self.agent = agent
        self.done = []

    async def __call__(self, *requests):
        """Return the requests that are put back."""

        class Batch:
            partition = 1
            deliveries = tuple(Delivery(record=record(), value=request) for request in requests)

        said = Published()
        await self.agent(Batch(), said)
        self.done += [message for message in said if message.channel is Channel.ASSESSMENTS]
        return [
            msgspec.json.decode(message.value, type=ScanRequest)
            for message in said
            if message.channel is Channel.SCAN_REQUESTS
        ]

    def tenants(self):
        return [msgspec.json.decode(message.value, type=Assessment).tenant for message in self.done]


def slow_agent(monkeypatch, scan, **limits):
    for name, value in {"HOLD_SECONDS": 0.05, **limits}.items():
        monkeypatch.setattr(scans_under_way, name, value)
    monkeypatch.setattr(agents.scan, "PAUSE_SECONDS", 0.01)
    knowledge = MemoryKnowledge()
    files = {f"file:///{name}/m.safetensors": WEIGHTS for name in ("mallory", "globex")}
    for tenant in ("mallory", "globex"):
        roots = (f"file:///{tenant}",)
        knowledge.set_policy(tenant, msgspec.structs.replace(default_policy(tenant), roots=roots))

    def fetch(_policy):
        return contextlib.nullcontext(MemoryFetch(files))

    def request(tenant, event_id="1", count=1):
        found = [
            {"path": f"{number}.safetensors", "uri": f"file:///{tenant}/m.safetensors"}
            for number in range(count)
        ]
        event = msgspec.structs.replace(push_event(files=found), tenantid=tenant, id=event_id)
        return plan_scan(event, knowledge.policy(tenant))

    return Partition(scan_agent(knowledge, fetch, scan, lambda: 0)), request


class ByTenant:
    """Scans one tenant's files slowly, and the others' at once."""

    def __init__(self, slow):
        self.slow = slow

    def for_tenant(self, tenant):
        return self.slow if tenant == "mallory" else by_content


def test_a_push_of_many_slow_files_keeps_nothing_behind_it(monkeypatch):
    held = Held()
    partition, request = slow_agent(monkeypatch, ByTenant(held))

    async def main():
        slow = request("mallory", count=100)
        waiting = await partition(slow)
        assert waiting == [slow]
        assert len(held.begun) == AT_ONCE
        assert await partition(request("globex")) == []
        assert partition.tenants() == ["globex"]
        assert await partition(slow) == [slow]
        assert len(held.begun) == AT_ONCE, "it began once"
        held.may.set()
        while waiting:
            waiting = await partition(*waiting)

    asyncio.run(main())
    assert partition.tenants() == ["globex", "mallory"]
    assert len(held.begun) == 100


def test_of_very_many_slow_pushes_some_are_under_way_and_none_is_lost(monkeypatch):
    held = Held()
    partition, request = slow_agent(monkeypatch, ByTenant(held), PUSHES_OF_TENANT=2)
    slow = [request("mallory", str(number)) for number in range(6)]

    async def main():
        assert await partition(*slow) == slow
        assert len(held.begun) == 2
        assert await partition(*slow[3:], request("globex")) == slow[3:]
        held.may.set()
        waiting = slow
        while waiting:
            waiting = await partition(*waiting)

    asyncio.run(main())
    assert partition.tenants() == ["globex"] + ["mallory"] * 6
    assert len(held.begun) == 6


def test_an_event_whose_id_is_used_again_is_scanned_by_itself(monkeypatch):
    held = Held()
    partition, request = slow_agent(monkeypatch, ByTenant(held))
    pushes = [request("mallory"), request("mallory", count=2)]
    assert pushes[0].id == pushes[1].id

    async def main():
        assert await partition(*pushes, pushes[0]) == [*pushes, pushes[0]]
        assert len(held.begun) == 3
        held.may.set()
        assert await partition(*pushes, pushes[0]) == []

    asyncio.run(main())
    assert len(partition.done) == 3


def test_work_that_nobody_asks_for_any_more_ends(monkeypatch):
    """Another worker has taken the partition of its request."""
    held = Held()
    partition, request = slow_agent(monkeypatch, ByTenant(held))

    async def main():
        await partition(request("mallory"))
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert left
        monkeypatch.setattr(scans_under_way, "FORGOTTEN_SECONDS", 0)
        await partition(request("globex"))
        await asyncio.wait(left, timeout=10)
        assert all(task.cancelled() for task in left)

    asyncio.run(main())
    assert partition.tenants() == ["globex"]
