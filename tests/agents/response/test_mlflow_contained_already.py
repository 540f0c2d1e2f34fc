"""A version that is quarantined in an MLflow registry already: a success that changes nothing.

The registry here answers as MLflow's REST API does, as far as containment asks.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from agents.response.mlflow_registry import TAG
from agents.triage.containment import command_id
from schemas.incidents.commands import CommandSpec
from tests.agents.response.bench import Bench, spec_of

MODEL = "model:mlflow/churn"


class FakeRegistry:
    """One model with three versions, its aliases and tags."""

    def __init__(self) -> None:
        self.aliases = {"production": "3", "candidate": "3", "stable": "1"}
        self.tags: dict[str, dict[str, str]] = {"1": {}, "2": {}, "3": {}}
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                parts = urlsplit(self.path)
                asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
                what = parts.path.removeprefix("/api/2.0/mlflow/")
                raw = json.dumps(registry.answer(self.command, what, {**asked, **body})).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_DELETE = _answer  # noqa: N815 -- the names that http.server calls

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def answer(self, method: str, what: str, asked: dict[str, str]) -> dict[str, Any]:
        match method, what:
            case "GET", "registered-models/get":
                aliases = [{"alias": name, "version": of} for name, of in self.aliases.items()]
                return {"registered_model": {"name": "churn", "aliases": aliases}}
            case "GET", "model-versions/get":
                tags = self.tags[asked["version"]]
                listed = [{"key": key, "value": value} for key, value in tags.items()]
                return {"model_version": {"version": asked["version"], "tags": listed}}
            case "POST", "model-versions/set-tag":
                self.tags[asked["version"]][asked["key"]] = asked["value"]
            case "DELETE", "model-versions/delete-tag":
                del self.tags[asked["version"]][asked["key"]]
            case "POST", "registered-models/alias":
                self.aliases[asked["alias"]] = asked["version"]
            case "DELETE", "registered-models/alias":
                del self.aliases[asked["alias"]]
            case _:
                raise AssertionError((method, what))
        return {}

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def registry(bench: Bench) -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    bench.config = bench.configured(f'[tenants.acme.mlflow]\nurl = "{registry.url}"')
    yield registry
    registry.stop()


def quarantine(number: int, **more: Any) -> CommandSpec:
    name = command_id(f"inc-{number}", "acme", "quarantine", f"{MODEL}@3")
    return spec_of("quarantine", f"{MODEL}@3", version="3", command_id=name, **more)


def restore(spec: CommandSpec) -> CommandSpec:
    name = command_id("", "acme", "restore", spec.command_id)
    return spec_of("restore", spec.target, version="3", command_id=name, undoes=spec.command_id)


def test_a_second_quarantine_succeeds_says_so_and_its_release_gives_nothing_back(bench, registry):
    first, second = quarantine(1), quarantine(2)
    assert bench.run(first).outcome.results["changed"] is True
    outcome = bench.run(second).outcome
    assert outcome.status == 200
    assert outcome.status_text == f"quarantined already by {first.command_id}"
    assert outcome.results["changed"] is False
    assert bench.status(restore(second)) == 200
    assert registry.tags["3"] == {TAG: first.command_id}
    assert registry.aliases == {"stable": "1"}
    assert bench.status(restore(first)) == 200
    assert registry.tags["3"] == {}
    assert registry.aliases == {"production": "3", "candidate": "3", "stable": "1"}


def test_a_quarantine_that_replaces_another_takes_over_what_it_changed(bench, registry):
    first = quarantine(1)
    bench.run(first)
    second = quarantine(2, replaces=first.command_id)
    outcome = bench.run(second).outcome
    assert (outcome.status, outcome.results["changed"]) == (200, True)
    assert bench.status(restore(second)) == 200
    assert registry.tags["3"] == {}
    assert registry.aliases == {"production": "3", "candidate": "3", "stable": "1"}


def test_an_alias_that_was_set_again_is_removed_though_the_version_is_tagged(bench, registry):
    first, second = quarantine(1), quarantine(2)
    bench.run(first)
    registry.aliases["production"] = "3"
    outcome = bench.run(second).outcome
    assert outcome.results["changed"] is True
    assert outcome.results["aliases_removed"] == ["production"]
    assert registry.aliases == {"stable": "1"}


def test_a_repetition_of_the_same_command_reports_what_it_changed(bench, registry):
    spec = quarantine(1)
    bench.run(spec)
    again = bench.run(quarantine(1, attempt=2)).outcome
    assert again.results["changed"] is True
    assert again.results["aliases_removed"] == ["candidate", "production"]
    assert registry.aliases == {"stable": "1"}
