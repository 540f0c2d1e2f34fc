"""Sample events of the contract: each has every field of its type."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

TENANT: Final = "acme"
TIME: Final = datetime(2026, 11, 20, 8, 15, 30, 120_000, tzinfo=UTC)
DIGEST: Final = "9f2b1c7e4d5a60718293a4b5c6d7e8f90123456789abcdef0123456789abcdef"
MODEL: Final = "model:huggingface/acme-labs/sentiment-base"
REVISION: Final = "9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1"
SYSTEM: Final = "inference-eu-1"

PUSH: Final[dict[str, Any]] = {
    "specversion": "1.0",
    "id": "5f0f6c1e-0001",
    "source": "//huggingface/acme-labs",
    "type": "tidewatch.registry.push.v1",
    "subject": MODEL,
    "time": "2026-11-20T08:15:30.120Z",
    "tenantid": TENANT,
    "datacontenttype": "application/json",
    "data": {
        "action": "push",
        "kind": "model",
        "registry": "huggingface",
        "repository": "acme-labs/sentiment-base",
        "revision": REVISION,
        "previous_revision": "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
        "tag": "main",
        "moved_from": "acme-research/sentiment-base",
        "publisher": {
            "name": "acme-labs",
            "account": "ci-release",
            "auth": "oidc",
            "id": "org-1842",
            "mfa": True,
        },
        "files": [
            {
                "path": "weights/pytorch_model.bin",
                "uri": "hf://acme-labs/sentiment-base/weights/pytorch_model.bin",
                "size": 438012345,
                "digests": {"sha256": DIGEST},
            }
        ],
        "card": {
            "license": "apache-2.0",
            "base_model": ["acme-labs/encoder-base"],
            "parameters": 109482240,
            "architectures": ["BertForSequenceClassification"],
            "datasets": ["acme/reviews"],
            "claims": [
                {
                    "name": "red-team evaluation",
                    "result": "passed",
                    "evidence": "https://reports.acme.example/red-team-7.pdf",
                }
            ],
            "formats": ["pytorch"],
            "quantization": "none",
        },
        "signatures": [
            {
                "kind": "model-signing",
                "uri": "hf://acme-labs/sentiment-base/model.sig",
                "identity": "ci-release@acme.example",
                "issuer": "https://idp.acme.example",
            }
        ],
        "expected": {
            "source": "huggingface/acme-labs/sentiment-base",
            "hashes": {"weights/pytorch_model.bin": DIGEST},
        },
        "systems": [SYSTEM],
        "identities": ["secret-ref:hub-write-token"],
        "visibility": "private",
    },
}
"""A push of a model, with everything that a registry can state."""

INSTALL: Final[dict[str, Any]] = {
    "specversion": "1.0",
    "id": "5f0f6c1e-0002",
    "source": "//ci/runner-7",
    "type": "tidewatch.package.install.v1",
    "subject": "host:runner-7",
    "time": "2026-11-20T08:16:02.000Z",
    "tenantid": TENANT,
    "datacontenttype": "application/json",
    "data": {
        "ecosystem": "pypi",
        "installer": {"name": "pip", "version": "25.3"},
        "system": "runner-7",
        "image": "registry.acme.example/train:2026-11-20",
        "environment": {"python_version": "3.12", "platform": "linux_x86_64"},
        "index_url": "https://index.example/simple",
        "extra_index_urls": ["https://packages.acme.example/simple"],
        "batch": {"id": "build-4711", "part": 1, "parts": 1},
        "packages": [
            {
                "name": "numpy",
                "version": "2.3.4",
                "hashes": {"sha256": "7d0a" * 16},
                "requested": True,
                "filename": "numpy-2.3.4-cp312-cp312-manylinux_2_28_x86_64.whl",
                "index_url": "https://index.example/simple",
                "url": "https://index.example/files/numpy-2.3.4-cp312-cp312-manylinux_2_28_x86_64.whl",
                "requires_dist": [],
                "direct": False,
                "yanked": False,
                "editable": False,
                "uploaded_at": "2026-10-15T09:00:00Z",
                "publisher": "numpy",
            },
            {
                "name": "acme-tools",
                "version": "1.4",
                "vcs": {
                    "vcs": "git",
                    "url": "https://git.acme.example/tools",
                    "requested_revision": "v1.4",
                    "commit_id": "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
                },
                "attestations": [{"version": 1}],
            },
        ],
        "requirements": ["numpy==2.3.4"],
        "lock": {"numpy==2.3.4": ["sha256:" + "7d0a" * 16]},
        "identities": ["secret-ref:ci-token"],
    },
}
"""An install of packages on a build host."""

RUN: Final[dict[str, Any]] = {
    "specversion": "1.0",
    "id": "5f0f6c1e-0003",
    "source": "//kubeflow/acme",
    "type": "tidewatch.pipeline.run.v1",
    "subject": "pipeline:train-sentiment",
    "time": "2026-11-20T08:20:00.000Z",
    "tenantid": TENANT,
    "datacontenttype": "application/json",
    "data": {
        "pipeline": "train-sentiment",
        "run_id": "run-2026-11-20-1",
        "state": "succeeded",
        "stage": "train",
        "system": "train-cluster-1",
        "criticality": 0.7,
        "config": {"learning_rate": 0.0002, "epochs": 3},
        "expected_config_hash": "5e6f" * 16,
        "data_sources": [
            {
                "url": "https://data.acme.example/reviews.parquet",
                "name": "reviews",
                "verified": True,
                "provider": "Acme Annotation",
                "digests": {"sha256": "4c1d" * 16},
                "registered_at": "2019-03-01T00:00:00Z",
            }
        ],
        "inputs": [
            {"component": MODEL, "revision": REVISION, "digests": {"sha256": DIGEST}},
            {"component": "dataset:huggingface/acme/made", "synthetic": True},
        ],
        "outputs": [
            {
                "component": "model:mlflow/sentiment",
                "revision": "12",
                "digests": {"sha256": "1a2b" * 16},
                "synthetic": False,
            }
        ],
        "packages_event": "5f0f6c1e-0002",
        "identities": ["secret-ref:data-reader"],
        "evaluation": {"suite": "safety-suite", "score": 0.98, "baseline": 0.97, "passed": True},
    },
}
"""A run of a training pipeline."""
