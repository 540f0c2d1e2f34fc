"""A hub push binds its revision to its digest for all holders."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest

from agents.checks.provenance.planning import plan_scan
from agents.checks.provenance.scan_push import scan_push
from agents.fetching.fetch_scope import Credentials, FetchRules, tenant_reach
from agents.fetching.fetcher import Fetcher
from schemas.basis import BasisKind
from schemas.components import digest_of_files
from schemas.severity import Severity, Verdict
from tests.agents.checks.provenance.pushes import knowing, push_event
from tests.agents.checks.provenance.scanning import by_content
from tests.agents.fetching.hub_server import HubServer
from tests.agents.fetching.servers import running
from tests.agents.triage.flow import Flow
from tests.agents.triage.stories import finding, sighting

NAME = "model:huggingface/bigorg/base"
SEVERAL = {"model.bin": b"evil", "config.json": b"{}"}
ONE = {"model.bin": b"evil"}


def digests(files):
    return {path: hashlib.sha256(raw).hexdigest() for path, raw in files.items()}


@pytest.fixture
def hub():
    with running() as server:
        yield HubServer(server)


def pushed(hub, commit, *, policy=None, token=None, **data):
    """Return the outcome of a push that names a revision of the hub and none of its files."""
    roots = ["hf://bigorg", "hf://datasets/bigorg"]
    knowledge = knowing({"roots": roots, "credentials": "ref", **(policy or {})})
    fields = {"registry": "huggingface", "repository": "bigorg/base", "revision": commit}
    event = push_event(**{"files": [], "systems": [], **fields, **data})
    request = plan_scan(event, knowledge.policy("tenant-a"))
    rules = FetchRules(
        schemes=frozenset({"hf", "http"}),
        hub=hub.hub,
        private_hosts=("127.0.0.1", hub.server.host),
        backoff_seconds=0.001,
    )
    secrets = Credentials(tenants=("tenant-a",), token=token, hosts=(hub.server.host,))
    reach = tenant_reach(
        knowledge.policy("tenant-a"), rules, {"ref": secrets} if token is not None else {}
    )
    with Fetcher(reach) as fetch:
        return asyncio.run(scan_push(request, knowledge, fetch, by_content, now_ms=1))


def bound(outcome):
    return [
        (sighting.component, sighting.name, sighting.version)
        for sighting in outcome.sightings
        if sighting.bound
    ]


@pytest.mark.parametrize("files", [SEVERAL, ONE])
def test_a_published_revision_binds_its_digest_to_its_name(hub, files):
    commit = hub.commit("one", files)
    hub.point("branches", "refs/heads/main", commit)
    whole = digest_of_files(digests(files))
    key = f"tree:{whole}" if len(files) > 1 else f"sha256:{whole}"
    outcome = pushed(hub, commit)
    assert bound(outcome) == [(NAME, None, commit), (key, NAME, commit)]
    assert {sighting.digest for sighting in outcome.sightings if sighting.bound} == {whole}


def test_a_dataset_of_the_hub_is_bound_as_one(hub):
    data = HubServer(hub.server, kind="datasets")
    commit = data.commit("one", SEVERAL)
    data.point("tags", "refs/tags/v1", commit)
    found = bound(pushed(hub, commit, kind="dataset"))
    name = "dataset:huggingface/bigorg/base"
    assert [(key.partition(":")[0], of, version) for key, of, version in found] == [
        ("dataset", None, commit),
        ("tree", name, commit),
    ]
    assert found[0][0] == name


def test_a_commit_of_a_pull_request_binds_nothing(hub):
    main = hub.commit("main", {"model.bin": b"fine"})
    hub.point("branches", "refs/heads/main", main)
    proposed = hub.commit("proposed", SEVERAL, [main])
    hub.point("pullRequests", "refs/pr/7", proposed)
    outcome = pushed(hub, proposed)
    assert any(sighting.component == NAME for sighting in outcome.sightings), (
        "it is still the tenant's own"
    )
    assert not bound(outcome)


def test_revision_read_with_a_tenants_token_binds_nothing(hub):
    commit = hub.commit("one", SEVERAL)
    hub.point("branches", "refs/heads/main", commit)
    assert not bound(pushed(hub, commit, token="secret"))


def test_a_name_of_the_tenants_own_binds_nothing(hub):
    commit = hub.commit("one", SEVERAL)
    hub.point("branches", "refs/heads/main", commit)
    own = {"internal": {"registries": ["huggingface"]}}
    assert not bound(pushed(hub, commit, policy=own))


def test_files_that_the_event_names_bind_nothing(hub):
    """A tenant may lay any bytes under any name: where they lie is its own word."""
    commit = hub.commit("one", SEVERAL)
    hub.point("branches", "refs/heads/main", commit)
    files = [{"path": "model.bin", "uri": f"{hub.uri(commit)}/model.bin"}]
    assert not bound(pushed(hub, commit, files=files))


@pytest.mark.parametrize("status", [500, 404])
def test_a_hub_that_fails_binds_nothing_and_changes_no_verdict(hub, status):
    commit = hub.commit("one", SEVERAL)
    hub.point("branches", "refs/heads/main", commit)
    before = pushed(hub, commit)
    hub.server.answer(f"{hub.base}/refs", status, {}, b"")
    after = pushed(hub, commit)
    assert bound(before)
    assert not bound(after)
    assert (after.checks, after.detections, after.retry) == (
        before.checks,
        before.detections,
        before.retry,
    )


def test_an_unread_file_leaves_the_revision_without_a_digest(hub):
    commit = hub.commit("one", SEVERAL)
    hub.point("branches", "refs/heads/main", commit)
    hub.server.answer(f"/bigorg/base/resolve/{commit}/config.json", 404, {}, b"")
    assert not bound(pushed(hub, commit))


@pytest.mark.parametrize("files", [SEVERAL, ONE])
@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("late", [True, False])
def test_scan_of_a_published_revision_reaches_holders_by_name(hub, files, published, late):
    commit = hub.commit("one", files)
    other = hub.commit("two", {"model.bin": b"fine"})
    hub.point("branches", "refs/heads/main", commit if published else other)
    outcome = pushed(hub, commit)
    assert [check.actual for check in outcome.checks if check.name == "scan_model.bin"] == [
        str(Verdict.MALICIOUS)
    ]
    flow = Flow()
    named = sighting(NAME, "b", "gpu", 5, version=commit, kind="used")
    beside = sighting(NAME, "c", "gpu", 5, version=other, kind="used")
    hostile = finding(
        "malicious_payload",
        "tenant-a",
        NAME,
        digest=digests(files)["model.bin"],
        version=commit,
    )
    if not late:
        flow.saw(named, beside)
    flow.saw(*outcome.sightings)
    flow.found(hostile)
    if late:
        flow.saw(named, beside)
    assert not flow.alerts_of("c")
    if not published:
        assert not flow.alerts_of("b")
        return
    (alert,) = flow.alerts_of("b")
    assert alert.score.band.rank >= Severity.HIGH.rank
    assert [finding.basis.kind for finding in alert.findings] == [BasisKind.VERIFIED]
    assert {(system.component, system.version) for system in alert.systems} == {(NAME, commit)}


def test_the_hub_is_asked_for_a_history_only_where_a_tip_is_not_the_commit(hub):
    commit = hub.commit("one", SEVERAL)
    hub.point("branches", "refs/heads/main", commit)
    pushed(hub, commit)
    asked = [path for path, _ in hub.server.asked if path.startswith(hub.base)]
    assert asked == [f"{hub.base}/revision/{commit}?blobs=true", f"{hub.base}/refs"]
    assert json.dumps(hub.refs["pullRequests"]) == "[]"
