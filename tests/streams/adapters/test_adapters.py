"""Producers' payloads become events; hostile ones are refused, never a crash."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import orjson
import pytest

from schemas import dead_letters as reasons
from schemas.cloudevents import read_event, write_structured
from schemas.errors import UnreadableRecordError
from streams.adapters import ADAPTERS, PRODUCERS, UnknownProducerError, adapt
from streams.adapters.mlflow import verify_signature
from streams.adapters.payload import moment, read_purl
from tests.each import each
from tests.streams.adapters.payloads import RECEIVED_MS, SAMPLES, events_of, only, payload_of

NOW = datetime.fromtimestamp(RECEIVED_MS / 1000, UTC)


@each("name", sorted(SAMPLES))
def test_each_payload_gives_events_that_survive_the_wire(name):
    events = events_of(name, system="host-1")
    assert events
    for event in events:
        back = read_event(write_structured(event), (), timestamp_ms=RECEIVED_MS, max_bytes=1 << 20)
        assert back.id == event.id
        assert back.subject == event.subject
        assert back.tenantid == "tenant-a"
        assert msgspec.json.encode(back.data) == msgspec.json.encode(event.data)


@each("name", sorted(SAMPLES))
def test_the_same_payload_gives_the_same_ids_and_other_ids_than_its_neighbours(name):
    first, second = events_of(name), events_of(name)
    assert [event.id for event in first] == [event.id for event in second]
    assert len({event.id for event in first}) == len(first)


def test_a_hub_push_names_its_references_and_invents_no_files():
    main, tag = events_of("huggingface.repo_content.json")
    assert (main.data.action, main.data.tag) == ("push", "main")
    assert main.data.revision == "1226b5ab1d1d9513dbdba127fe035cbb03b57ac5"
    assert main.data.previous_revision == "9d61faf50edb6d5598b699ff4816c8d33cad9643"
    assert (tag.data.action, tag.data.tag, tag.data.previous_revision) == ("tag", "2026.10", None)
    assert main.data.files == ()
    assert main.time == NOW


@each(
    ("change", "actions"),
    [
        ({"event": {"action": "delete", "scope": "repo"}, "updatedRefs": []}, ["delete"]),
        ({"event": {"action": "update", "scope": "repo.config"}, "updatedRefs": []}, ["push"]),
        ({"event": {"action": "update", "scope": "repo.content.future"}}, ["push", "tag"]),
        ({"event": {"action": "create", "scope": "discussion.comment"}}, []),
        (
            {
                "event": {"action": "move", "scope": "repo"},
                "updatedRefs": None,
                "movedTo": {"name": "meridian-labs/claims-reader"},
            },
            ["move"],
        ),
        ({"updatedRefs": [{"ref": "refs/heads/x", "oldSha": "a", "newSha": None}]}, ["delete"]),
    ],
)
def test_hub_scopes_and_actions_map_as_its_documentation_says(change, actions):
    body = orjson.loads(payload_of("huggingface.repo_content.json")) | change
    events = adapt("huggingface", body, tenant="t", received_ms=RECEIVED_MS)
    assert [event.data.action for event in events] == actions
    if actions == ["move"]:
        assert events[0].data.repository == "meridian-labs/claims-reader"
        assert events[0].data.moved_from == "meridian-ml/claims-reader"


def test_a_hub_repository_has_events_of_its_own_under_each_of_its_names():
    """A renamed repository keeps its id, and its head until the next commit."""
    body = orjson.loads(payload_of("huggingface.repo_content.json"))
    renamed = body | {"repo": body["repo"] | {"name": "meridian-labs/claims-reader"}}
    first, second = (
        {event.id for event in adapt("huggingface", orjson.dumps(payload), tenant="t",
                                     received_ms=RECEIVED_MS)}
        for payload in (body, renamed)
    )  # fmt: skip
    assert not first & second


def test_registries_of_images_give_digest_tag_and_host():
    for name in (
        "harbor.push_artifact.json",
        "harbor.artifact_pushed.cloudevent.json",
    ):
        push = only(name).data
        assert push.registry == "harbor.meridian.example"
        assert push.tag == "2026.10"
        assert push.files[0].digests["sha256"].startswith("149a9ce2")


def test_layers_of_an_image_are_no_versions_of_it():
    event = only("oci.push.json")
    assert event.data.repository == "serving/embedder"
    assert event.data.tag == "v5"
    assert event.data.files == ()  # the sample's manifest digest is a SHA-512


def test_year_one_is_no_time():
    container = only("github.registry_package_published.container.json")
    assert (container.time.year, container.data.tag) == (2026, "2026-11")
    assert moment("0001-01-01T00:00:00Z") is None
    npm = only("github.package_published.npm.json").data
    assert npm.files[0].digests["sha256"].startswith("4f9af854")
    assert "?" not in npm.files[0].uri


def test_awss_own_sample_with_a_duplicate_key_is_read():
    name = "sagemaker.model_package_state_change.json"
    once = b'"source": "aws.sagemaker"'
    raw = payload_of(name).replace(once, once + b', "source": ["aws.sagemaker"]')
    (event,) = adapt("sagemaker-model-package", raw, tenant="t")
    assert (event.data.action, event.data.tag) == ("tag", "Rejected")
    approved = raw.replace(b"Rejected", b"Approved")
    assert adapt("sagemaker-model-package", approved, tenant="t")[0].data.action == "promote"


def test_mlflow_runs_become_pipeline_runs():
    run = {
        "run": {
            "info": {"run_id": "r1", "experiment_id": "7", "status": "FINISHED",
                     "end_time": 1757404800000, "run_name": "bold-cat-1"},
            "data": {
                "params": [{"key": "base_model", "value": "hf://acme/base@main"}],
                "tags": [{"key": "mlflow.source.name", "value": "train.py"}],
            },
            "inputs": {"dataset_inputs": [{"dataset": {
                "name": "reviews", "digest": "a1b2c3d4",
                "source": json.dumps({"uri": "s3://acme-data/r.parquet"})}}]},
            "outputs": {"model_outputs": [{"model_id": "m-1"}]},
        }
    }  # fmt: skip
    (event,) = adapt("mlflow", run, tenant="t")
    assert (event.data.pipeline, event.data.state) == ("train.py", "succeeded")
    assert [ref.component for ref in event.data.inputs] == [
        "model:huggingface/acme/base", "dataset:mlflow/reviews",
    ]  # fmt: skip
    assert event.data.data_sources[0].url == "s3://acme-data/r.parquet"


def test_an_mlflow_alias_for_production_promotes():
    body = {"entity": "model_version_alias", "action": "created",
            "timestamp": "2025-09-09T08:00:00Z",
            "data": {"name": "m", "version": "3", "alias": "champion"}}  # fmt: skip
    (event,) = adapt("mlflow", body, tenant="t")
    assert (event.data.action, event.data.tag, event.data.revision) == ("promote", "champion", "3")


def signed(body, secret, *, delivery="d-1", stamp=None):
    stamp = stamp or str(RECEIVED_MS // 1000)
    mac = hmac.new(secret.encode(), f"{delivery}.{stamp}.".encode() + body, hashlib.sha256)
    return {
        "X-MLflow-Delivery-Id": delivery,
        "X-MLflow-Timestamp": stamp,
        "X-MLflow-Signature": "v1," + base64.b64encode(mac.digest()).decode(),
    }


def test_a_signed_delivery_is_taken_and_a_forged_or_old_one_refused():
    body = orjson.dumps(orjson.loads(payload_of("mlflow.model_version_created.json"))["_body"])
    good = signed(body, "s3cret")
    (event,) = adapt("mlflow", body, tenant="t", headers=good, secret="s3cret", time=NOW)
    assert event.id == "d-1"
    verify_signature(body, good, "s3cret", now=NOW)
    old = NOW + timedelta(minutes=6)
    for raw, headers, secret, now in (
        (body + b" ", good, "s3cret", NOW),
        (body, good, "other", NOW),
        (body, good, "s3cret", old),
        (body, {}, "s3cret", NOW),
        (body, good | {"X-MLflow-Signature": "v1,\udcff"}, "s3cret", NOW),
    ):
        with pytest.raises(UnreadableRecordError) as caught:
            verify_signature(raw, headers, secret, now=now)
        assert caught.value.reason == reasons.INVALID_SIGNATURE
    with pytest.raises(UnreadableRecordError):
        adapt("mlflow", body, tenant="t", secret="s3cret", time=NOW)


@each(
    ("purl", "expected"),
    [
        ("pkg:huggingface/acme/m@abc", ("huggingface", "acme/m", "abc")),
        ("pkg:npm/%40scope/x@1.0", ("npm", "@scope/x", "1.0")),
        ("pkg:oci/app@sha256%3Aabc?tag=v1", ("oci", "app", "sha256:abc")),
        ("pkg:golang/a.b/c/d", ("golang", "a.b/c/d", None)),
        ("pkg:pypi", None),
        ("http://x", None),
    ],
)
def test_package_urls_are_read(purl, expected):
    read = read_purl(purl)
    assert (read and (read.type, read.name, read.version)) == expected


def test_a_payload_without_time_needs_the_time_of_reception_and_each_a_tenant():
    raw = payload_of("jfrog.artifact_deployed.json")
    for options in ({"tenant": "t"}, {"tenant": None, "received_ms": RECEIVED_MS}):
        with pytest.raises(UnreadableRecordError) as caught:
            adapt("jfrog", raw, **options)
        assert caught.value.reason == reasons.MISSING_IDENTITY


def test_an_unknown_producer_is_named_with_those_that_are_known():
    with pytest.raises(UnknownProducerError, match="huggingface"):
        adapt("carrier-pigeon", b"{}", tenant="t")
    assert set(SAMPLES.values()) <= set(ADAPTERS)


def test_each_producer_has_a_payload_as_it_sends_it():
    """That of W&B is the template that Tidewatch ships."""
    assert set(PRODUCERS) - set(SAMPLES.values()) == {"wandb"}


def test_the_documentation_names_each_producer():
    page = (Path(__file__).parents[3] / "docs" / "getting-started.md").read_text(encoding="utf-8")
    table = page.partition("| `--as` | reads |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = {kind for row in rows for kind in re.findall(r"`([\w-]+)`", row)}
    assert named == set(PRODUCERS)


def registry_notification(**fields):
    return {
        "id": "831e1650", "timestamp": "2026-11-20T08:00:00Z", "action": "push",
        "target": {
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "size": 708,
            "digest": f"sha256:{'e' * 64}", "repository": "ml/serve", "tag": "v1",
        },
        "request": {"host": "acme.registry.example"},
        **fields,
    }  # fmt: skip


@each(
    "payload",
    [
        registry_notification(),
        {"events": [registry_notification()]},
        {"eventType": "Microsoft.ContainerRegistry.ImagePushed", "data": registry_notification()},
        {"type": "Microsoft.ContainerRegistry.ImagePushed", "data": registry_notification()},
    ],
)
def test_a_registry_of_azure_gives_what_others_give(payload):
    (event,) = adapt("oci", json.dumps(payload).encode(), tenant="t")
    assert (event.data.repository, event.data.tag) == ("ml/serve", "v1")
    assert event.data.revision == f"sha256:{'e' * 64}"


def test_a_subscription_of_event_grid_gives_no_event():
    kind = "Microsoft.EventGrid.SubscriptionValidationEvent"
    assert adapt("oci", json.dumps({"eventType": kind, "data": {}}).encode(), tenant="t") == []
