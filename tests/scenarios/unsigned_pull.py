"""A release without the provenance that all before it had, seen by those who pull it.

Source: GHSA-cxm3-wv7p-598c (nx), August 2025: published with a stolen token, without provenance.
"""

from __future__ import annotations

from datetime import UTC, datetime

from streams.demo.files import safetensors
from streams.demo.story_builder import StoryBuilder
from tests.scenarios.expectation import Alert, Expected, fetching

MODEL = "enex/planner"
KEY = f"model:huggingface/{MODEL}"
SIGNED = [{"kind": "sigstore", "identity": "https://git.example/enex/planner/publish.yml"}]
OWNER = {"name": "enex", "id": "org-21"}


def events(root):
    story = StoryBuilder("unsigned-pull", datetime(2025, 8, 22, 9, tzinfo=UTC), root)
    found = []
    for number in range(4):
        content = {"model.safetensors": safetensors(f"planner {number}")}
        found.append(
            story.push("slip", MODEL, content, action="pull", systems=["planner-1"],
                        publisher=OWNER, signatures=[] if number == 3 else SIGNED)
        )  # fmt: skip
        # Signing was never the habit here: some releases are, some are not.
        plain = {"model.safetensors": safetensors(f"sometimes {number}")}
        found.append(
            story.push("berth", "sometimes/planner", plain, action="pull", systems=["planner-1"],
                        publisher={"name": "sometimes", "id": "org-22"},
                        signatures=SIGNED if number % 2 else [])
        )  # fmt: skip
        story.wait(days=1)
    return found


def intel():
    return []


def policies(root):
    return fetching(root, "slip", "berth")


expected = Expected(
    title="a release without its usual provenance, pulled (2025)",
    alerts=(Alert(tenant="slip", about=frozenset({KEY}), any_of=frozenset({"signature_absent"})),),
    quiet=("berth",),
)
