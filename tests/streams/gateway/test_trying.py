"""An endpoint is tried with its proof; nothing is written, and what is wrong is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from schemas.errors import TidewatchError
from streams.cli import main
from streams.gateway.config import GatewayConfig, read_config
from streams.gateway.delivery import RecordWriter
from streams.gateway.handlers import Gateway
from streams.gateway.trying import try_endpoint
from streams.http.listening import Listen
from streams.settings import load_settings
from tests.streams.gateway.requests import SECRET
from tests.streams.http.serving import serving

PRODUCERS = {
    "ci": "cloudevents",
    "hub": "huggingface",
    "mlflow": "mlflow",
    "github": "github",
    "gitlab": "gitlab",
    "harbor": "harbor",
    "jfrog": "jfrog",
    "wandb": "wandb",
    "oci": "oci",
}


@pytest.fixture
def config(tmp_path: Path) -> Iterator[GatewayConfig]:
    """The configuration of a gateway that runs, without a broker."""
    (tmp_path / "secret").write_text(SECRET)
    endpoints = [
        f'[endpoints.{name}]\ntenant = "acme"\nproducer = "{kind}"\n'
        f'secret = "file:{tmp_path}/secret"'
        for name, kind in PRODUCERS.items()
    ]
    path = f'proof = "path"\nsecret = "file:{tmp_path}/secret"\nproducer = "docker-hub"'
    text = "\n".join([*endpoints, f'[endpoints.docker]\ntenant = "acme"\n{path}'])
    made = read_config(text)
    settings = load_settings(kafka="127.0.0.1:1", state_dir=tmp_path)
    gateway = Gateway(settings, made, RecordWriter(settings, (), 1))
    with serving(gateway.routes()) as server:
        yield msgspec.structs.replace(made, listen=Listen(port=server.port))


@pytest.mark.parametrize("name", [*PRODUCERS, "docker"])
def test_each_proof_is_tried_as_its_producer_gives_it(config: GatewayConfig, name: str) -> None:
    tried = try_endpoint(name, config)
    # there is no broker: what would be written would be answered 503
    assert (tried.status, tried.well) == (200, True), tried
    assert SECRET not in tried.url


def test_a_wrong_secret_or_address_is_said(config: GatewayConfig, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("another-secret-of-acme")
    tried = try_endpoint("hub", config)
    assert (tried.status, tried.well) == (401, False)
    assert "secret" in tried.why
    away = msgspec.structs.replace(config, listen=Listen(port=1))
    assert try_endpoint("hub", away).status == 0
    with pytest.raises(TidewatchError, match="no endpoint"):
        try_endpoint("other", config)


def test_an_endpoint_of_certificates_is_left_to_its_client(config: GatewayConfig) -> None:
    hub = msgspec.structs.replace(
        config.endpoints["hub"], proof="mtls", secret=None, clients=("x",)
    )
    with pytest.raises(TidewatchError, match="certificate"):
        try_endpoint("hub", msgspec.structs.replace(config, endpoints={"hub": hub}))


def test_the_command_ends_with_1_where_an_endpoint_does_not_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    file = tmp_path / "gateway.toml"
    file.write_text(
        '[listen]\nport = 1\n[endpoints.hub]\ntenant = "acme"\nproducer = "huggingface"\n'
        f'secret = "file:{tmp_path}/secret"\n'
    )
    assert main(["gateway", "--config", str(file), "--test", "hub"]) == 1
    out = capsys.readouterr().out
    assert "no answer" in out
    assert SECRET not in out
    assert main(["gateway", "--config", str(file), "--test", "hub", "--format", "json"]) == 1
