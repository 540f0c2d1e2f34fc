"""A publisher that always signed pushes without a signature, by another kind of credential."""

from __future__ import annotations

from datetime import UTC, datetime

from streams.demo.files import safetensors
from streams.demo.story_builder import StoryBuilder
from tests.scenarios.expectation import Alert, Expected, fetching

MODEL = "harbourlab/embedder"
SIGNED = [{"kind": "model-signing", "identity": "release@harbourlab.example"}]


def events(root):
    story = StoryBuilder("missing-signature", datetime(2026, 11, 2, 9, tzinfo=UTC), root)
    found = []
    for number in range(6):
        last = number == 5
        owner = {"name": "harbourlab", "id": "org-7", "auth": "token" if last else "oidc"}
        content = {"model.safetensors": safetensors(f"embedder {number}")}
        found.append(
            story.push("pier", MODEL, content, publisher=owner,
                        signatures=[] if last else SIGNED)
        )  # fmt: skip
        plain = {"model.safetensors": safetensors(f"plain {number}")}
        owner = {"name": "plainlab", "id": "org-8", "auth": "oidc"}
        found.append(story.push("plain", "plainlab/embedder", plain, publisher=owner))
        story.wait(hours=20)
    return found


def intel():
    return []


def policies(root):
    return fetching(root, "pier", "plain")


expected = Expected(
    title="a signature that was always there is missing",
    alerts=(
        Alert(
            tenant="pier",
            about=frozenset({f"model:huggingface/{MODEL}"}),
            any_of=frozenset({"signature_absent"}),
        ),
    ),
    quiet=("plain",),
)
