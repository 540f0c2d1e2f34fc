"""Proofs of each kind: valid, invalid, missing, repeated and late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import TidewatchError
from streams.gateway.config import Endpoint
from streams.gateway.proofs import Headers, Prover, certificate_names
from tests.streams.gateway.requests import FOREIGN, SECRET, hub_signature, mlflow_headers, raw

NOW = datetime.now(UTC)
BODY = b'{"a": 1}'


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """A file with the newest secret and the one before."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\nthe-secret-before-that\n")
    return f"file:{file}"


def proves(prover: Prover, headers: Headers, body: bytes = BODY, **more: Any) -> bool:
    return prover.proves(headers, body, **{"peer": None, "path_secret": None, "now": NOW, **more})


def prover(producer: str, secret: str, **more: Any) -> Prover:
    return Prover("hook", Endpoint(tenant="acme", producer=producer, secret=secret, **more))


PLAIN = {
    "huggingface": ("X-Webhook-Secret", "{}"),
    "harbor": ("Authorization", "{}"),
    "jfrog": ("X-JFrog-Event-Auth", "{}"),
    "gitlab": ("X-Gitlab-Token", "{}"),
    "oci": ("Authorization", "Bearer {}"),
    "pip-report": ("Authorization", "Bearer {}"),
}


@pytest.mark.parametrize("producer", PLAIN)
def test_a_secret_in_the_producers_own_header(producer: str, secret: str) -> None:
    name, shape = PLAIN[producer]
    one = prover(producer, secret)
    assert not one.signs_body
    for right in (SECRET, "the-secret-before-that"):
        assert proves(one, raw({name: shape.format(right)}))
    for wrong in (FOREIGN, "", SECRET[:-1], SECRET + " x", SECRET.upper(), "é" * 20):
        assert not proves(one, raw({name: shape.format(wrong)}))
    assert not proves(one, [])
    assert not proves(one, raw({f"{name}-": shape.format(SECRET)}))
    assert not proves(one, raw({name: shape.format(SECRET)}) * 2)
    assert not proves(one, [], path_secret=SECRET)


def test_a_signature_over_the_body(secret: str) -> None:
    for producer, header, prefix in (
        ("github", "X-Hub-Signature-256", "sha256="),
        ("wandb", "X-Wandb-Signature", ""),
    ):
        one = prover(producer, secret)
        assert one.signs_body
        given = hub_signature(BODY).removeprefix("sha256=")
        assert proves(one, raw({header: prefix + given}))
        assert not proves(one, raw({header: prefix + given}), BODY + b" ")
        assert not proves(one, raw({header: hub_signature(BODY, FOREIGN)}))
        assert not proves(one, raw({header: prefix + given.upper()}))
        assert not proves(one, raw({header: prefix}))
        assert not proves(one, raw({header: SECRET}))
        assert not proves(one, [])


def test_jfrog_may_sign_instead(secret: str) -> None:
    one = prover("jfrog", secret, proof="hmac-sha256")
    signature = hub_signature(BODY).removeprefix("sha256=")
    assert proves(one, raw({"X-JFrog-Event-Auth": signature}))
    assert not proves(one, raw({"X-JFrog-Event-Auth": SECRET}))


def test_mlflow_signs_delivery_time_and_body(secret: str) -> None:
    one = prover("mlflow", secret)
    good = mlflow_headers(BODY, at=NOW)
    assert proves(one, raw(good))
    assert proves(one, raw(mlflow_headers(BODY, secret="the-secret-before-that", at=NOW)))
    assert not proves(one, raw(good), BODY + b" ")
    assert not proves(one, raw(mlflow_headers(BODY, secret=FOREIGN, at=NOW)))
    for name in good:
        assert not proves(one, raw({k: v for k, v in good.items() if k != name}))
        assert not proves(one, raw({**good, name: "0"}))
        assert not proves(one, raw(good) + raw({name: good[name]}))
    for minutes in (-6, 6):
        late = mlflow_headers(BODY, at=NOW + timedelta(minutes=minutes))
        assert not proves(one, raw(late))


def test_secret_path_is_a_proof(secret: str) -> None:
    one = prover("docker-hub", secret, proof="path")
    assert proves(one, [], path_secret=SECRET)
    assert not proves(one, [], path_secret=SECRET[:-1])
    assert not proves(one, raw({"Authorization": f"Bearer {SECRET}"}))


PEER = {
    "subject": ((("organizationName", "Acme"),), (("commonName", "ci-runner"),)),
    "subjectAltName": (("DNS", "ci.acme.example"), ("URI", "spiffe://acme/ci")),
}


@pytest.mark.parametrize(
    ("client", "known"),
    [
        ("O=Acme,CN=ci-runner", True),
        ("DNS:ci.acme.example", True),
        ("URI:spiffe://acme/ci", True),
        ("CN=ci-runner", False),
        ("ci-runner", False),
        ("DNS:acme.example", False),
    ],
)
def test_a_certificate_is_known_by_a_whole_name(client: str, known: bool) -> None:
    one = Prover("hook", Endpoint(tenant="acme", producer="oci", proof="mtls", clients=(client,)))
    assert proves(one, [], peer=PEER) is known
    assert not proves(one, [], peer=None)
    assert not proves(one, [], peer={})


def test_a_name_inside_a_name_is_not_that_name() -> None:
    peer = {"subject": ((("commonName", "x,O=Acme"),),)}
    assert certificate_names(peer) == {r"CN=x\,O\=Acme"}


def test_a_missing_secret_names_its_endpoint() -> None:
    with pytest.raises(TidewatchError, match=r"endpoints\.hook\.secret"):
        prover("oci", "env:NOT_SET_ANYWHERE")
