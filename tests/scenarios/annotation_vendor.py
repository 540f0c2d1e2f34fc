"""An annotation service was broken into: who took labels from it before and after it was known."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.intel import IntelFact, IntelKind
from streams.demo.story_builder import StoryBuilder, digest_of
from tests.scenarios.expectation import Alert, Expected

VENDOR = "domain:labels.crowdnote.example"
MODEL = "model:registry.forum.example/forum/toxicity"


def _labels(host, number):
    return [
        {
            "url": f"https://{host}/export/{number}",
            "verified": True,
            "provider": host.split(".")[1],
            "digests": {"sha256": digest_of(f"{host} {number}")},
        }
    ]


def events(root):
    story = StoryBuilder("annotation-vendor", datetime(2026, 11, 2, 9, tzinfo=UTC), root)
    labelled = {
        "component": "dataset:forum/toxicity",
        "revision": "v7",
        "digests": {"sha256": digest_of("toxicity v7")},
    }
    return [
        story.run("forum", "label", stage="annotation", outputs=[labelled],
                   data_sources=_labels("labels.crowdnote.example", 7)),
        story.run("forum", "train", stage="fine-tuning", inputs=[labelled],
                   outputs=[{"component": MODEL, "revision": "3",
                             "digests": {"sha256": digest_of("toxicity model")}}]),
        story.run("magazine", "label", stage="annotation",
                   data_sources=_labels("labels.fairmark.example", 7)),
    ]  # fmt: skip


def intel():
    return [
        IntelFact(
            key=VENDOR,
            kind=IntelKind.COMPROMISED,
            sources=("vendor-notice", "cert-2026-11"),
            summary="exports were altered by an intruder",
        )
    ]


def policies(root):
    del root
    return []


expected = Expected(
    title="an annotation vendor that was broken into",
    intel_after=True,
    alerts=(
        Alert(
            tenant="forum",
            about=frozenset({VENDOR}),
            any_of=frozenset({"blocked_source_used", "poisoned_dataset"}),
        ),
    ),
    quiet=("magazine",),
    exposed={"forum": frozenset({MODEL})},
)
