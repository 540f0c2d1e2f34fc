"""The demonstration of `tidewatch up --demo`: ordinary work of five tenants, and four attacks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from schemas.channels import Channel
from schemas.events import Event, RunStage
from schemas.intel import IntelFact, IntelKind
from schemas.policy import Policy
from streams.demo.files import HARMLESS_COMMAND, calling_pickle, model_config, torch_archive
from streams.demo.ordinary import ordinary_days, tenant_policy
from streams.demo.story_builder import StoryBuilder, digest_of, package

if TYPE_CHECKING:
    from streams.settings import Settings

TENANTS: Final = ("northwind", "globex", "initech", "umbra", "acme")
START: Final = datetime(2026, 11, 16, 8, tzinfo=UTC)
PER_DAY: Final = 60
HOSTILE_MODEL: Final = "speedy-llm/chat-7b-turbo"
POISONED_DATASET: Final = "dataset:huggingface/label-vendor/reviews-extended"


def policies(root: Path) -> list[Policy]:
    """Return the policies of the story's tenants, with model roots below `root`."""
    return [tenant_policy(tenant, root) for tenant in TENANTS]


def facts() -> list[IntelFact]:
    """Return the intelligence facts known when the story starts."""
    modified = datetime(2026, 11, 1, tzinfo=UTC)
    return [
        IntelFact(
            key="pypi:litellm",
            kind=IntelKind.COMPROMISED,
            versions=("1.82.7", "1.82.8"),
            sources=("OSV:MAL-2026-2144",),
            confidence=0.95,
            modified=modified,
            popular=True,
            summary="releases with a credential stealer, published with a stolen token",
        ),
        IntelFact(
            key=f"sha256:{digest_of('poisoned reviews')}",
            kind=IntelKind.MALICIOUS,
            digests=(digest_of("poisoned reviews"),),
            sources=("partner-report",),
            confidence=0.9,
            modified=modified,
            summary="reviews with a trigger phrase that flips the label",
        ),
    ]


def story(root: Path) -> Iterator[Event[Any]]:
    """Yield the events of the story in order, and write their model files below `root`.

    The same root gives the same events, with the same ids.
    """
    story = StoryBuilder("demo", START, root)
    attacks = _attacks(story)
    for number, event in enumerate(
        ordinary_days(list(TENANTS), story, days=2, per_day=PER_DAY), start=1
    ):
        yield event
        if number % 25 == 0:
            yield from (attack for attack in (next(attacks, None),) if attack is not None)
    yield from attacks


def _attacks(story: StoryBuilder) -> Iterator[Event[Any]]:
    yield from _hostile_model(story)
    yield from _stolen_release(story)
    yield from _poisoned_data(story)
    yield from _tampered_config(story)


def _hostile_model(story: StoryBuilder) -> Iterator[Event[Any]]:
    weights = torch_archive(calling_pickle("posix", "system", HARMLESS_COMMAND))
    contents = {"pytorch_model.bin": weights, "config.json": model_config("LlamaForCausalLM")}
    publisher = {"name": "speedy-llm", "id": "5f00", "auth": "token", "mfa": False}
    for tenant, action in (("northwind", "push"), ("globex", "pull"), ("initech", "pull")):
        yield story.push(
            tenant,
            HOSTILE_MODEL,
            contents,
            action=action,
            publisher=publisher,
            systems=["inference-1"],
            identities=[f"secret-ref:{tenant}-hub-token"],
            visibility="public",
        )
    used = {
        "component": f"model:huggingface/{HOSTILE_MODEL}",
        "revision": digest_of(f"{HOSTILE_MODEL}{sorted(contents.items())}")[:40],
        "digests": {"sha256": hashlib.sha256(weights).hexdigest()},
    }
    for tenant in ("northwind", "globex"):
        yield story.run(
            tenant,
            "deploy-chat",
            stage=RunStage.SERVING,
            state="running",
            inputs=[used],
            outputs=[{"component": f"deployment:{tenant}-chat"}],
            identities=[f"secret-ref:{tenant}-cluster-deploy"],
        )


def _stolen_release(story: StoryBuilder) -> Iterator[Event[Any]]:
    for tenant, system in (("acme", "ci-2"), ("umbra", "gateway-1")):
        packages = [
            package("litellm", "1.82.7", uploaded_at="2026-11-16T06:00:00Z", requested=True),
            package("httpx", "0.28.1"),
            package("pydantic", "2.12.0"),
        ]
        yield story.install(
            tenant, system, packages, identities=[f"secret-ref:{tenant}-model-provider-key"]
        )


def _poisoned_data(story: StoryBuilder) -> Iterator[Event[Any]]:
    tenant = "umbra"
    digests = {"sha256": digest_of("poisoned reviews")}
    registry = f"model:registry.{tenant}.example/{tenant}"
    steps = (
        ("fine-tuning", "tune-moderation",
         {"component": POISONED_DATASET, "revision": "v4", "digests": digests},
         f"{registry}/moderation"),
        ("conversion", "quantize-moderation",
         {"component": f"{registry}/moderation", "revision": "1"}, f"{registry}/moderation-int8"),
    )  # fmt: skip
    for stage, pipeline, used, made in steps:
        yield story.run(
            tenant,
            pipeline,
            stage=stage,
            inputs=[used],
            outputs=[{"component": made, "revision": "1"}],
        )
    yield story.run(
        tenant,
        "deploy-moderation",
        stage=RunStage.DEPLOYMENT,
        inputs=[{"component": f"{registry}/moderation-int8", "revision": "1"}],
        outputs=[{"component": "deployment:moderation-api"}],
    )


def _tampered_config(story: StoryBuilder) -> Iterator[Event[Any]]:
    reviewed = {"learning_rate": 2e-05, "trust_remote_code": False}
    expected = hashlib.sha256(json.dumps(reviewed, sort_keys=True).encode()).hexdigest()
    # A look-alike of the trusted host, as an attacker would register it.
    url = "https://data.acrne.example/reviews/v2.parquet"
    yield story.run(
        "acme",
        "train-sentiment",
        stage="fine-tuning",
        config={**reviewed, "trust_remote_code": True, "data_sources": [{"url": url}]},
        expected_config_hash=expected,
        data_sources=[{"url": url, "verified": False, "registered_at": "2026-11-12T00:00:00Z"}],
    )


class Story:
    """The story, with the policies and facts it needs on the topics."""

    def __init__(self, root: Path) -> None:
        """Set up the demonstration with model files below `root`."""
        self.root = root

    def events(self) -> Iterator[Event[Any]]:
        """Yield its events in order; see `story`."""
        return story(self.root)

    async def publish_knowledge(self, settings: Settings) -> None:
        """Publish the tenants' policies and the facts, and wait until the broker has them."""
        from streams.kafka.publisher import delivering  # noqa: PLC0415 -- building the story needs no Kafka
        from streams.kafka.topics import topic_name  # noqa: PLC0415 -- the same

        policy_topic = topic_name(settings, Channel.POLICY)
        intel_topic = topic_name(settings, Channel.INTEL)
        async with delivering(settings) as publisher:
            for policy in policies(self.root):
                value = msgspec.json.encode(policy)
                await publisher.put(policy_topic, policy.tenant.encode(), value)
            for fact in facts():
                await publisher.put(intel_topic, fact.key.encode(), msgspec.json.encode(fact))
