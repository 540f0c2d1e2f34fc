"""The templates and pipelines for Elasticsearch and OpenSearch, in a real OpenSearch."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from schemas.channels import Channel
from streams.reports.contract_samples import samples

ROOT = Path(__file__).resolve().parents[2]
KIT = ROOT / "deploy" / "siem" / "elastic"
JARS = ROOT / ".venv" / "opensearch"
PROGRAM = Path(__file__).parent / "opensearch" / "Search.java"
SECONDS = 240
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


class Search:
    def __init__(self, port):
        self.port = port

    def call(self, method, path, body=None) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def found(self, index, query) -> list[dict[str, Any]]:
        code, answer = self.call("POST", f"/{index}/_search", {"query": query})
        assert code == 200, answer
        return [hit["_source"] for hit in answer["hits"]["hits"]]


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    java = shutil.which("java")
    if java is None or not JARS.is_dir():
        pytest.skip("no OpenSearch here: `make opensearch` brings it")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    home = tmp_path_factory.mktemp("opensearch")
    log = home / "log"
    with log.open("wb") as written:
        node = subprocess.Popen(
            [java, "-Xmx512m", "-cp", f"{JARS}/*", str(PROGRAM), str(home), str(port)],
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + SECONDS
        while "started" not in log.read_text("utf-8", "replace"):
            assert node.poll() is None, log.read_text("utf-8", "replace")[:2000]
            assert time.monotonic() < deadline, "OpenSearch did not start"
            time.sleep(0.2)
        one = Search(port)
        for path, file in (
            ("_ingest/pipeline/tidewatch-indicators", "indicators-pipeline.json"),
            ("_index_template/tidewatch-indicators", "indicators-template.json"),
            ("_index_template/tidewatch-alerts", "alerts-template.json"),
        ):
            code, answer = one.call("PUT", f"/{path}", json.loads((KIT / file).read_text()))
            assert code == 200, answer
        yield one
    finally:
        node.stdin.close()
        try:
            node.wait(30)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()


def document(channel, **changes):
    return {**json.loads(samples()[channel].value), **changes}


def test_an_alert_is_found_by_what_analysts_search(search):
    code, answer = search.call(
        "POST",
        "/logs-tidewatch.alert-default/_doc?refresh=true",
        document(Channel.ALERTS_ECS),
    )
    assert code == 201, answer
    for query in (
        {"term": {"tidewatch.severity": "critical"}},
        {"range": {"event.risk_score": {"gte": 80}}},
        {"term": {"related.hosts": "inference-eu-1"}},
        {"match": {"message": "runs code"}},
        {"term": {"package.name": "huggingface/acme-labs/sentiment-base"}},
    ):
        assert len(search.found("logs-tidewatch.alert-*", query)) == 1, query


def test_the_greatest_revision_of_an_indicator_is_kept_in_whatever_order_they_come(search):
    event = document(Channel.IOCS_ECS)["event"]
    for revision, status in ((2, "active"), (4, "withdrawn"), (3, "active"), (4, "withdrawn")):
        body = document(
            Channel.IOCS_ECS,
            event={**event, "sequence": revision},
            tidewatch={"status": status, "valid_until": "2027-11-21T08:15:30.120Z"},
        )
        code, answer = search.call("POST", "/ti-tidewatch/_doc?refresh=true", body)
        assert code in ({409} if revision == 3 else {200, 201}), answer
    (kept,) = search.found("ti-tidewatch", {"term": {"event.id": event["id"]}})
    assert (kept["event"]["sequence"], kept["tidewatch"]["status"]) == (4, "withdrawn")


def test_every_field_of_the_documents_is_mapped(search):
    """`dynamic` is false: what is not mapped is stored, and can't be searched."""
    for channel, index in (
        (Channel.ALERTS_ECS, "logs-tidewatch.alert-default"),
        (Channel.IOCS_ECS, "ti-tidewatch"),
    ):
        _, answer = search.call("GET", f"/{index}/_mapping")
        (mapping,) = [entry["mappings"] for entry in answer.values()]
        assert unmapped(document(channel), mapping["properties"]) == []


def unmapped(value, properties, path=""):
    missing = []
    for name, inner in value.items():
        here = f"{path}{name}"
        if name not in properties:
            missing.append(here)
        elif isinstance(inner, dict):
            missing += unmapped(inner, properties[name].get("properties", {}), f"{here}.")
    return missing


def aggregations(aggs, metric):
    """Return what a visualization asks for, as its program does: a bucket in the one before."""
    inner = {"1": metric} if metric else {}
    for agg in reversed(aggs):
        params = agg["params"]
        if agg["type"] == "terms":
            body = {"terms": {"field": params["field"], "size": params["size"]}}
        else:
            body = {"date_histogram": {"field": params["field"], "calendar_interval": "day"}}
        inner = {agg["id"]: {**body, **({"aggs": inner} if inner else {})}}
    return inner


def test_the_dashboard_counts_what_is_there(search):
    alert = document(Channel.ALERTS_ECS)
    search.call("POST", "/logs-tidewatch.alert-default/_doc?refresh=true", alert)
    event = document(Channel.IOCS_ECS)["event"]
    indicator = document(Channel.IOCS_ECS, event={**event, "sequence": 9})
    code, answer = search.call("POST", "/ti-tidewatch/_doc?refresh=true", indicator)
    assert code in {200, 201}, answer
    lines = (KIT / "dashboard.ndjson").read_text().splitlines()
    saved = {entry["id"]: entry for entry in map(json.loads, lines)}
    counted = 0
    for entry in saved.values():
        if entry["type"] != "visualization":
            continue
        (reference,) = entry["references"]
        index = saved[reference["id"]]["attributes"]["title"]
        first, *buckets = json.loads(entry["attributes"]["visState"])["aggs"]
        field = first["params"].get("field")
        metric = {"cardinality": {"field": field}} if field else None
        body = {"size": 0, "aggs": aggregations(buckets, metric)}
        code, answer = search.call("POST", f"/{index}/_search", body)
        assert code == 200, (entry["id"], answer)
        level = answer["aggregations"]
        for bucket in buckets:
            assert level[bucket["id"]]["buckets"], (entry["id"], bucket)
            level = level[bucket["id"]]["buckets"][0]
        assert (level["1"]["value"] if metric else level["doc_count"]) >= 1
        counted += 1
    assert counted > 5
