"""The native events of version 1, as producers send them."""

from __future__ import annotations

from typing import Any

REGISTRY_PUSH: dict[str, Any] = {
    "specversion": "1.0",
    "id": "5f0f6c1e-0001",
    "source": "//huggingface/acme-labs",
    "type": "tidewatch.registry.push.v1",
    "subject": "model:huggingface/acme-labs/sentiment-base",
    "time": "2026-11-20T08:15:30.120Z",
    "tenantid": "tenant-a",
    "datacontenttype": "application/json",
    "dataschema": "urn:tidewatch:schema:registry-push:1",
    "data": {
        "action": "push",
        "kind": "model",
        "registry": "huggingface",
        "repository": "acme-labs/sentiment-base",
        "revision": "9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1",
        "previous_revision": "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
        "tag": "main",
        "publisher": {
            "name": "acme-labs",
            "account": "ci-release",
            "auth": "oidc",
            "id": "org-1842",
            "mfa": True,
        },
        "files": [
            {
                "path": "model.safetensors",
                "uri": "file:///models/acme-labs/sentiment-base/model.safetensors",
                "size": 438012345,
                "digests": {
                    "sha256": "7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a"
                },
            },
            {
                "path": "config.json",
                "uri": "file:///models/acme-labs/sentiment-base/config.json",
                "size": 612,
                "digests": {},
            },
        ],
        "card": {
            "license": "apache-2.0",
            "base_model": ["acme-labs/encoder-base"],
            "parameters": 109482240,
            "architectures": ["BertForSequenceClassification"],
            "datasets": ["acme/reviews"],
            "claims": [{"name": "red-team evaluation", "result": "passed", "evidence": None}],
        },
        "signatures": [
            {"kind": "model-signing", "uri": "file:///models/acme-labs/sentiment-base/model.sig"}
        ],
        "expected": {
            "source": "huggingface/acme-labs/sentiment-base",
            "hashes": {
                "model.safetensors": "7d0a" * 16,
            },
        },
        "systems": ["inference-eu-1"],
        "identities": ["secret-ref:hub-write-token"],
    },
}

PACKAGE_INSTALL: dict[str, Any] = {
    "specversion": "1.0",
    "id": "5f0f6c1e-0002",
    "source": "//ci/runner-7",
    "type": "tidewatch.package.install.v1",
    "subject": "host:runner-7",
    "time": "2026-11-20T08:16:02.000Z",
    "tenantid": "tenant-a",
    "datacontenttype": "application/json",
    "dataschema": "urn:tidewatch:schema:package-install:1",
    "data": {
        "ecosystem": "pypi",
        "installer": {"name": "pip", "version": "26.3"},
        "system": "runner-7",
        "image": "registry.example/train:2026-11",
        "environment": {"python_version": "3.11", "platform": "linux"},
        "index_url": "https://index.example/simple",
        "extra_index_urls": ["https://packages.acme.example/simple"],
        "batch": {"id": "b-77", "part": 1, "parts": 1},
        "packages": [
            {
                "name": "transformers",
                "version": "5.23.0",
                "url": "https://files.index.example/packages/bf/62/transformers-5.23.0-py3-none-any.whl",
                "hashes": {
                    "sha256": "018e82fd07490ad5bb58414f65e31576033dc7f36bed10c574843f69b90991bf"
                },
                "requested": True,
                "direct": False,
                "yanked": False,
                "editable": False,
                "requires_dist": ["numpy>=1.17", "safetensors>=0.8.0"],
                "filename": "transformers-5.23.0-py3-none-any.whl",
                "index_url": "https://index.example/simple",
                "uploaded_at": "2026-11-18T10:00:00Z",
                "vcs": None,
                "attestations": [],
            },
            {
                "name": "acme-features",
                "version": "1.4.0",
                "url": "https://packages.acme.example/acme_features-1.4.0.whl",
                "hashes": {
                    "sha256": "1111111111111111111111111111111111111111111111111111111111111111"
                },
                "requested": True,
                "direct": False,
                "yanked": False,
                "editable": False,
                "requires_dist": [],
                "filename": "acme_features-1.4.0.whl",
                "index_url": "https://packages.acme.example/simple",
                "uploaded_at": "2026-11-18T10:00:00Z",
                "vcs": None,
                "attestations": [],
            },
        ],
        "requirements": [
            (
                "transformers==5.23.0 "
                "--hash=sha256:018e82fd07490ad5bb58414f65e31576033dc7f36bed10c574843f69b90991bf"
            ),
            "acme-features>=1",
        ],
        "lock": {
            "transformers==5.23.0": [
                "sha256:018e82fd07490ad5bb58414f65e31576033dc7f36bed10c574843f69b90991bf"
            ]
        },
        "identities": ["secret-ref:ci-registry-token"],
    },
}

PIPELINE_RUN: dict[str, Any] = {
    "specversion": "1.0",
    "id": "5f0f6c1e-0003",
    "source": "//pipelines/train-sentiment",
    "type": "tidewatch.pipeline.run.v1",
    "subject": "pipeline:train-sentiment",
    "time": "2026-11-20T09:00:00.000Z",
    "tenantid": "tenant-a",
    "datacontenttype": "application/json",
    "dataschema": "urn:tidewatch:schema:pipeline-run:1",
    "data": {
        "pipeline": "train-sentiment",
        "run_id": "3f5e1c0a-9a51-4f6e-8f0e-2f2a7c1d9b10",
        "state": "succeeded",
        "stage": "fine-tuning",
        "system": "trainer-2",
        "criticality": 0.7,
        "config": {
            "learning_rate": 2e-05,
            "trust_remote_code": False,
            "data_sources": [
                {"url": "https://data.acme.example/reviews/v7.parquet", "verified": True}
            ],
        },
        "expected_config_hash": "71a1debd41086e52eaf3ac223e872aaaaf78cac00294ea7719b1fd6d45122d18",
        "data_sources": [
            {
                "name": "reviews",
                "url": "https://data.acme.example/reviews/v7.parquet",
                "verified": True,
                "provider": "Acme Annotations",
                "digests": {
                    "sha256": "2222222222222222222222222222222222222222222222222222222222222222"
                },
            }
        ],
        "inputs": [
            {
                "component": "model:huggingface/acme-labs/encoder-base",
                "revision": "77aa",
                "digests": {
                    "sha256": "3333333333333333333333333333333333333333333333333333333333333333"
                },
            },
            {
                "component": "dataset:acme/reviews",
                "revision": "v7",
                "digests": {
                    "sha256": "2222222222222222222222222222222222222222222222222222222222222222"
                },
            },
        ],
        "outputs": [
            {
                "component": "model:registry.acme/sentiment-prod",
                "revision": "41",
                "digests": {
                    "sha256": "7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a7d0a"
                },
            }
        ],
        "packages_event": "5f0f6c1e-0002",
        "identities": ["secret-ref:train-bucket-rw"],
        "evaluation": {"suite": "behaviour-v3", "score": 0.91, "baseline": 0.92, "passed": True},
    },
}
