"""A deterministic mix of events of many tenants: mostly ordinary, some bad, some broken."""

from __future__ import annotations

import io
import os
import pickle
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import safetensors.numpy

from schemas.channels import Channel

START = datetime(2026, 11, 20, 8, tzinfo=UTC)
TENANTS = [f"tenant-{number:02}" for number in range(12)]
PACKAGES = ["numpy", "torch", "transformers", "pandas", "scipy", "requests", "pydantic", "rich"]
Item = tuple[Channel, str | None, bytes | None]


class _Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


def write_models(root: Path) -> None:
    """Write the files the pushes name: harmless weights, a harmless and a hostile pickle."""
    root.mkdir(parents=True, exist_ok=True)
    weights = {"w": np.arange(16, dtype=np.float32)}
    (root / "model.safetensors").write_bytes(safetensors.numpy.save(weights))
    (root / "vocab.pkl").write_bytes(pickle.dumps({"a": 1, "b": [1, 2]}))
    buffer = io.BytesIO()
    pickle.Pickler(buffer, 2).dump(_Hostile())
    (root / "evil.bin").write_bytes(buffer.getvalue())


def policies(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each tenant's policy: it may fetch below `root`, half automate containment."""
    for number, tenant in enumerate(TENANTS):
        automatic = ["capture-evidence", "quarantine", "block"] if number % 2 else []
        yield (
            tenant,
            orjson.dumps(
                {
                    "tenant": tenant,
                    "roots": [root.as_uri()],
                    "automatic": automatic,
                    "dry_run": False,
                    "internal": {
                        "prefixes": ["acme-"],
                        "indexes": ["https://packages.acme.example/simple"],
                    },
                }
            ),
        )


def intel() -> Iterator[tuple[str, bytes]]:
    """Yield facts: one package with bad releases, one that is malicious."""
    for key, kind, versions in (
        ("pypi:litellm", "compromised", ["1.82.7"]),
        ("pypi:torch-tritonx", "malicious", []),
    ):
        yield (
            key,
            orjson.dumps(
                {
                    "key": key,
                    "kind": kind,
                    "versions": versions,
                    "sources": ["OSV:MAL-1"],
                    "confidence": 0.95,
                    "modified": "2026-08-01T00:00:00Z",
                }
            ),
        )


def events(count: int, root: Path, seed: int = 7, *, bad: int = 1) -> Iterator[Item]:
    """Yield `count` inputs: channel, key and value; at most 2 % are pushes, 0.5 % are broken.

    Args:
        count: How many.
        root: Where the pushed files lie.
        seed: Of the choices.
        bad: So many times as many pushes and bad packages.
    """
    chance = random.Random(seed)
    for number in range(count):
        tenant = chance.choice(TENANTS)
        time = START + timedelta(seconds=number)
        draw = chance.random()
        if draw < 0.005:
            broken = (b"\xff", b"{", b"[1]", b'{"id":"x"}', b'{"n":%d}' % number)
            yield Channel.PACKAGE_INSTALL, None, chance.choice(broken)
        elif draw < 0.005 + 0.015 * bad:
            yield _item(Channel.REGISTRY_PUSH, _push(number, tenant, chance, root), tenant, time)
        elif draw < 0.35:
            yield _item(Channel.PIPELINE_RUN, _run(number, tenant, chance), tenant, time)
        else:
            yield _item(Channel.PACKAGE_INSTALL, _install(number, chance, bad), tenant, time)


def _item(channel: Channel, event: dict[str, Any], tenant: str, time: datetime) -> Item:
    document = {
        "specversion": "1.0",
        "source": f"//{tenant}/ci",
        "time": time.isoformat(),
        "tenantid": tenant,
        **event,
    }
    return channel, f"{tenant}|{event['subject']}", orjson.dumps(document)


def _install(number: int, chance: random.Random, bad: int) -> dict[str, Any]:
    host = f"runner-{chance.randrange(5)}"
    packages = [
        {
            "name": name,
            "version": f"2.{chance.randrange(3)}.0",
            "requested": True,
            "hashes": {"sha256": f"{chance.randrange(1 << 20):064x}"},
            "index_url": "https://index.example/simple",
        }
        for name in chance.sample(PACKAGES, 2)
    ]
    draw = chance.random()
    if draw < 0.004 * bad:
        packages[0] = {**packages[0], "name": "litellm", "version": "1.82.7"}
    elif draw < 0.006 * bad:
        packages[0] = {**packages[0], "name": "torch-tritonx", "version": "1.0"}
    elif draw < 0.01 * bad:
        packages[0] = {**packages[0], "name": "acme-features", "version": "99.0.0"}
    pins = [f"{p['name']}=={p['version']} --hash=sha256:{p['hashes']['sha256']}" for p in packages]
    if draw > 0.98:
        pins[0] = str(packages[0]["name"])
    return {
        "id": f"evt-{number}",
        "type": "tidewatch.package.install.v1",
        "subject": f"host:{host}",
        "data": {"system": host, "packages": packages, "requirements": pins},
    }


def _run(number: int, tenant: str, chance: random.Random) -> dict[str, Any]:
    name = f"train-{chance.randrange(4)}"
    scheme = "http" if chance.random() < 0.01 else "https"
    dataset = chance.randrange(6)
    return {
        "id": f"evt-{number}",
        "type": "tidewatch.pipeline.run.v1",
        "subject": f"pipeline:{name}",
        "data": {
            "pipeline": name,
            "state": "succeeded",
            "stage": "fine-tuning",
            "system": f"trainer-{chance.randrange(3)}",
            "data_sources": [
                {"url": f"{scheme}://data.{tenant}.example/d{dataset}", "verified": True}
            ],
            "inputs": [{"component": f"dataset:{tenant}/d{dataset}", "revision": "v1"}],
            "outputs": [{"component": f"model:registry.{tenant}/m{chance.randrange(4)}"}],
        },
    }


def _push(number: int, tenant: str, chance: random.Random, root: Path) -> dict[str, Any]:
    draw = chance.random()
    file = "evil.bin" if draw < 0.1 else "vocab.pkl" if draw < 0.3 else "model.safetensors"
    repository = f"org-{tenant[-2:]}/model-{chance.randrange(5)}"
    return {
        "id": f"evt-{number}",
        "type": "tidewatch.registry.push.v1",
        "subject": f"model:huggingface/{repository}",
        "data": {
            "action": "push",
            "registry": "huggingface",
            "repository": repository,
            "revision": f"{number:040x}",
            "publisher": {"name": repository.split("/", maxsplit=1)[0], "auth": "oidc"},
            "files": [{"path": file, "uri": (root / file).as_uri()}],
            "systems": [f"inference-{chance.randrange(2)}"],
        },
    }
