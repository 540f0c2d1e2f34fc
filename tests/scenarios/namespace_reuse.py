"""Model namespace reuse, 2025: a deleted author's name is registered again by somebody else.

A reference to the model by its name alone gets the new owner's files.
Source: Palo Alto Networks Unit 42, "Model Namespace Reuse", 2025-09-03.
"""

from __future__ import annotations

from datetime import UTC, datetime

from streams.demo.files import (
    HARMLESS_COMMAND,
    calling_pickle,
    model_config,
    safetensors,
    torch_archive,
)
from streams.demo.story_builder import StoryBuilder
from tests.scenarios.expectation import Alert, Expected, fetching

MODEL = "dentalai/toothfairy-segmentation"
KEY = f"model:huggingface/{MODEL}"
OWNER = {"name": "dentalai", "id": "org-1001", "auth": "oidc"}
SIGNED = [{"kind": "sigstore", "identity": "https://dentalai.example"}]


def events(root):
    story = StoryBuilder("namespace-reuse", datetime(2026, 11, 2, 9, tzinfo=UTC), root)
    honest = {"model.safetensors": safetensors(MODEL), "config.json": model_config()}
    found = [story.push("dentists", MODEL, honest, publisher=OWNER, signatures=SIGNED)]
    for tenant in ("dentists", "insurer"):
        story.wait(hours=4)
        found.append(
            story.push(tenant, MODEL, honest, action="pull", publisher=OWNER, signatures=SIGNED,
                        systems=["imaging-1"])
        )  # fmt: skip
    story.wait(days=2)
    found.append(story.push("dentists", MODEL, action="delete", publisher=OWNER, tag=None))
    story.wait(days=4)
    archive = torch_archive(calling_pickle("posix", "system", f"{HARMLESS_COMMAND} namespace"))
    hostile = {"pytorch_model.bin": archive, "config.json": model_config()}
    stranger = {"name": "dentalai", "id": "u-9999", "auth": "token"}
    for tenant, action in (("dentists", "push"), ("insurer", "pull")):
        found.append(
            story.push(tenant, MODEL, hostile, action=action, publisher=stranger,
                        systems=["imaging-1"])
        )  # fmt: skip
    return found


def intel():
    return []


def policies(root):
    return fetching(root, "dentists", "insurer")


expected = Expected(
    title="model namespace reuse (2025)",
    alerts=tuple(
        Alert(
            tenant=tenant,
            about=frozenset({KEY}),
            any_of=frozenset({"publisher_change", "malicious_payload", "account_compromise"}),
        )
        for tenant in ("dentists", "insurer")
    ),
)
