"""Titles name what a person would name; commands name the same thing the same way."""

from __future__ import annotations

from itertools import permutations

import pytest

from agents.triage.containment import plan
from agents.triage.grounds import ground_of
from agents.triage.incidents.naming import title_of
from agents.triage.routing import incident_id
from schemas.documents.openc2 import command_document
from schemas.incidents.views import SystemView
from schemas.policy import Policy
from schemas.severity import ExposureLevel
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import BAD, MODEL, finding, held

CASE = incident_id(f"sha256:{BAD}")
TREE = "d" * 64


def test_a_title_names_the_model_its_version_and_the_system_before_the_digest():
    flow = Flow()
    flow.saw(*held(MODEL, "a", "gpu", 10, version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "a", minutes=11))
    title = "Malicious payload in model hub/acme/sentiment@r2 on gpu"
    for document in (flow.alerts[CASE, "a"], flow.incidents[CASE]):
        assert document.title == f"{title} (sha256:{BAD[:12]}…)"
    flow.saw(*held(MODEL, "a", "gpu-2", 20, version="r2", digest=BAD))
    assert flow.alerts[CASE, "a"].title.startswith(f"{title} and others (")


def test_a_title_names_the_root_first_and_what_is_made_from_it_last():
    made = SystemView(
        tenant="a",
        system="cluster",
        component="model:hub/acme/tuned",
        exposure=ExposureLevel.SERVING,
        since=at(0),
        version="1",
        path=("pypi:litellm",),
    )
    assert title_of(None, "pypi:litellm@1.82.7", [made]) == (
        "Exposure in package litellm@1.82.7 on cluster"
    )
    assert title_of(None, "elsewhere", [made]) == "Exposure in model hub/acme/tuned@1 on cluster"
    assert title_of(None, "elsewhere", []) == "Exposure in elsewhere"


def test_a_title_shortens_commits_and_says_no_noun_twice():
    flow = Flow()
    commit = "f9c0edba2fbb2054bdbfb62e54bd963c7a8a8ce1"
    flow.saw(*held(MODEL, "a", "gpu", 10, version=commit, digest=BAD))
    flow.found(finding("malicious_payload", "a", version=commit, minutes=11))
    title = "Malicious payload in model hub/acme/sentiment@f9c0edba2fbb… on gpu"
    assert flow.alerts[CASE, "a"].title == f"{title} (sha256:{BAD[:12]}…)"
    flow = Flow()
    flow.found(finding("known_compromised_package", "a", "pypi:litellm", version="1.82.7"))
    (alert,) = flow.alerts.values()
    assert alert.title.startswith("Known compromised package litellm@1.82.7")


def test_a_title_names_nothing_of_another_tenant():
    flow = Flow()
    flow.saw(*held("model:hub/b/secret", "b", "host-b", 1, version="9", digest=BAD))
    flow.saw(*held(MODEL, "a", "gpu", 10, version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "b", "model:hub/b/secret", version="9", minutes=11))
    assert "secret" not in flow.alerts[CASE, "a"].title
    assert "hub/acme/sentiment@r2 on gpu" in flow.alerts[CASE, "a"].title


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_version_is_named_by_its_key_and_with_the_digest_that_systems_report(order):
    grounds = [
        ground_of(finding("malicious_payload", "a", digest=digest, locator=digest))
        for digest in (BAD, "e" * 64)
    ]
    system = SystemView(
        tenant="a",
        system="gpu",
        component=MODEL,
        exposure=ExposureLevel.EXECUTED,
        since=at(0),
        version="r2",
        digest=TREE,
    )
    other = SystemView(
        tenant="a",
        system="gpu-2",
        component=MODEL,
        exposure=ExposureLevel.STAGED,
        since=at(1),
        version="r2",
    )
    third = SystemView(
        tenant="a",
        system="gpu-3",
        component=MODEL,
        exposure=ExposureLevel.STAGED,
        since=at(2),
        version="r2",
    )
    systems = [[system, other, third][index] for index in order]
    chosen = plan("inc-1", "a", grounds[:: -1 if order[0] else 1], systems, (), Policy(tenant="a"))
    (quarantine,) = [spec for spec in chosen if spec.action == "quarantine"]
    assert quarantine.digest == TREE
    assert command_document(quarantine)["target"] == {"x-tidewatch:component": f"{MODEL}@r2"}


def test_a_command_says_where_its_findings_are_listed_and_none_of_them():
    flow = Flow()
    flow.policy(Policy(tenant="a", automatic=("capture-evidence", "quarantine"), dry_run=False))
    flow.saw(*held(MODEL, "a", "gpu", 10, version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "a", minutes=11))
    (quarantine,) = [spec for spec in flow.issued if spec.action == "quarantine"]
    assert quarantine.reason == f"{MODEL}@r2 has severe findings: see the hold of {MODEL}"
    assert quarantine.findings == ()
    (thing,) = [kept for kept in flow.holds["a", MODEL].things if kept.action == "quarantine"]
    (reason,) = thing.reasons
    assert "malicious payload" in reason.why
    assert reason.findings
    (view,) = [view for view in flow.incidents[CASE].commands if view.spec.action == "quarantine"]
    assert "malicious payload" in view.spec.reason
    assert view.spec.findings
