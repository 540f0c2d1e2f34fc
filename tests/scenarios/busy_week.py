"""A week of research, data and platform teams: much that only resembles an attack.

Notebooks without pins, community quantisations by new accounts, adapters of people's own, sources
at home, stores of every cloud, rolling datasets, nightly trainings whose settings are changed on
purpose, promotions, rotated credentials, retries and late events.
"""

from __future__ import annotations

import hashlib
import json
import random
from datetime import UTC, datetime

from schemas.policy import Internal, Policy, Trusted
from streams.demo.files import safetensors
from streams.demo.story_builder import INDEX, StoryBuilder, digest_of, package
from tests.scenarios.expectation import Expected

TENANTS = ("ardent", "birch", "cobalt", "dune", "ember")
HUB = (
    "Qwen/Qwen3-8B",
    "meta-llama/Llama-3.1-8B",
    "mistralai/Mistral-7B-v0.3",
    "google/gemma-2-9b",
    "BAAI/bge-m3",
    "openai/whisper-large-v3",
)
PACKAGES = ("numpy", "pandas", "torch", "transformers", "datasets", "scikit-learn", "tqdm", "peft")
AT_HOME = (
    "http://localhost:9000/x.parquet",
    "http://127.0.0.1:8080/set",
    "http://minio.data.svc.cluster.local:9000/bucket/x",
    "http://minio:9000/bucket/k",
    "http://10.20.0.4/share/x",
)


def _stores(tenant, day):
    return (
        f"s3://{tenant}-lake/tx/dt={day}",
        f"gs://{tenant}-lake/tx/{day}",
        f"abfss://tx@{tenant}lake.dfs.store.example/{day}",
        f"hdfs://namenode:8020/tx/{day}",
        f"dbfs:/mnt/tx/{day}",
        f"file:///mnt/data/{day}",
        f"https://data.{tenant}.example/{day}.csv",
    )


def _ref(component, name, revision=None, **more):
    found = {"component": component, "digests": {"sha256": digest_of(name)}, **more}
    return {**found, "revision": revision} if revision else found


def _inner(tenant):
    return f"https://packages.{tenant}.example/simple"


def _platform(story, tenant, day):
    """Internal packages, nightly training with reviewed settings, registration, promotion."""
    own = package(
        f"{tenant}-features",
        f"1.{day}.0",
        index_url=_inner(tenant),
        url=f"https://packages.{tenant}.example/files/{tenant}_features-1.{day}.0.whl",
    )
    yield story.install(
        tenant,
        "ci-1",
        [package("numpy", "2.4.6"), own],
        extra_index_urls=[_inner(tenant)],
        identities=["secret-ref:ci"],
    )
    config = {"learning_rate": 2e-05 if day < 4 else 1e-05, "epochs": 3}
    reviewed = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    weights = safetensors(f"{tenant} churn {day}")
    made = {
        "component": f"model:registry.{tenant}/churn",
        "revision": str(day),
        "digests": {"sha256": hashlib.sha256(weights).hexdigest()},
    }
    data = _ref(f"dataset:{tenant}/tx", f"{tenant} tx {day}", f"2026-11-{9 + day:02d}")
    for state in ("started", "succeeded"):
        yield story.run(
            tenant,
            "train-churn",
            state=state,
            stage="fine-tuning",
            config=config,
            expected_config_hash=reviewed,
            inputs=[data],
            outputs=[made] if state == "succeeded" else [],
        )
    robot = {"name": "ml-platform", "account": "svc", "auth": "oidc", "id": "svc-1"}
    for action, tag in (("push", "latest"), ("promote", "prod")):
        yield story.push(
            tenant,
            "churn",
            {"model.safetensors": weights},
            action=action,
            tag=tag,
            registry=f"registry.{tenant}",
            revision=str(day),
            publisher=robot,
        )
    yield story.run(
        tenant,
        "deploy-churn",
        stage="deployment",
        inputs=[made],
        outputs=[{"component": "deployment:churn-api"}],
        criticality=0.9,
    )
    # The project's token is rotated on the third day; on the sixth a colleague makes the release.
    member = {
        "name": f"{tenant}-labs",
        "account": "alice" if day == 5 else "release-bot",
        "auth": "token" if day < 3 else "oidc",
        "id": f"org-{tenant}",
    }
    yield story.push(
        tenant,
        f"{tenant}-labs/tiny",
        publisher=member,
        tag=f"v0.{day}.0",
        contents={"model.safetensors": safetensors(f"{tenant} tiny {day}")},
    )


def _research(story, tenant, day, rng):
    """Notebooks, pulls, quantisations of others, adapters of one's own, sweeps on data at home."""
    names = rng.sample(PACKAGES, 3)
    yield story.install(
        tenant,
        "notebook",
        [package(name, "2.0.0") for name in names],
        locked=False,
        requirements=names,
    )
    base = HUB[(day + len(tenant)) % len(HUB)]
    organisation, _, short = base.partition("/")
    yield story.push(
        tenant,
        base,
        {"model.safetensors": safetensors(base)},
        action="pull",
        publisher={"name": organisation, "id": f"org-{organisation}"},
        systems=["gpu-1"],
    )
    maker = f"quants-{rng.choice('abcdef')}"
    yield story.push(
        tenant,
        f"{maker}/{short}-GPTQ",
        action="pull",
        systems=["gpu-1"],
        contents={"model.safetensors": safetensors(f"{maker} {short}")},
        card={"base_model": [base], "quantization": "GPTQ"},
        publisher={"name": maker, "account": maker, "auth": "token"},
    )
    person = f"{tenant}-{day}"
    yield story.push(
        tenant,
        f"{person}/lora",
        kind="adapter",
        card={"base_model": [base]},
        contents={"adapter_model.safetensors": safetensors(person)},
        publisher={"name": person, "account": person, "auth": "password"},
    )
    for state in ("started", "failed", "succeeded"):
        yield story.run(
            tenant,
            "sweep",
            state=state,
            stage="fine-tuning",
            config={"lr": round(rng.uniform(1e-5, 5e-5), 8), "max_new_tokens": 128},
            data_sources=[{"url": rng.choice(AT_HOME)}],
            evaluation={
                "suite": "mmlu",
                "baseline": 0.62,
                "score": round(0.62 + rng.uniform(-0.01, 0.01), 4),
            },
        )


def _data(story, tenant, day):
    """Daily partitions in every kind of store, names that roll, synthetic data of a clean model."""
    for number, url in enumerate(_stores(tenant, day)):
        name = f"{tenant} store {number} {day}"
        yield story.run(
            tenant,
            f"etl-{number}",
            stage="crawl",
            data_sources=[{"url": url, "verified": True}],
            outputs=[_ref(f"dataset:{tenant}/tx{number}", name, f"d{day}")],
        )
    yield story.run(
        tenant,
        "roll",
        stage="annotation",
        inputs=[_ref(f"dataset:{tenant}/events", f"{tenant} ev {day}", "latest")],
        outputs=[_ref(f"dataset:{tenant}/clean", f"{tenant} clean {day}", "main")],
    )
    teacher = _ref("model:huggingface/Qwen/Qwen3-8B", "teacher", digest_of("teacher")[:40])
    synthetic = _ref(f"dataset:{tenant}/made", f"{tenant} made {day}", f"d{day}", synthetic=True)
    yield story.run(tenant, "generate", stage="annotation", inputs=[teacher], outputs=[synthetic])
    for again in range(2):
        yield story.run(
            tenant,
            "train",
            stage="fine-tuning",
            inputs=[synthetic],
            config={"api_key": "${VAULT:train}", "git_commit": digest_of("c")[:40]},
            outputs=[
                _ref(f"model:registry.{tenant}/m", f"{tenant} m {day} {again}", f"{day}.{again}")
            ],
        )


def events(root):
    story = StoryBuilder("busy-week", datetime(2026, 11, 9, 6, tzinfo=UTC), root)
    rng = random.Random(7)
    found = []
    for day in range(7):
        for tenant in TENANTS:
            found += _platform(story, tenant, day)
            found += _research(story, tenant, day, rng)
            found += _data(story, tenant, day)
        story.wait(hours=20)
    return found


def intel():
    return []


def policies(root):
    return [
        Policy(
            tenant=tenant,
            roots=(root.resolve().as_uri(),),
            internal=Internal(
                prefixes=(f"{tenant}-",),
                indexes=(_inner(tenant),),
                registries=(f"registry.{tenant}",),
            ),
            trusted=Trusted(indexes=(INDEX, _inner(tenant))),
        )
        for tenant in TENANTS
    ]


expected = Expected(title="a busy week of 5 tenants", quiet=TENANTS)
