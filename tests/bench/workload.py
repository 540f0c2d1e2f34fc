"""The events that benchmarks feed: installs of two packages each, a share of them with findings."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

TENANTS = 20
HOSTS = 50
"""Of each tenant; with the packages below, one in four (host, release) pairs of 200,000 events is
new, the others are repeated installs as runners make them."""
_NAMES = """
accelerate aiohttp aiosignal attrs certifi charset-normalizer click datasets diffusers dill
fastapi filelock frozenlist fsspec grpcio httpx huggingface-hub idna jinja2 joblib langchain
matplotlib mlflow multidict multiprocess networkx numpy onnx openai opencv-python packaging
pandas peft pillow protobuf psutil pyarrow pydantic python-dateutil pytz pyyaml ray regex
requests rich safetensors scikit-learn scipy sentencepiece setuptools six sympy
threadpoolctl tiktoken tokenizers torch torchvision tqdm transformers triton typer
typing-extensions tzdata urllib3 uvicorn vllm wheel xxhash yarl
"""
PACKAGES = _NAMES.split()


class Input(NamedTuple):
    """One event as it goes to the broker."""

    id: str
    key: bytes
    value: bytes
    incident_root: str | None
    """The indicator its finding is about; None for an event without one."""


def _releases(chance: random.Random) -> list[dict[str, Any]]:
    found = []
    for name in PACKAGES:
        version = f"{chance.randrange(1, 5)}.{chance.randrange(30)}.{chance.randrange(9)}"
        wheel = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        found.append(
            {
                "name": name,
                "version": version,
                "url": f"https://files.index.example/packages/{wheel}",
                "hashes": {"sha256": hashlib.sha256(wheel.encode()).hexdigest()},
                "requested": True,
                "filename": wheel,
                "index_url": "https://index.example/simple",
            }
        )
    return found


def installs(
    count: int, percent: float, *, seed: int = 7, first: int = 0, hosts: int = HOSTS
) -> Iterator[Input]:
    """Yield `count` package-install events, `percent` of them with a finding each.

    An event is about 1.3 kB: two pinned, hashed packages. The finding is a digest that the lock
    contradicts, of another package each time, so that each opens an incident of its own. Each
    tenant has `hosts` runners: few soon have nothing new to tell but findings.
    """
    chance = random.Random(f"{seed}-{first}")
    releases = _releases(random.Random(0))
    now = datetime.now(UTC).isoformat()
    for number in range(first, first + count):
        tenant = f"tenant-{chance.randrange(TENANTS)}"
        host = f"runner-{chance.randrange(hosts)}"
        packages = chance.sample(releases, 2)
        data = {
            "ecosystem": "pypi",
            "installer": {"name": "pip", "version": "26.3"},
            "system": host,
            "environment": {"python_version": "3.11", "platform": "linux"},
            "index_url": "https://index.example/simple",
            "packages": packages,
            "requirements": [
                f"{package['name']}=={package['version']}"
                f" --hash=sha256:{package['hashes']['sha256']}"
                for package in packages
            ],
        }
        root = None
        if chance.random() * 100 < percent:
            meant = {**packages[0], "name": f"tooling-{seed}-{number}", "version": "1.0"}
            meant["filename"] = f"tooling_{seed}_{number}-1.0-py3-none-any.whl"
            digest = hashlib.sha256(f"{seed}-{number}".encode()).hexdigest()
            root = f"sha256:{digest}"
            data["packages"] = [{**meant, "hashes": {"sha256": digest}}, packages[1]]
            data["requirements"] = []
            data["lock"] = {
                f"{package['name']}=={package['version']}": [
                    f"sha256:{package['hashes']['sha256']}"
                ]
                for package in (meant, packages[1])
            }
        identity = f"evt-{seed}-{number}"
        event = {
            "specversion": "1.0",
            "id": identity,
            "source": f"//ci.{tenant}.example/{host}",
            "type": "tidewatch.package.install.v1",
            "subject": f"host:{host}",
            "time": now,
            "tenantid": tenant,
            "datacontenttype": "application/json",
            "data": data,
        }
        key = f"{tenant}|host:{host}".encode()
        yield Input(identity, key, orjson.dumps(event), root)


def facts(count: int = 11_000) -> Iterator[tuple[str, bytes]]:
    """Yield facts on packages that no event names, as many as a public feed holds."""
    for number in range(count):
        key = f"pypi:malicious-sample-{number}"
        fact = {
            "key": key,
            "kind": "malicious",
            "versions": [f"{number % 7}.0.{n}" for n in range(number % 4)],
            "sources": [f"OSV:MAL-{number}"],
            "confidence": 0.95,
            "modified": "2026-08-01T00:00:00Z",
        }
        yield key, orjson.dumps(fact)
