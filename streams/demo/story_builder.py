"""Builds events one after the other: deterministic ids, a clock that the builder moves."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import orjson

from schemas.canonical import stable_id
from schemas.events import (
    TYPE_PACKAGE_INSTALL,
    TYPE_PIPELINE_RUN,
    TYPE_REGISTRY_PUSH,
    Event,
    PackageInstall,
    PipelineRun,
    RegistryPush,
)
from streams.demo.files import write

INDEX = "https://index.example/simple"
FILES = "https://files.index.example/packages"


def digest_of(name: str) -> str:
    """Return a SHA-256 that represents the content called `name`: the same for everyone."""
    return hashlib.sha256(name.encode()).hexdigest()


def package(name: str, version: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 -- fields of `Package`
    """Return an installed wheel as an installer reports it when it follows a lock."""
    filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    return {
        "name": name,
        "version": version,
        "url": f"{FILES}/{filename}",
        "filename": filename,
        "index_url": INDEX,
        "hashes": {"sha256": digest_of(f"{name}=={version}")},
        "uploaded_at": "2025-01-15T00:00:00Z",
        **fields,
    }


def lock_of(packages: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the lock that holds exactly these packages."""
    return {
        f"{entry['name']}=={entry['version']}": [f"sha256:{entry['hashes']['sha256']}"]
        for entry in packages
    }


class StoryBuilder:
    """Builds the events of a story in chronological order."""

    def __init__(self, name: str, start: datetime, root: Path) -> None:
        """Start the story `name` at `start`, with model files below `root`."""
        self.name = name
        self.now = start
        self.root = root
        self._count = 0

    def wait(self, **duration: float) -> None:
        """Advance the clock by the arguments of `timedelta`."""
        self.now += timedelta(**duration)

    def _event(
        self, tenant: str, source: str, kind: str, subject: str, data: dict[str, Any], of: type[Any]
    ) -> Event[Any]:
        self._count += 1
        self.now += timedelta(seconds=1)
        # Through JSON, so that the configuration is raw text as a producer would have sent it.
        decoded = msgspec.json.decode(orjson.dumps(data), type=of)
        return Event(
            id=stable_id(self.name, tenant, source, str(self._count)),
            source=source,
            type=kind,
            subject=subject,
            time=self.now,
            tenantid=tenant,
            data=decoded,
        )

    def push(
        self,
        tenant: str,
        repository: str,
        contents: dict[str, bytes] | None = None,
        *,
        registry: str = "huggingface",
        kind: str = "model",
        revision: str | None = None,
        **data: Any,  # noqa: ANN401 -- fields of `RegistryPush`
    ) -> Event[RegistryPush]:
        """Return a push (or another `action`), writing its files below the root."""
        revision = revision or digest_of(f"{repository}{sorted((contents or {}).items())}")[:40]
        files = []
        for path, content in (contents or {}).items():
            stored = f"{registry}/{repository}/{revision[:12]}/{path}"
            digest = write(self.root, stored, content)
            files.append(
                {
                    "path": path,
                    "uri": (self.root / stored).resolve().as_uri(),
                    "size": len(content),
                    "digests": {"sha256": digest},
                }
            )
        body = {
            "kind": kind,
            "registry": registry,
            "repository": repository,
            "revision": revision,
            "tag": "main",
            "files": files,
            **data,
        }
        return self._event(
            tenant,
            f"//{registry}/{repository.partition('/')[0]}",
            TYPE_REGISTRY_PUSH,
            f"{kind}:{registry}/{repository}",
            body,
            RegistryPush,
        )

    def install(
        self,
        tenant: str,
        system: str,
        packages: list[dict[str, Any]],
        *,
        locked: bool = True,
        **data: Any,  # noqa: ANN401 -- fields of `PackageInstall`
    ) -> Event[PackageInstall]:
        """Return an install on a host, with its lock."""
        body = {
            "installer": {"name": "pip", "version": "26.3"},
            "system": system,
            "environment": {"python_version": "3.11", "platform": "linux"},
            "index_url": INDEX,
            "packages": packages,
            "lock": lock_of(packages) if locked else {},
            **data,
        }
        return self._event(
            tenant, f"//ci/{system}", TYPE_PACKAGE_INSTALL, f"host:{system}", body, PackageInstall
        )

    def run(self, tenant: str, pipeline: str, **data: Any) -> Event[PipelineRun]:  # noqa: ANN401 -- fields of `PipelineRun`
        """Return a run of a pipeline."""
        body = {
            "pipeline": pipeline,
            "run_id": stable_id("run", self.name, tenant, pipeline, str(self._count)),
            "system": f"{pipeline}-runner",
            **data,
        }
        return self._event(
            tenant,
            f"//pipelines/{pipeline}",
            TYPE_PIPELINE_RUN,
            f"pipeline:{pipeline}",
            body,
            PipelineRun,
        )
