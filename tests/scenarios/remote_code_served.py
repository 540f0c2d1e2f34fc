"""A model whose code is fetched and run is tuned, and what was made of it is deployed and serves.

Source: CVE-2026-5241: remote code that a nested configuration switches on.
"""

from __future__ import annotations

from datetime import UTC, datetime

from streams.demo.story_builder import StoryBuilder, digest_of
from tests.scenarios.expectation import Alert, Expected

COMMIT = "9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1"
TUNED = "model:registry.sluice/assistant"


def _made(revision):
    name = f"{TUNED} {revision}"
    return {
        "component": TUNED,
        "revision": revision,
        "digests": {"sha256": digest_of(name)},
    }


def _deploy(story, tenant, made, deployment):
    return story.run(
        tenant,
        f"deploy-{deployment}",
        stage="deployment",
        inputs=[made],
        outputs=[{"component": f"deployment:{deployment}"}],
        criticality=0.9,
    )


def events(root):
    story = StoryBuilder("remote-code-served", datetime(2026, 11, 2, 9, tzinfo=UTC), root)
    plain = {"base_model": "acme-labs/chat", "revision": COMMIT}
    code = {"base_model": "acme-labs/chat", "nested": {"trust_remote_code": True}}
    found = [
        # The version before was made without: what serves it is none of the incident's.
        story.run("sluice", "tune", stage="fine-tuning", config=plain, outputs=[_made("1")]),
        _deploy(story, "sluice", _made("1"), "archive"),
    ]
    story.wait(days=1)
    found += [
        story.run("sluice", "tune", stage="fine-tuning", config=code, outputs=[_made("2")],
                   identities=["secret-ref:hub-token"]),
        _deploy(story, "sluice", _made("2"), "assistant"),
        story.run("weir", "tune", stage="fine-tuning", config=plain,
                   outputs=[{**_made("1"), "component": "model:registry.weir/assistant"}]),
    ]  # fmt: skip
    return found


def intel():
    return []


def policies(root):
    del root
    return []


expected = Expected(
    title="what a run with remote code made serves (2026)",
    alerts=(
        Alert(
            tenant="sluice",
            about=frozenset({"pipeline:@sluice/tune"}),
            any_of=frozenset({"remote_code"}),
        ),
    ),
    quiet=("weir",),
    exposed={"sluice": frozenset({TUNED, "deployment:@sluice/assistant"})},
)
