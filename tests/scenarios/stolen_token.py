"""A stolen token publishes beside the workflow that always did, and without provenance.

Source: axios 1.14.1 and 0.30.4, 31 March 2026: published by hand with a long-lived token, where the
releases before came by trusted publishing and bore provenance.
"""

from __future__ import annotations

from datetime import UTC, datetime

from streams.demo.files import safetensors
from streams.demo.story_builder import StoryBuilder
from tests.scenarios.expectation import Alert, Expected, fetching

MODEL = "axial/encoder"
KEY = f"model:huggingface/{MODEL}"
WORKFLOW = {"name": "axial", "id": "org-31", "account": "maintainer", "auth": "oidc"}
BY_HAND = {**WORKFLOW, "auth": "token"}
SIGNED = [{"kind": "sigstore", "identity": "https://git.example/axial/encoder/release.yml"}]


def events(root):
    story = StoryBuilder("stolen-token", datetime(2026, 3, 26, 9, tzinfo=UTC), root)
    found = []
    for number in range(4):
        last = number == 3
        content = {"model.safetensors": safetensors(f"encoder {number}")}
        found.append(
            story.push("wharf", MODEL, content, action="pull", systems=["trainer-1"],
                        publisher=BY_HAND if last else WORKFLOW,
                        signatures=[] if last else SIGNED)
        )  # fmt: skip
        # Here a colleague makes a release once, and the project moves on to trusted publishing.
        colleague = {
            "name": "steady",
            "id": "org-32",
            "account": "robin" if number == 2 else "steady-bot",
            "auth": "oidc" if number > 1 else "token",
        }
        plain = {"model.safetensors": safetensors(f"steady {number}")}
        found.append(
            story.push("jetty", "steady/encoder", plain, action="pull", systems=["trainer-1"],
                        publisher=colleague)
        )  # fmt: skip
        story.wait(days=1)
    return found


def intel():
    return []


def policies(root):
    return fetching(root, "wharf", "jetty")


expected = Expected(
    title="a stolen token beside trusted publishing (2026)",
    alerts=(
        Alert(
            tenant="wharf",
            about=frozenset({KEY}),
            any_of=frozenset({"publisher_change", "account_compromise"}),
        ),
    ),
    quiet=("jetty",),
)
