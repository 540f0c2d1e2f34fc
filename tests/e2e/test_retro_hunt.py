"""Intelligence that comes after the installs finds them; taken back, its alerts are closed."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import orjson
import pytest

from schemas.channels import Channel
from schemas.intel import IntelFact, IntelKind
from schemas.policy import Policy
from streams.cli import main
from streams.demo.story_builder import StoryBuilder, package
from streams.kafka.compacted import publish_values
from tests.e2e.chain import Chain
from tests.e2e.scenario_run import send_events
from tests.waiting import wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SECONDS = 180
BAD = {"pypi:tensor-loader": "1.4.2", "pypi:quick-embed": "0.3.0"}
OTHER = "pypi:model-shim"
TENANTS = ("north", "south", "west")
OPEN = {"New", "In Progress"}


def install(root):
    story = StoryBuilder("retro", datetime.now(UTC) - timedelta(days=9), root)
    found = []
    for tenant in TENANTS:
        for name, version in (("tensor-loader", "1.4.2"), ("quick-embed", "0.3.0"),
                              ("tensor-loader", "1.4.3"), ("model-shim", "2.0")):  # fmt: skip
            system = "clean-1" if version == "1.4.3" else "trainer-1"
            found.append(story.install(tenant, system, [package(name, version, requested=True)]))
        story.wait(hours=1)
    return found


def alerts(chain):
    """Return the last record of each alert, by root and tenant."""
    found = {}
    for record in chain.read(Channel.ALERTS):
        document = orjson.loads(record.value)
        found[document["unmapped"]["root"], document["metadata"]["tenant_uid"]] = document
    return found


def commands(chain):
    """Return action, target, what it undoes and tenant of every command that was issued."""
    found = []
    for record in chain.read(Channel.CONTAINMENT_COMMANDS):
        args = orjson.loads(record.value)["args"]["x-tidewatch"]
        found.append((args["tenant"], args["action"], args["target"], args.get("undoes")))
    return found


def of(chain, package_key):
    """Return the last records of the alerts about a package."""
    return [doc for (root, _), doc in alerts(chain).items() if root.startswith(package_key)]


def withdrawn(chain, package_key):
    mine = of(chain, package_key)
    return len(mine) == len(TENANTS) and {doc["status_detail"] for doc in mine} == {"withdrawn"}


@pytest.fixture(scope="module")
def installed(kafka, tmp_path_factory):
    """A chain that has seen the installs."""
    folder = tmp_path_factory.mktemp("retro")
    chain = Chain(kafka, folder)
    policies = [Policy(tenant=tenant, automatic=("capture-evidence", "block", "quarantine"),
                       dry_run=False) for tenant in TENANTS]  # fmt: skip
    chain.send(
        Channel.POLICY, [(policy.tenant, msgspec.json.encode(policy)) for policy in policies]
    )
    chain.start()
    try:
        send_events(chain, install(folder))
        chain.settle(SECONDS)
        yield chain
    finally:
        chain.stop()


@pytest.fixture
def command_line(installed, monkeypatch):
    """A command line that speaks to the chain's broker."""
    for name, value in installed.options.items():
        monkeypatch.setenv(f"TIDEWATCH_{name.upper()}", str(value))
    return main


def osv(folder: Path, key: str, version: str, *, withdrawn: bool = False) -> Path:
    """Write an OSV record that says a release is malicious, or that this was wrong."""
    name = key.partition(":")[2]
    record = {
        "schema_version": "1.7.0",
        "id": f"MAL-2026-{len(name)}",
        "modified": "2026-11-20T00:00:00Z",
        "published": "2026-11-20T00:00:00Z",
        "summary": "credential stealer",
        "affected": [
            {"package": {"ecosystem": "PyPI", "name": name}, "versions": [version]},
        ],
    }
    if withdrawn:
        record |= {"withdrawn": "2026-11-21T00:00:00Z", "modified": "2026-11-21T00:00:00Z"}
    path = folder / f"{name}.json"
    path.write_bytes(orjson.dumps(record))
    return path


def test_later_intel_finds_earlier_installs_and_its_withdrawal_closes_and_lifts(
    installed, command_line, tmp_path
):
    chain = installed
    assert not alerts(chain)
    for key, version in BAD.items():
        assert (
            command_line(["intel", "import", str(osv(tmp_path, key, version)), "--allow-unsigned"])
            == 0
        )
    chain.settle(SECONDS, until=lambda view: len(view.alerts) == len(BAD) * len(TENANTS))
    reported = alerts(chain)
    assert {(root.partition("@")[0], tenant) for root, tenant in reported} == {
        (key, tenant) for key in BAD for tenant in TENANTS
    }
    for (root, tenant), document in reported.items():
        assert document["severity"] in {"High", "Critical"}, (root, tenant, document["severity"])
        assert document["status"] in OPEN
        assert "known_compromised_package" in document["finding_info"]["types"]
        systems = {
            resource["name"] for resource in document["resources"] if resource["type"] == "system"
        }
        assert systems == {"trainer-1"}, systems
    issued = commands(chain)
    assert {tenant for tenant, *_ in issued} == set(TENANTS)
    assert not [command for command in issued if command[3]]

    # one by a tombstone, as the command line takes it back; the other by its feed
    (first, _), (second, version) = BAD.items()
    assert command_line(["intel", "withdraw", first]) == 0
    wait_for(lambda: withdrawn(chain, first), "the tombstone closed the alerts")
    assert all(doc["status"] in OPEN for doc in of(chain, second))
    feed = osv(tmp_path, second, version, withdrawn=True)
    assert command_line(["intel", "import", str(feed), "--allow-unsigned"]) == 0
    wait_for(lambda: withdrawn(chain, second), "the feed's withdrawal closed the alerts")
    chain.settle(SECONDS)
    issued = commands(chain)
    for action, undo in (("block", "unblock"), ("quarantine", "restore")):
        done = {(tenant, target) for tenant, what, target, _ in issued if what == action}
        undone = {
            (tenant, target) for tenant, what, target, undoes in issued if undoes and what == undo
        }
        assert done
        assert undone == done
    records = [orjson.loads(record.value) for record in chain.read(Channel.ALERTS)]
    closed = Counter(
        doc["finding_info"]["uid"] for doc in records if doc["activity_name"] == "Close"
    )
    assert [closed[doc["finding_info"]["uid"]] for key in BAD for doc in of(chain, key)] == [
        1 for key in BAD for _ in of(chain, key)
    ]
    states = {
        record.key: orjson.loads(record.value)["status"] for record in chain.read(Channel.IOCS)
    }
    assert set(states.values()) == {"withdrawn"}


def test_a_fact_republished_as_withdrawn_closes_as_a_tombstone_does(installed):
    chain = installed
    fact = IntelFact(key=OTHER, kind=IntelKind.MALICIOUS, sources=("analyst",), confidence=0.95)
    gone = msgspec.structs.replace(fact, kind=IntelKind.WITHDRAWN)

    def publish(one):
        values = [(one.key, msgspec.json.encode(one))]
        asyncio.run(publish_values(chain.settings, Channel.INTEL, values))

    publish(fact)
    wait_for(lambda: len(of(chain, OTHER)) == len(TENANTS), "each tenant was alerted")
    assert all(doc["status"] in OPEN for doc in of(chain, OTHER))
    publish(gone)
    wait_for(lambda: withdrawn(chain, OTHER), "the withdrawal closed the alerts")
    # and it holds again, under the same ids, when the fact comes back
    ids = {doc["metadata"]["uid"] for doc in of(chain, OTHER)}
    publish(fact)
    wait_for(
        lambda: all(doc["status"] in OPEN for doc in of(chain, OTHER)),
        "the alerts opened again",
    )
    assert {doc["metadata"]["uid"] for doc in of(chain, OTHER)} == ids
