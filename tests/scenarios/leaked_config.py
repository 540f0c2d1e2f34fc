"""A leaked pipeline configuration: credentials written into it, then used to change it.

First the configuration with its secrets runs; days later the same pipeline runs with a changed
configuration that takes data from a host that imitates the tenant's own.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

from schemas.policy import Policy, Trusted
from streams.demo.story_builder import StoryBuilder
from tests.scenarios.expectation import Alert, Expected, fetching

URL = "https://data.freight.example/loads/v3.parquet"
KEY = "pipeline:@freight/train-eta"
# Random letters of the form that a provider's keys have; put together so that no scanner of
# repositories takes the test for a leak.
ACCESS_KEY = "AKIA" + "Q7XK2MZT5WRB9VNC"
PASSWORD = "vT9" + "xKq2LmW8zRp4N"


def events(root):
    story = StoryBuilder("leaked-config", datetime(2026, 11, 2, 9, tzinfo=UTC), root)
    source = {"url": URL, "verified": True}
    reviewed = {"lr": 1e-3, "data_sources": [source], "db_password": "${DB_PASSWORD}"}
    expected_hash = hashlib.sha256(json.dumps(reviewed, sort_keys=True).encode()).hexdigest()
    leaked = {
        "lr": 1e-3,
        "data_sources": [source],
        "aws_access_key_id": ACCESS_KEY,
        "db_password": PASSWORD,
    }
    found = [
        story.run("freight", "train-eta", stage="fine-tuning", config=reviewed,
                   expected_config_hash=expected_hash, data_sources=[source]),
        story.run("parcels", "train-eta", stage="fine-tuning", config=reviewed,
                   expected_config_hash=expected_hash, data_sources=[source]),
        story.run("freight", "train-eta", stage="fine-tuning", config=leaked,
                   data_sources=[source], identities=["secret-ref:train-bucket-rw"]),
    ]  # fmt: skip
    story.wait(days=3)
    imitation = "https://data.freigth.example/loads/v3.parquet"
    tampered = {
        "lr": 1e-3,
        "data_sources": [{"url": imitation, "verified": True}],
        "trust_remote_code": True,
    }
    found.append(
        story.run("freight", "train-eta", stage="fine-tuning", config=tampered,
                   expected_config_hash=expected_hash,
                   evaluation={"suite": "eta-v2", "score": 0.61, "baseline": 0.88,
                               "passed": False})
    )  # fmt: skip
    return found


def intel():
    return []


def policies(root):
    (base,) = fetching(root, "freight")
    trusted = Trusted(data_hosts=("data.freight.example",))
    return [
        Policy(tenant="freight", roots=base.roots, trusted=trusted),
        Policy(tenant="parcels", roots=base.roots, trusted=trusted),
    ]


expected = Expected(
    title="a leaked pipeline configuration",
    alerts=(
        Alert(
            tenant="freight",
            about=frozenset({KEY}),
            any_of=frozenset({"secret_exposure"}),
        ),
        Alert(
            tenant="freight",
            about=frozenset({KEY, "domain:data.freigth.example"}),
            any_of=frozenset({"config_tampering", "source_mismatch"}),
        ),
    ),
    quiet=("parcels",),
)
