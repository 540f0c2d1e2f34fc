"""The webhook over real topics and TLS: what is assessed meanwhile is admitted."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.channels import Channel
from schemas.intel import IntelFact, IntelKind
from schemas.severity import Status
from streams.admission.config import AdmissionConfig, AdmissionListen
from streams.admission.serving import AdmissionServer
from streams.cli import main
from streams.kafka.compacted import publish_values
from streams.settings import load_settings
from tests.streams.admission.test_reviews import A, B, recorded
from tests.streams.cli.test_gate import publish
from tests.streams.http.certificates import Authority
from tests.streams.test_gates import assessment

SECONDS = 60.0


def ask(
    port: int, context: ssl.SSLContext, raw: bytes, path: str = "/v1/admit"
) -> tuple[int, dict[str, Any]]:
    """Return the answer to a review, as an API server gets it."""
    link = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=SECONDS)
    try:
        link.request("POST", path, raw, {"Content-Type": "application/json"})
        answer = link.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        link.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "cluster")


def test_a_pod_is_refused_until_its_images_are_assessed(
    kafka: str, tmp_path: Path, authority: Authority
) -> None:
    pair, client = authority.issue("localhost"), authority.issue("kube-apiserver")
    listen = AdmissionListen(
        port=0, certificate=pair.certificate, key=pair.key, client_ca=authority.certificate
    )
    config = AdmissionConfig(
        tenants={"ml-*": "acme"}, clients=("CN=kube-apiserver",), listen=listen
    )
    settings = load_settings(kafka=kafka, topic_prefix="admit.", partitions=2, state_dir=tmp_path)
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    trusting.check_hostname = False
    known = ssl.create_default_context(cafile=str(authority.certificate))
    known.check_hostname = False
    known.load_cert_chain(client.certificate, client.key)
    server = AdmissionServer(settings, config)
    port = server._server.port
    first, second = (
        assessment(Status.PASS, stage="scan", event_id=name, contents=(f"oci:sha256:{digest}",))
        for name, digest in (("one", A), ("two", B))
    )

    async def answered(raw: bytes, *, allowed: bool, saying: str = "") -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            status, document = await asyncio.to_thread(ask, port, known, raw)
            assert status == 200, document
            response: dict[str, Any] = document["response"]
            if response["allowed"] is allowed and saying in json.dumps(response):
                return response
            await asyncio.sleep(0.05)
        raise AssertionError(response)

    async def play() -> None:
        await publish(settings, [first])
        stop = asyncio.Event()
        running = asyncio.ensure_future(server.run(stop))
        response = await answered(recorded("pod"), allowed=False, saying="not assessed")
        assert response["uid"] == "705ab4f5-6393-11e8-b7cc-42010a800002"
        assert response["status"]["code"] == 403
        assert "spec.volumes[0].image.reference" in response["status"]["message"]
        assert "containers" not in response["status"]["message"]
        await answered(recorded("cronjob"), allowed=True)
        await publish(settings, [second])
        await answered(recorded("pod"), allowed=True)
        fact = IntelFact(key=f"sha256:{A}", kind=IntelKind.MALICIOUS, summary="a miner")
        await publish_values(settings, Channel.INTEL, [(fact.key, msgspec.json.encode(fact))])
        await answered(recorded("pod"), allowed=False, saying="a miner")
        assert (await asyncio.to_thread(ask, port, trusting, recorded("pod")))[0] == 401
        status, problem = await asyncio.to_thread(ask, port, known, b'{"kind": 1}')
        assert (status, problem["reason"]) == (400, "invalid-envelope")
        stop.set()
        await running

    asyncio.run(play())


def test_check_lists_the_namespaces_and_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "admit.toml"
    file.write_text('[tenants]\n"ml-*" = "acme"\n')
    assert main(["admit", "--check", str(file)]) == 2
    out = capsys.readouterr().out
    assert "ml-*" in out
    assert "by https only" in out
    pair = Authority(tmp_path, "cluster").issue("localhost")
    tls = f'[listen]\ncertificate = "{pair.certificate}"\nkey = "{pair.key}"\n'
    file.write_text(file.read_text() + tls)
    assert main(["admit", "--check", str(file), "--format", "json"]) == 0
    assert main(["admit"]) == 2
