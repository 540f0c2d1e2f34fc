"""Hooks are called over HTTP, and retried after temporary failures only."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import orjson
import pytest

from agents.response.config import ResponderConfigError, read_config
from tests.agents.response.bench import NOW, Bench, spec_of

SECRET = b"s3cret"


class Service:
    """An HTTP service that answers with the given statuses, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self.asked: list[tuple[dict[str, str], bytes]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                service.asked.append(({k.lower(): v for k, v in self.headers.items()}, body))
                status = statuses[min(len(service.asked), len(statuses)) - 1]
                self.send_response(status)
                if status in {302, 307}:
                    self.send_header("location", service.url + "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


Serve = Callable[..., Service]


@pytest.fixture
def serve(bench: Bench) -> Iterator[Serve]:
    started: list[Service] = []

    def start(*statuses: int, action: str = "revoke", more: str = "") -> Service:
        service = Service(*statuses)
        started.append(service)
        secret = bench.folder / "secret"
        secret.write_bytes(SECRET + b"\n")
        bench.config = bench.configured(
            f"""
            [tenants.acme.hooks.{action}]
            url = "{service.url}"
            secret_file = "{secret}"
            attempts = 3
            {more}
            """
        )
        return service

    yield start
    for service in started:
        service.stop()


def test_a_hook_is_asked_once_and_signed(bench: Bench, serve: Serve) -> None:
    service = serve(204)
    spec = spec_of("revoke", "vault:acme/trainer-token")
    outcome = bench.run(spec).outcome
    assert (outcome.status, outcome.results["hook_status"]) == (200, 204)
    bench.run(spec)
    ((headers, body),) = service.asked
    asked = orjson.loads(body)
    assert (asked["action"], asked["target"]) == ("revoke", "vault:acme/trainer-token")
    assert headers["idempotency-key"] == spec.command_id
    stamp = headers["x-tidewatch-timestamp"]
    assert stamp == str(int(NOW.timestamp()))
    mac = hmac.new(SECRET, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["x-tidewatch-signature"] == f"sha256={mac}"


@pytest.mark.parametrize(
    ("statuses", "asked", "status"),
    [
        ((503, 200), 2, 200),
        ((503,), 3, 503),
        ((403,), 1, 500),
        ((307, 200), 1, 500),
    ],
)
def test_only_temporary_failures_are_retried(
    bench: Bench, serve: Serve, statuses: tuple[int, ...], asked: int, status: int
) -> None:
    service = serve(*statuses)
    assert bench.status(spec_of("revoke", "sa-1")) == status
    assert len(service.asked) == asked


def test_a_hook_that_is_not_there_fails_the_command(bench: Bench, serve: Serve) -> None:
    serve(200).stop()
    assert bench.status(spec_of("revoke", "sa-1")) == 503


def test_a_dry_run_asks_no_hook(bench: Bench, serve: Serve) -> None:
    service = serve(200)
    outcome = bench.run(spec_of("revoke", "sa-1", dry_run=True)).outcome
    assert (outcome.status, outcome.results["dry_run"]) == (200, True)
    assert service.asked == []


def test_a_hook_follows_what_is_done_here(bench: Bench, serve: Serve) -> None:
    service = serve(200, action="block")
    assert bench.status(spec_of("block", "domain:evil.example")) == 200
    assert len(service.asked) == 1
    assert "domain:evil.example" in (bench.folder / "etc/model-blocklist.txt").read_text()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://hooks.example/x", "plain_http"),
        ("https://user:pass@hooks.example/", "without a password"),
        ("file:///etc/passwd", "http(s)"),
    ],
)
def test_a_hooks_address_is_checked_at_start(bench: Bench, url: str, said: str) -> None:
    text = f"""
    state_dir = "{bench.folder}"
    [tenants.acme.hooks.revoke]
    url = "{url}"
    secret_file = "{Path("/s")}"
    """
    with pytest.raises(ResponderConfigError) as error:
        read_config(text)
    assert said in str(error.value)
