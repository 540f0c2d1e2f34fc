"""What was trained is not what was registered, and what was announced is not what was loaded."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from streams.demo.files import safetensors
from streams.demo.story_builder import StoryBuilder, digest_of
from tests.scenarios.expectation import Alert, Expected, fetching

TRAINED = "model:mlflow/fraud"
PUBLISHED = "model:huggingface/quarry/encoder"
PUBLISHER = {"name": "mlops", "account": "svc-registry", "auth": "token", "id": "svc-1"}


def _made(component, revision, content):
    digest = hashlib.sha256(content).hexdigest()
    return {"component": component, "revision": revision, "digests": {"sha256": digest}}


def events(root):
    story = StoryBuilder("swapped-model", datetime(2026, 11, 2, 9, tzinfo=UTC), root)
    found = []
    for tenant, name in (("clearing", "fraud"), ("lender", "credit")):
        for version in ("40", "41"):
            weights = safetensors(f"{tenant} {version}")
            registered = weights
            if (tenant, version) == ("clearing", "41"):
                registered = safetensors("somebody else's weights")
            found.append(
                story.run(tenant, f"train-{name}", stage="fine-tuning",
                           outputs=[_made(f"model:mlflow/{name}", version, weights)])
            )  # fmt: skip
            found.append(
                story.push(tenant, name, {"model.safetensors": registered}, registry="mlflow",
                            revision=version, tag=None, publisher=PUBLISHER)
            )  # fmt: skip
            story.wait(days=1)
    commit = digest_of("quarry encoder")[:40]
    announced = {"model.safetensors": safetensors("quarry encoder")}
    pushed = story.push("quarry", "quarry/encoder", announced, revision=commit)
    loaded = {"component": PUBLISHED, "revision": commit, "digests": {"sha256": digest_of("other")}}
    return [*found, pushed, story.run("quarry", "tune", stage="fine-tuning", inputs=[loaded])]


def intel():
    return []


def policies(root):
    return fetching(root, "clearing", "lender", "quarry")


expected = Expected(
    title="models that are not what was trained or announced",
    alerts=(
        Alert(tenant="clearing", about=frozenset({TRAINED}), any_of=frozenset({"hash_mismatch"})),
        Alert(tenant="quarry", about=frozenset({PUBLISHED}), any_of=frozenset({"hash_mismatch"})),
    ),
    quiet=("lender",),
)
