"""The configuration of a gateway, and what contradicts itself in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.gateway.config import (
    PRODUCERS,
    GatewayConfigError,
    load_config,
    proof_rule,
    read_config,
    url_of,
)
from streams.gateway.pressure import REQUEST_BYTES, Room
from tests.each import each

EXAMPLE = Path(__file__).resolve().parents[3] / "deploy" / "gateway.example.toml"
SECRET = "hunter2-hunter2-hunter2"


OCI = 'tenant = "a"\nproducer = "oci"\nsecret = "env:X"\n'


def endpoint(text: str, top: str = "") -> str:
    return f"{top}\n[endpoints.hub]\n{text}\n"


def test_the_example_is_valid_and_names_each_address() -> None:
    config = load_config(EXAMPLE)
    assert {endpoint.producer for endpoint in config.endpoints.values()} <= set(PRODUCERS)
    urls = {name: url_of(name, config) for name in config.endpoints}
    assert urls["acme-hub"] == "https://events.example/v1/hooks/acme-hub"
    assert urls["acme-ci"] == "https://events.example/v1/events"


@each(
    ("text", "said"),
    [
        ("", "no endpoint|endpoints"),
        (endpoint('producer = "gitlab"\nsecret = "env:X"'), "tenant"),
        (endpoint('tenant = " "\nproducer = "gitlab"\nsecret = "env:X"'), "tenant is empty"),
        (endpoint('tenant = "a"\nproducer = "gitlob"\nsecret = "env:X"'), "producer is none"),
        (endpoint('tenant = "a"\nproducer = "gitlab"'), "header needs secret"),
        (endpoint('tenant = "a"\nproducer = "gitlab"\nproof = "mtls"'), "needs clients"),
        (
            endpoint('tenant = "a"\nproducer = "gitlab"\nproof = "mtls"\nclients = ["CN=x"]'),
            "listen.client_ca",
        ),
        (
            endpoint('tenant = "a"\nproducer = "gitlab"\nproof = "mlflow"\nsecret = "env:X"'),
            "for the producer mlflow",
        ),
        (
            endpoint(
                'tenant = "a"\nproducer = "oci"\nproof = "header"\nsecret = "env:X"\nheader = ""'
            ),
            "needs header",
        ),
        (
            endpoint('tenant = "a"\nproducer = "cloudevents"\nproof = "path"\nsecret = "env:X"'),
            "bearer or mtls",
        ),
        (
            endpoint('tenant = "a"\nproducer = "oci"\nsecret = "env:X"\nheader = "X-Token"'),
            "header is not for bearer",
        ),
        (f'[endpoints."../x"]\ntenant = "a"\nproducer = "oci"\nsecret = "{SECRET}"', "names of"),
        (
            endpoint(
                'tenant = "a"\nproducer = "oci"\nsecret = "env:X"', '[listen]\nhost = "0.0.0.0"'
            ),
            "secrets would be readable",
        ),
        (
            endpoint(
                'tenant = "a"\nproducer = "oci"\nsecret = "env:X"',
                "[pressure]\nin_flight_bytes = 1000",
            ),
            "in_flight_bytes",
        ),
        (
            endpoint(f'{OCI}token = "{SECRET}"'),
            "token",
        ),
        (f"secret {SECRET}", "not TOML"),
    ],
)
def test_inconsistent_setting_is_named_without_its_value(text: str, said: str) -> None:
    with pytest.raises(GatewayConfigError, match=said) as caught:
        read_config(text, "gateway.toml")
    assert SECRET not in caught.value.explain()


def test_a_producer_has_its_own_proof_unless_another_is_named() -> None:
    text = endpoint('tenant = "a"\nproducer = "gitlab"\nsecret = "env:X"\nproof = "{}"\n{}')
    rules = {
        kind: proof_rule(read_config(text.format(kind, more)).endpoints["hub"])
        for kind, more in {"header": "", "bearer": "", "hmac-sha256": 'header = "X-Sig"'}.items()
    }
    assert {kind: rule.header for kind, rule in rules.items()} == {
        "header": "X-Gitlab-Token",
        "bearer": "Authorization",
        "hmac-sha256": "X-Sig",
    }


def test_no_tenant_fills_the_room_of_another() -> None:
    room = Room(1_000_000, ["acme", "globex"], 100_000)
    taken = []
    while (lease := room.reserve("acme", 90_000, proved=True)) is not None:
        taken.append(lease)
    assert len(taken) > 5
    other = room.reserve("globex", 100_000, proved=True)
    assert other is not None
    for lease in (*taken, *taken, other):
        lease.release()  # twice is the same as once
    again = []
    while (lease := room.reserve("acme", 90_000, proved=True)) is not None:
        again.append(lease)
    assert len(again) == len(taken)


def test_unauthenticated_client_takes_no_shared_room() -> None:
    room = Room(1_000_000, ["acme", "globex"], 100_000)
    count = 0
    while room.reserve("acme", 90_000, proved=False) is not None:
        count += 1
    assert count == 250_000 // (90_000 + REQUEST_BYTES)
    assert room.reserve("acme", 90_000, proved=True) is not None
