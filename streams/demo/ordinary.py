"""Generate ordinary events of several tenants, which must not alert."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from schemas.events import Event, PushAction, RunStage
from schemas.policy import Internal, Policy, Trusted
from streams.demo.files import model_config, safetensors
from streams.demo.story_builder import INDEX, StoryBuilder, digest_of, package

PACKAGES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("numpy", ("2.3.1", "2.3.2", "2.3.3")),
    ("pandas", ("2.3.0", "2.3.1")),
    ("scipy", ("1.16.0", "1.16.1")),
    ("scikit-learn", ("1.7.0", "1.7.1")),
    ("torch", ("2.8.0", "2.9.0")),
    ("sympy", ("1.14.0",)),
    ("transformers", ("4.57.0", "4.57.1", "5.0.0")),
    ("tokenizers", ("0.22.0", "0.22.1")),
    ("safetensors", ("0.6.2",)),
    ("huggingface-hub", ("0.35.0", "0.36.0")),
    ("datasets", ("4.1.0", "4.2.0")),
    ("accelerate", ("1.10.0",)),
    ("requests", ("2.32.4", "2.32.5")),
    ("httpx", ("0.28.1",)),
    ("pydantic", ("2.11.7", "2.12.0")),
    ("fastapi", ("0.116.0", "0.117.0")),
    ("uvicorn", ("0.35.0",)),
    ("vllm", ("0.10.2", "0.11.0")),
    ("langchain", ("0.3.27",)),
    ("litellm", ("1.82.6", "1.82.9")),
    ("ultralytics", ("8.3.40", "8.3.43")),
    ("mlflow", ("3.4.0", "3.5.0")),
    ("pyarrow", ("21.0.0",)),
    ("tqdm", ("4.67.1",)),
)
HUB_MODELS: Final = (
    "google-bert/bert-base-uncased",
    "sentence-transformers/all-MiniLM-L6-v2",
    "openai/whisper-small",
    "distilbert/distilbert-base-uncased",
)
"""Models that all tenants pull."""
_STAGES: Final = ("fine-tuning", "evaluation", "conversion")
_OFFICE_HOURS: Final = 10


def tenant_policy(tenant: str, root: Path) -> Policy:
    """Return the policy of a tenant."""
    return Policy(
        tenant=tenant,
        trusted=Trusted(
            data_hosts=(f"data.{tenant}.example", f"s3://{tenant}-data"),
            registries=("huggingface", f"registry.{tenant}.example"),
            indexes=(INDEX, f"https://packages.{tenant}.example/simple"),
        ),
        internal=Internal(
            prefixes=(f"{tenant}-",),
            indexes=(f"https://packages.{tenant}.example/simple",),
            registries=(f"registry.{tenant}.example",),
        ),
        roots=(root.resolve().as_uri(),),
        automatic=("capture-evidence", "quarantine", "block"),
        dry_run=False,
        criticality={f"deployment:{tenant}-api": 0.9},
    )


class Workday:
    """The ordinary events of one tenant, from its own seeded random generator."""

    def __init__(self, tenant: str, story: StoryBuilder, seed: int) -> None:
        """Set up the tenant's hosts, packages, models and baseline."""
        self.tenant = tenant
        self.teller = story
        # Random for variety, not for secrets; the seed keeps the story reproducible.
        self.chance = random.Random(f"{tenant}/{seed}")  # noqa: S311
        self.versions = {name: versions[0] for name, versions in PACKAGES}
        self.model_version = 0
        self.update_at = story.now + timedelta(days=3)
        self.config: dict[str, Any] = {"learning_rate": 2e-05, "epochs": 3}

    def event(self) -> Event[Any]:
        """Return the next event of this tenant."""
        kinds = (self.locked_install, self.dev_install, self.pull, self.push, self.train,
                 self.deploy)  # fmt: skip
        (kind,) = self.chance.choices(kinds, weights=(40, 12, 16, 8, 14, 10))
        return kind()

    def _some_packages(self, count: int) -> list[dict[str, Any]]:
        chosen = self.chance.sample(PACKAGES, count)
        for name, versions in chosen:
            if self.chance.random() < 0.1:  # noqa: PLR2004 -- now and then a new version
                self.versions[name] = self.chance.choice(versions)
        return [
            package(name, self.versions[name], requested=index == 0)
            for index, (name, _) in enumerate(chosen)
        ]

    def locked_install(self) -> Event[Any]:
        """Return an install in CI from a lock, sometimes with an internal package."""
        packages = self._some_packages(self.chance.randint(3, 10))
        if self.chance.random() < 0.3:  # noqa: PLR2004 -- a third uses the tenant's own
            index = f"https://packages.{self.tenant}.example/simple"
            name = f"{self.tenant}-features"
            url = f"https://packages.{self.tenant}.example/{name}-1.4.0-py3-none-any.whl"
            packages.append(package(name, "1.4.0", index_url=index, url=url))
        return self.teller.install(
            self.tenant,
            f"ci-{self.chance.randint(1, 4)}",
            packages,
            extra_index_urls=[f"https://packages.{self.tenant}.example/simple"],
        )

    def dev_install(self) -> Event[Any]:
        """Return an install on a developer's machine, without a lock."""
        packages = self._some_packages(self.chance.randint(1, 4))
        return self.teller.install(
            self.tenant,
            f"laptop-{self.chance.randint(1, 9)}",
            packages,
            locked=False,
            requirements=[packages[0]["name"]],
        )

    def pull(self) -> Event[Any]:
        """Return a pull of a model that all tenants use."""
        name = self.chance.choice(HUB_MODELS)
        # In the middle of the week, one publisher releases an update under the same tag.
        release = "2" if name == HUB_MODELS[1] and self.teller.now >= self.update_at else "1"
        weights = safetensors(f"{name}/{release}")
        contents = {"model.safetensors": weights, "config.json": model_config()}
        return self.teller.push(
            self.tenant,
            name,
            contents,
            action=PushAction.PULL,
            publisher={"name": name.partition("/")[0], "id": digest_of(name)[:12]},
            signatures=[
                {"kind": "sigstore", "identity": f"https://{name.partition('/')[0]}.example"}
            ],
            systems=[f"inference-{self.chance.randint(1, 3)}"],
            visibility="public",
        )

    def push(self) -> Event[Any]:
        """Return a push of the tenant's own model: a new version, or the same one again."""
        if self.chance.random() < 0.7:  # noqa: PLR2004 -- the rest are pushed again
            self.model_version += 1
        name = f"{self.tenant}/sentiment"
        contents = {
            "model.safetensors": safetensors(f"{name}/{self.model_version}"),
            "config.json": model_config(),
        }
        return self.teller.push(
            self.tenant,
            name,
            contents,
            registry=f"registry.{self.tenant}.example",
            publisher={"name": self.tenant, "account": "ci-release", "auth": "oidc",
                       "id": f"org-{self.tenant}", "mfa": True},
            signatures=[{"kind": "model-signing", "identity": f"ci@{self.tenant}.example"}],
            tag=f"v{self.model_version}",
        )  # fmt: skip

    def _base(self) -> dict[str, Any]:
        name = self.chance.choice(HUB_MODELS)
        return {
            "component": f"model:huggingface/{name}",
            "revision": digest_of(name)[:40],
            "digests": {"sha256": digest_of(f"weights of {name}")},
        }

    def train(self) -> Event[Any]:
        """Return a training, evaluation or conversion run on verified data."""
        stage = self.chance.choice(_STAGES)
        if self.chance.random() < 0.05:  # noqa: PLR2004 -- now and then a reviewed change
            self.config = {**self.config, "epochs": self.chance.randint(2, 6)}
        text = json.dumps(self.config, sort_keys=True)
        release = self.chance.randint(1, 3)
        url = f"https://data.{self.tenant}.example/reviews/v{release}.parquet"
        data = {
            "component": f"dataset:data.{self.tenant}.example/reviews/v{release}.parquet",
            "revision": f"v{release}",
            "digests": {"sha256": digest_of(url)},
        }
        return self.teller.run(
            self.tenant,
            f"{stage}-sentiment",
            stage=stage,
            config=self.config,
            expected_config_hash=hashlib.sha256(text.encode()).hexdigest(),
            data_sources=[{"url": url, "verified": True, "digests": data["digests"]}],
            inputs=[self._base(), data],
            outputs=[
                {
                    "component": f"model:registry.{self.tenant}.example/{self.tenant}/sentiment",
                    "revision": f"v{self.model_version + 1}-{stage}",
                }
            ],
            evaluation={
                "suite": "behaviour-v3",
                "score": round(0.91 + self.chance.uniform(-0.01, 0.02), 3),
                "baseline": 0.91,
                "passed": True,
            },
        )

    def deploy(self) -> Event[Any]:
        """Return a deployment of the tenant's own model."""
        return self.teller.run(
            self.tenant,
            "deploy-api",
            stage=RunStage.DEPLOYMENT,
            inputs=[
                {
                    "component": f"model:registry.{self.tenant}.example/{self.tenant}/sentiment",
                    "revision": f"v{self.model_version}",
                }
            ],
            outputs=[{"component": f"deployment:{self.tenant}-api"}],
        )


def ordinary_days(
    tenants: list[str], story: StoryBuilder, *, days: int, per_day: int, seed: int = 7
) -> Iterator[Event[Any]]:
    """Yield the ordinary events of all tenants, interleaved in order of arrival.

    Args:
        tenants: The tenants.
        story: The builder, whose clock and root are used.
        days: The number of days.
        per_day: Events per tenant and day.
        seed: The seed; each gives another sequence of events.
    """
    workdays = [Workday(tenant, story, seed) for tenant in tenants]
    start = story.now
    for day in range(days):
        story.now = max(story.now, start + timedelta(days=day))
        for _ in range(per_day):
            story.wait(hours=_OFFICE_HOURS / per_day)
            for workday in workdays:
                yield workday.event()
