"""Aliases and tags of a real MLflow server: quarantine, verified rollback, and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agents.response.config import MlflowConfig
from agents.response.mlflow_registry import TAG, ModelRegistry
from schemas.incidents.commands import CommandSpec
from tests.agents.response.bench import Bench, spec_of
from tests.agents.response.mlflow_server import COMMAND, MlflowServer

MODEL = "model:mlflow/churn"

pytestmark = pytest.mark.skipif(
    COMMAND is None, reason="needs MLflow: `make mlflow`, or MLFLOW_COMMAND naming its program"
)


class Server(MlflowServer):
    """A model server with three versions: two good ones and a bad one that serves."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.call("POST", "registered-models/create", name="churn")
        self.digests = {number: self.add(raw) for number, raw in ((1, b"a"), (2, b"b"), (3, b"c"))}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("mlflow"))
    yield server
    server.stop()


@pytest.fixture
def registry(server: Server, bench: Bench) -> Iterator[ModelRegistry]:
    """The registry with version 3 in production; the bench is configured with it."""
    bench.config = bench.configured(f'[tenants.acme.mlflow]\nurl = "{server.url}"')
    with ModelRegistry(MlflowConfig(url=server.url)) as registry:
        for alias, version in (("production", "3"), ("candidate", "3"), ("stable", "1")):
            registry.set_alias("churn", alias, version)
        for version in ("1", "2", "3"):
            registry.drop_tag("churn", version)
        yield registry


def quarantine() -> CommandSpec:
    return spec_of("quarantine", f"{MODEL}@3", version="3")


def reversal(spec: CommandSpec, action: str) -> CommandSpec:
    return spec_of(action, spec.target, undoes=spec.command_id, version=spec.version)


def test_a_version_is_tagged_and_loses_its_aliases_until_restored(
    bench: Bench, registry: ModelRegistry
) -> None:
    spec = quarantine()
    outcome = bench.run(spec).outcome
    assert outcome.status == 200
    assert outcome.results["aliases_removed"] == ["candidate", "production"]
    assert registry.aliases("churn") == {"stable": "1"}
    assert registry.tag_of("churn", "3") == spec.command_id
    assert bench.status(reversal(spec, "restore")) == 200
    assert registry.aliases("churn") == {"candidate": "3", "production": "3", "stable": "1"}
    tags = registry.version("churn", "3").get("tags", [])
    assert TAG not in {tag["key"] for tag in tags}


def test_the_serving_alias_moves_to_the_verified_version_and_back(
    bench: Bench, registry: ModelRegistry, server: Server
) -> None:
    spec = quarantine()
    bench.run(spec)
    back = spec_of(
        "rollback",
        MODEL,
        rollback_version="2",
        rollback_digest=server.digests[2],
        after=(spec.command_id,),
    )
    outcome = bench.run(back).outcome
    assert (outcome.status, outcome.results["previous"]) == (200, "3"), outcome
    assert registry.aliases("churn")["production"] == "2"
    forward = reversal(back, "roll-forward")
    assert bench.status(forward) == 400
    assert bench.status(reversal(spec, "restore")) == 200
    assert bench.status(msgspec.structs.replace(forward, attempt=2)) == 200
    assert registry.aliases("churn") == {"candidate": "3", "production": "3", "stable": "1"}


@pytest.mark.parametrize(
    ("version", "of", "status"), [("2", 1, 403), ("9", 2, 404), ("2", None, 403)]
)
def test_an_unverified_version_is_not_rolled_back_to(
    bench: Bench,
    registry: ModelRegistry,
    server: Server,
    version: str,
    of: int | None,
    status: int,
) -> None:
    digest = server.digests[of] if of else None
    spec = spec_of("rollback", MODEL, rollback_version=version, rollback_digest=digest)
    assert bench.status(spec) == status
    assert registry.aliases("churn")["production"] == "3"


def test_a_quarantined_version_is_no_target(
    bench: Bench, registry: ModelRegistry, server: Server
) -> None:
    registry.set_tag("churn", "2", "another command")
    spec = spec_of("rollback", MODEL, rollback_version="2", rollback_digest=server.digests[2])
    assert bench.status(spec) == 403


def test_a_dry_run_changes_nothing(bench: Bench, registry: ModelRegistry) -> None:
    before = registry.aliases("churn")
    assert bench.status(msgspec.structs.replace(quarantine(), dry_run=True)) == 200
    assert registry.aliases("churn") == before


def test_a_registry_that_does_not_answer_is_unavailable(bench: Bench) -> None:
    bench.config = bench.configured('[tenants.acme.mlflow]\nurl = "http://127.0.0.1:9"')
    assert bench.status(quarantine()) == 503
