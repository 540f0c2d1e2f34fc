"""A compromised publisher account: a signed, OIDC-published model is suddenly pushed by password.

The tag moves to a revision without the usual signature, with a pickle beside the weights; two
repositories of the publisher within an hour.
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

REPOSITORIES = ("openweights/embedder", "openweights/reranker")
CI = {"name": "openweights", "account": "release-bot", "auth": "oidc", "id": "org-77", "mfa": True}
THIEF = {"name": "openweights", "account": "j.doe", "auth": "password", "id": "org-77",
         "mfa": False}  # fmt: skip
SIGNED = [{"kind": "sigstore", "identity": "https://openweights.example/release"}]


def events(root):
    story = StoryBuilder("publisher-account", datetime(2026, 11, 2, 9, tzinfo=UTC), root)
    found = []
    for release in range(1, 6):
        for name in REPOSITORIES:
            contents = {
                "model.safetensors": safetensors(f"{name}/{release}"),
                "config.json": model_config(),
            }
            found.append(
                story.push("search", name, contents, publisher=CI, signatures=SIGNED,
                            tag="stable")
            )  # fmt: skip
        found.append(
            story.push("library", REPOSITORIES[0], contents, action="pull", publisher=CI,
                        signatures=SIGNED, tag="stable", systems=["indexer-1"])
        )  # fmt: skip
        story.wait(days=1)
    archive = torch_archive(calling_pickle("posix", "system", f"{HARMLESS_COMMAND} account"))
    for name in REPOSITORIES:
        contents = {
            "model.safetensors": safetensors(f"{name}/5"),
            "pytorch_model.bin": archive,
            "config.json": model_config(),
        }
        for tenant, action in (("search", "push"), ("library", "pull")):
            found.append(
                story.push(tenant, name, contents, action=action, publisher=THIEF, tag="stable",
                            systems=["indexer-1"], identities=[f"secret-ref:{tenant}-index"])
            )  # fmt: skip
        story.wait(minutes=20)
    return found


def intel():
    return []


def policies(root):
    return fetching(root, "search", "library")


expected = Expected(
    title="a compromised publisher account",
    alerts=tuple(
        Alert(
            tenant=tenant,
            about=frozenset(f"model:huggingface/{name}" for name in REPOSITORIES)
            | {"publisher:huggingface/openweights"},
            any_of=frozenset(
                {"account_compromise", "publisher_change", "signature_absent", "malicious_payload"}
            ),
        )
        for tenant in ("search", "library")
    ),
)
