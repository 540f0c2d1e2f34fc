"""A maintainer is phished for password and second factor; what is published then is pulled.

Source: GHSA-8mgj-vmr8-frr6 (debug) and its neighbours, September 2025: a message asked maintainers
to renew their second factor.
"""

from __future__ import annotations

from datetime import UTC, datetime

from streams.demo.files import safetensors
from streams.demo.story_builder import StoryBuilder
from tests.scenarios.expectation import Alert, Expected, fetching

MODEL = "quill/tagger"
KEY = f"model:huggingface/{MODEL}"
USUAL = {"name": "quill", "id": "u-5", "account": "quill", "auth": "token", "mfa": True}
PHISHED = {**USUAL, "auth": "password", "mfa": False}


def events(root):
    story = StoryBuilder("phished-maintainer", datetime(2025, 9, 4, 9, tzinfo=UTC), root)
    found = []
    for number in range(4):
        content = {"model.safetensors": safetensors(f"tagger {number}")}
        publisher = PHISHED if number == 3 else USUAL
        found.append(
            story.push("quay", MODEL, content, action="pull", systems=["tagger-1"],
                        publisher=publisher, tag=f"v1.{number}.0")
        )  # fmt: skip
        # A producer that does not say how somebody signed in tells of no change.
        silent = {"name": "quill", "id": "u-5"}
        found.append(
            story.push("mole", MODEL, content, action="pull", systems=["tagger-1"],
                        publisher=silent, tag=f"v1.{number}.0")
        )  # fmt: skip
        story.wait(days=1)
    return found


def intel():
    return []


def policies(root):
    return fetching(root, "quay", "mole")


expected = Expected(
    title="a maintainer phished for the second factor (2025)",
    alerts=(
        Alert(
            tenant="quay",
            about=frozenset({KEY}),
            any_of=frozenset({"publisher_change", "account_compromise"}),
        ),
    ),
    quiet=("mole",),
)
