"""Malicious pickles on a model hub, February 2024: a reverse shell in `pytorch_model.bin`.

Source: JFrog Security Research, 2024-02-27 (repository `baller423/goober2` and others).
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

MODEL = "baller423/goober2"
KEY = f"model:huggingface/{MODEL}"
TENANTS = ("lab", "studio", "press")


def events(root):
    story = StoryBuilder("hub-pickles", datetime(2026, 11, 3, 10, tzinfo=UTC), root)
    archive = torch_archive(calling_pickle("posix", "system", f"{HARMLESS_COMMAND} hub"))
    hostile = {"pytorch_model.bin": archive, "config.json": model_config()}
    clean = {"model.safetensors": safetensors("clean"), "config.json": model_config()}
    publisher = {"name": "baller423", "id": "u-423", "auth": "token"}
    signed = [{"kind": "sigstore", "identity": "https://google-bert.example"}]
    return [
        story.push("lab", MODEL, hostile, action="push", publisher=publisher),
        story.push("studio", MODEL, hostile, action="pull", publisher=publisher,
                    systems=["notebook-3"], identities=["secret-ref:studio-aws"]),
        story.push("press", "google-bert/bert-base-uncased", clean, action="pull",
                    publisher={"name": "google-bert", "id": "org-1"}, signatures=signed,
                    systems=["notebook-1"]),
    ]  # fmt: skip


def intel():
    return []


def policies(root):
    return fetching(root, *TENANTS)


expected = Expected(
    title="malicious pickles on a model hub (February 2024)",
    alerts=tuple(
        Alert(
            tenant=tenant,
            about=frozenset({KEY}),
            any_of=frozenset({"malicious_payload"}),
        )
        for tenant in ("lab", "studio")
    ),
    quiet=("press",),
)
