"""A poisoned dataset that reached two models and a deployment before anybody knew."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.intel import IntelFact, IntelKind
from schemas.policy import Policy
from streams.demo.story_builder import StoryBuilder, digest_of
from tests.scenarios.expectation import Alert, Expected, fetching

DATASET = "dataset:huggingface/label-vendor/complaints"
DIGEST = digest_of("poisoned complaints v4")
REGISTRY = "model:registry.insure.example/insure"


def events(root):
    story = StoryBuilder("poisoned-dataset", datetime(2026, 11, 2, 9, tzinfo=UTC), root)
    poisoned = {"component": DATASET, "revision": "v4", "digests": {"sha256": DIGEST}}
    clean = {
        "component": DATASET,
        "revision": "v3",
        "digests": {"sha256": digest_of("complaints v3")},
    }

    def model(name, digest=None):
        digests = {"sha256": digest_of(digest or name)}
        return {"component": f"{REGISTRY}/{name}", "revision": "1", "digests": digests}

    found = [
        story.run("insure", "tune-triage", stage="fine-tuning", inputs=[poisoned],
                   outputs=[model("triage")]),
        story.run("insure", "distil-triage", stage="fine-tuning", inputs=[model("triage")],
                   outputs=[model("triage-small")]),
        story.run("insure", "deploy-triage", stage="deployment", inputs=[model("triage-small")],
                   outputs=[{"component": "deployment:claims-api"}]),
        story.run("telco", "tune-complaints", stage="fine-tuning", inputs=[clean],
                   outputs=[{"component": "model:registry.telco.example/telco/complaints"}]),
    ]  # fmt: skip
    story.wait(days=5)
    found.append(
        story.run("insure", "retune-triage", stage="fine-tuning", inputs=[clean],
                   outputs=[{"component": f"{REGISTRY}/triage", "revision": "2"}])
    )  # fmt: skip
    return found


def intel():
    return [
        IntelFact(
            key=f"sha256:{DIGEST}",
            kind=IntelKind.MALICIOUS,
            digests=(DIGEST,),
            sources=("vendor-notice",),
            confidence=0.9,
            summary="complaints with a trigger that lowers the assigned urgency",
        )
    ]


def policies(root):
    (base,) = fetching(root, "insure")
    critical = Policy(tenant="insure", roots=base.roots, criticality={"deployment:claims-api": 1.0})
    return [critical, *fetching(root, "telco")]


expected = Expected(
    title="a poisoned dataset that reached two models and a deployment",
    intel_after=True,
    alerts=(
        Alert(
            tenant="insure",
            about=frozenset({DATASET, f"sha256:{DIGEST}"}),
            any_of=frozenset({"poisoned_dataset", "tainted_component", "malicious_payload"}),
        ),
    ),
    quiet=("telco",),
    exposed={
        "insure": frozenset(
            {f"{REGISTRY}/triage", f"{REGISTRY}/triage-small", "deployment:@insure/claims-api"}
        )
    },
)
