"""Each reason in an alert and in a report says how it is known, and by whom."""

from __future__ import annotations

import pytest

from agents.domain.network_values import defanged
from agents.triage.routing import incident_id
from schemas.basis import Basis, BasisKind
from schemas.documents.ocsf import detection_finding
from streams.reports.incident import markdown
from tests.agents.triage.flow import Flow
from tests.agents.triage.stories import BAD, MODEL, finding, held

CASE = incident_id(f"sha256:{BAD}")
SIGNER = "https://ci.example/acme/build"


@pytest.mark.parametrize(
    ("basis", "for_tenant", "for_operator"),
    [
        (None, "your own events", "a's own events"),
        (Basis(kind=BasisKind.VERIFIED), "Tidewatch's scan of the same bytes", None),
        (Basis(kind=BasisKind.ATTESTED, by=(SIGNER,)), f"a signature of {SIGNER}", None),
        (Basis(kind=BasisKind.INTEL, by=("OSV",)), "intelligence (OSV)", None),
    ],
)
def test_alert_and_report_say_how_a_finding_is_known(basis, for_tenant, for_operator):
    flow = Flow()
    flow.saw(*held(MODEL, "a", "gpu", 10, version="r2", digest=BAD))
    flow.found(finding("hash_mismatch", "a", minutes=11, basis=basis))
    alert = flow.alerts[CASE, "a"]
    document = detection_finding(alert)
    (evidence,) = document["evidences"]
    assert evidence["data"]["known_by"] == for_tenant
    assert evidence["data"]["basis"] == (basis.kind if basis else "claimed")
    assert f"known by {for_tenant}" in document["message"]
    # no address in a report can be followed
    known_by = (for_operator or for_tenant).replace(SIGNER, defanged(SIGNER))
    assert known_by in markdown(flow.incidents[CASE]).replace("\\", "")
