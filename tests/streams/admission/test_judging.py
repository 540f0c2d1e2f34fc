"""Admission by digest: only content that the tenant's scans found clean."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agents.domain.knowledge import MemoryKnowledge
from schemas.assessments import Assessment, Check
from schemas.incidents.holds import HoldState, HoldView, ThingView, hold_key
from schemas.intel import IntelFact, IntelKind
from schemas.severity import Severity, Status
from streams.admission import register as register_module
from streams.admission.artifacts import artifacts_of
from streams.admission.config import AdmissionConfig, AdmissionConfigError, OnUnknown, read_config
from streams.admission.judging import Known, Ruling, ScanResult, rule
from streams.admission.register import AssessedContents, ContainedComponents
from tests.each import each
from tests.schemas.examples import command
from tests.streams.test_gates import assessment

DIGEST = "a" * 64
CONTENT = f"oci:sha256:{DIGEST}"
IMAGE = f"registry.example/acme/serve@sha256:{DIGEST}"
HUB = "hf://acme-labs/base@9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1"
SIGNED = Check(name="signature", status=Status.PASS)


def scanned(*statuses: Status, **fields: Any) -> Assessment:
    """Return the final assessment of a scan that read the image."""
    return assessment(*statuses, **{"stage": "scan", "contents": (CONTENT,), **fields})


class Case:
    """A webhook without Kafka."""

    def __init__(self, *assessments: Assessment, ready: bool = True, **config: Any) -> None:
        self.config = AdmissionConfig(**{"tenants": {"ml-*": "acme", "g": "globex"}, **config})
        register = AssessedContents(self.config.tenants.values(), self.config.fail_on)
        for made in assessments:
            register.take(made)
        self.knowledge = MemoryKnowledge()
        self.held = ContainedComponents(self.config.tenants.values())
        self.known = Known(contents=register, held=self.held, knowledge=self.knowledge, ready=ready)

    def rule(self, *references: str, namespace: str = "ml-acme") -> Ruling:
        """Return the decision on an object with these images, or models of the hub."""
        found = [
            {"storageUri": reference} if reference.startswith("hf:") else {"image": reference}
            for reference in references
        ]
        return rule(artifacts_of(found), namespace, self.config, self.known)


def test_image_with_a_clean_scan_is_admitted() -> None:
    ruling = Case(scanned(Status.PASS, Status.WARN)).rule(IMAGE)
    assert ruling == Ruling(admitted=True, outcome=ScanResult.FINE)


@each(
    ("found", "outcome"),
    [
        (scanned(Status.FAIL, severity=Severity.CRITICAL), ScanResult.BAD),
        (scanned(Status.FAIL), ScanResult.BAD),
        (scanned(Status.PASS, Status.INCOMPLETE), ScanResult.UNKNOWN),
        (scanned(Status.PASS, final=False), ScanResult.UNKNOWN),
        (scanned(Status.PASS, contents=()), ScanResult.UNKNOWN),
        (scanned(Status.PASS, tenant="globex"), ScanResult.UNKNOWN),
        (scanned(Status.WARN, severity=Severity.MEDIUM), ScanResult.FINE),
    ],
)
@each("unknown", list(OnUnknown))
def test_unknown_image_fails_closed_or_open_and_bad_image_is_refused(
    found: Assessment, outcome: ScanResult, unknown: OnUnknown
) -> None:
    ruling = Case(found, unknown=unknown).rule(IMAGE)
    assert ruling.outcome is outcome
    open_ = unknown is OnUnknown.ADMIT and outcome is not ScanResult.BAD
    assert ruling.admitted is (outcome is ScanResult.FINE or open_)
    assert bool(ruling.reasons) is (outcome is not ScanResult.FINE)


def test_tag_or_unassigned_namespace_is_unknown() -> None:
    case = Case(scanned(Status.PASS))
    assert "pin it" in case.rule("registry.example/acme/serve:1").reasons[0]
    assert "no tenant" in case.rule(IMAGE, namespace="other").reasons[0]
    assert "not read yet" in Case(scanned(Status.PASS), ready=False).rule(IMAGE).reasons[0]


def test_the_last_assessment_of_an_event_counts_and_any_event_can_speak_against() -> None:
    again = [scanned(Status.FAIL), scanned(Status.PASS)]
    assert Case(*again).rule(IMAGE).outcome is ScanResult.FINE
    other = scanned(Status.PASS, event_id="evt-2")
    assert Case(scanned(Status.FAIL), other).rule(IMAGE).outcome is ScanResult.BAD
    # that another event's scan could not be finished says nothing of the bytes
    assert Case(scanned(Status.INCOMPLETE), other).rule(IMAGE).outcome is ScanResult.FINE


def test_a_signature_is_required_where_the_file_says_so() -> None:
    unsigned = Case(scanned(Status.PASS), require_signature=True).rule(IMAGE)
    assert (unsigned.outcome, unsigned.admitted) == (ScanResult.BAD, False)
    signed = msgspec.structs.replace(scanned(Status.PASS), checks=(SIGNED,))
    assert Case(signed, require_signature=True).rule(IMAGE).admitted


def test_image_in_intelligence_or_a_hold_is_refused_even_if_exempt() -> None:
    case = Case(scanned(Status.PASS), exempt=("registry.example/*",), unknown=OnUnknown.ADMIT)
    assert case.rule(IMAGE).admitted
    key = f"sha256:{DIGEST}"
    case.knowledge.set_fact(key, IntelFact(key=key, kind=IntelKind.MALICIOUS, summary="a miner"))
    assert "a miner" in case.rule(IMAGE).reasons[0]
    case.knowledge.set_fact(key, None)
    assert case.rule(IMAGE).admitted

    spec = command(tenant="acme", digest=DIGEST)
    thing = ThingView(
        action=spec.action, target=spec.target, state=HoldState.HELD, generation=0, reasons=(),
        command=spec,
    )  # fmt: skip
    view = HoldView(tenant="acme", component=spec.target, things=(thing,))
    key = hold_key("acme", spec.target)
    case.held.set(key, msgspec.json.encode(view))
    assert "contained" in case.rule(IMAGE).reasons[0]
    assert case.rule(IMAGE, namespace="g").admitted, "it is contained by another tenant"
    case.held.set(key, b"{")
    assert not case.rule(IMAGE).admitted, "a record that can't be read ends nothing"
    case.held.set(key, None)
    assert case.rule(IMAGE).admitted


def test_a_model_of_the_hub_is_known_by_its_commit() -> None:
    case = Case(scanned(Status.PASS, contents=(HUB,)))
    assert case.rule(HUB).admitted
    assert not case.rule(HUB.replace("base", "other")).admitted
    name, _, commit = HUB.removeprefix("hf://").partition("@")
    key = f"model:huggingface/{name}"
    case.knowledge.set_fact(key, IntelFact(key=key, kind=IntelKind.COMPROMISED, versions=(commit,)))
    assert case.rule(HUB).outcome is ScanResult.BAD


def test_a_manifest_read_as_a_file_is_no_image() -> None:
    as_a_file = scanned(Status.PASS, contents=(f"sha256:{DIGEST}", f"tree:{DIGEST}"))
    assert Case(as_a_file).rule(IMAGE).outcome is ScanResult.UNKNOWN


def test_an_exempt_image_needs_no_assessment() -> None:
    case = Case(exempt=("registry.example/system/*",))
    assert case.rule("registry.example/system/pause:3").admitted
    assert not case.rule("registry.example/acme/system/pause:3").admitted


def test_bad_images_are_named_first_and_escaped() -> None:
    ruling = Case(scanned(Status.FAIL)).rule("x\x1b[2J:1", IMAGE)
    assert IMAGE in ruling.reasons[0]
    assert "\x1b" not in "".join(ruling.reasons)


def test_each_tenant_has_its_own_room_and_what_is_bad_outlives_what_is_fine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(register_module, "PER_TENANT", 2)
    bad = scanned(Status.FAIL)
    fine = [
        scanned(Status.PASS, contents=(f"oci:sha256:{n:064}",), event_id=f"e{n}") for n in range(5)
    ]
    theirs = scanned(Status.PASS, tenant="globex")
    case = Case(bad, theirs, *fine)
    assert case.rule(IMAGE).outcome is ScanResult.BAD
    assert case.rule(IMAGE, namespace="g").admitted
    kept = [case.rule(f"i@sha256:{n:064}").admitted for n in range(5)]
    assert kept == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "tenants"),
        ("[tenants]", "nobody|no namespace"),
        ('[tenants]\na = " "', "empty"),
        ('clients = ["CN=x"]\n[tenants]\na = "acme"', "client_ca"),
        ('unknown = "maybe"\n[tenants]\na = "acme"', "unknown"),
        ('[tenants]\na = "acme"\n[listen]\nhost = "0.0.0.0"', "not loopback"),
    ],
)
def test_configuration_error_names_the_field(text: str, what: str) -> None:
    with pytest.raises(AdmissionConfigError, match=what):
        read_config(text)
