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
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas import dead_letters as reasons
from schemas.cloudevents import read_event, write_structured
from schemas.errors import TidewatchError, UnreadableRecordError
from streams.adapters import ADAPTERS, PRODUCERS, UnknownProducerError, adapt
from streams.adapters.mlflow import verify_signature
from streams.adapters.openlineage import component_of
from streams.adapters.payload import moment, read_purl
from streams.adapters.wandb import template
from tests.samples import sample
from tests.streams.adapters.cdevents_schema import cdevent_schema

RECEIVED_MS = 1_795_000_000_000
NOW = datetime.fromtimestamp(RECEIVED_MS / 1000, UTC)
SAMPLES = {
    "acr.image_pushed.json": "acr",
    "acr.event_grid.image_deleted.json": "acr",
    "argo.workflow_steps.json": "argo",
    "artifact-registry.insert.json": "artifact-registry",
    "azure-ml.model_deployed.json": "azure-ml",
    "azure-ml.model_registered.json": "azure-ml",
    "azure-ml.run_status_changed.json": "azure-ml",
    "docker-hub.push.json": "docker-hub",
    "ecr.image_action.json": "ecr",
    "gitlab.deployment.json": "gitlab",
    "gitlab.package.ml_model.json": "gitlab",
    "gitlab.package.pypi.json": "gitlab",
    "gitlab.pipeline.json": "gitlab",
    "huggingface.bucket_content.json": "huggingface",
    "huggingface.repo_content.json": "huggingface",
    "jfrog.wheel_deployed.json": "jfrog",
    "quay.repository_push.json": "quay",
    "mlflow.model_version_created.json": "mlflow",
    "harbor.push_artifact.json": "harbor",
    "harbor.artifact_pushed.cloudevent.json": "harbor",
    "oci.push.json": "oci",
    "jfrog.artifact_deployed.json": "jfrog",
    "github.package_published.npm.json": "github-package",
    "github.registry_package_published.container.json": "github-package",
    "github.workflow_run_completed.json": "github-workflow-run",
    "sagemaker.model_package_state_change.json": "sagemaker-model-package",
    "sagemaker.pipeline_execution_status_change.json": "sagemaker-pipeline",
    "openlineage.run_complete.json": "openlineage",
    "tekton.pipelinerun_successful.json": "tekton",
    "argo.workflow_succeeded.json": "argo",
    "kubeflow.run.json": "kubeflow",
} | {
    f"cdevents-{version}.{name}.json": "cdevents"
    for version in ("0.4.1", "0.5.1")
    for name in (
        "artifact_downloaded",
        "artifact_published",
        "artifact_signed",
        "pipelinerun_finished",
        "pipelinerun_started",
    )
}


def payload_of(name):
    return sample("in", name)


def events_of(name, **options):
    return adapt(
        SAMPLES[name], payload_of(name), tenant="tenant-a", received_ms=RECEIVED_MS, **options
    )


def only(name, **options):
    (event,) = events_of(name, **options)
    return event


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_each_payload_gives_events_that_survive_the_wire(name):
    events = events_of(name, system="host-1")
    assert events
    for event in events:
        back = read_event(write_structured(event), (), timestamp_ms=RECEIVED_MS, max_bytes=1 << 20)
        assert back.id == event.id
        assert back.subject == event.subject
        assert back.tenantid == "tenant-a"
        assert msgspec.json.encode(back.data) == msgspec.json.encode(event.data)


@pytest.mark.parametrize("name", sorted(SAMPLES))
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


@pytest.mark.parametrize(
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


def test_the_first_year_is_no_time():
    container = only("github.registry_package_published.container.json")
    assert (container.time.year, container.data.tag) == (2026, "2026-11")
    assert moment("0001-01-01T00:00:00Z") is None
    npm = only("github.package_published.npm.json").data
    assert npm.files[0].digests["sha256"].startswith("4f9af854")
    assert "?" not in npm.files[0].uri


def test_aws_own_sample_with_a_key_that_stands_twice_is_read():
    name = "sagemaker.model_package_state_change.json"
    once = b'"source": "aws.sagemaker"'
    raw = payload_of(name).replace(once, once + b', "source": ["aws.sagemaker"]')
    (event,) = adapt("sagemaker-model-package", raw, tenant="t")
    assert (event.data.action, event.data.tag) == ("tag", "Rejected")
    approved = raw.replace(b"Rejected", b"Approved")
    assert adapt("sagemaker-model-package", approved, tenant="t")[0].data.action == "promote"


def test_lineage_names_models_datasets_and_their_versions():
    run = only("openlineage.run_complete.json").data
    assert [ref.component for ref in run.inputs] == [
        "dataset:s3/meridian-data/letters/2026-10.parquet",
        "model:huggingface/openwave/base-3b",
    ]
    assert run.inputs[0].digests["sha256"].startswith("101f7516")
    assert run.outputs[0].component == "model:mlflow.meridian.example/claims-reader"
    assert run.data_sources[0].url == "s3://meridian-data/letters/2026-10.parquet"


@pytest.mark.parametrize(
    ("namespace", "name", "component"),
    [
        ("hf://huggingface.co", "datasets/acme/x", "dataset:huggingface/acme/x"),
        ("postgres://db.example:5432", "public.t", "dataset:postgres/db.example:5432/public.t"),
        ("https://data.example/a", "x.csv", "dataset:data.example/a/x.csv"),
        ("file", "/data/x.csv", "dataset:file/data/x.csv"),
        ("", "x", "dataset:x"),
        ("http://[bad", "x", "dataset:http://[bad/x"),
    ],
)
def test_openlineage_names_are_keyed_as_data_sources_are(namespace, name, component):
    assert component_of(namespace, name) == component


@pytest.mark.parametrize("version", ["0.4.1", "0.5.1"])
def test_cdevents_of_both_versions_say_the_same(version):
    push = only(f"cdevents-{version}.artifact_published.json").data
    assert (push.action, push.registry, push.repository, push.revision) == (
        "push", "golang", "code.example/meridian-ml/gatekeeper", "2b970ee4e678130cfb547a",
    )  # fmt: skip
    assert only(f"cdevents-{version}.artifact_signed.json").data.signatures
    assert only(f"cdevents-{version}.pipelinerun_finished.json").data.state == "failed"


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("artifact_downloaded", ("context", "id")),
        ("artifact_published", ("subject", "id")),
        ("artifact_signed", ("subject", "content", "signature")),
        ("pipelinerun_started", ("subject", "content", "pipelineName")),
        ("pipelinerun_finished", ("context", "timestamp")),
    ],
)
def test_what_is_read_as_a_cdevent_is_one_by_its_schema(name, missing):
    document = orjson.loads(payload_of(f"cdevents-0.5.1.{name}.json"))
    kind = document["context"]["type"].removeprefix("dev.cdevents.")
    schema = cdevent_schema(kind)
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert [error.message for error in validator.iter_errors(document)] == []
    assert adapt("cdevents", document, tenant="t")
    inner = document
    for key in missing[:-1]:
        inner = inner[key]
    del inner[missing[-1]]
    assert not validator.is_valid(document)


def test_tekton_states_come_from_the_condition_before_the_type():
    name = "tekton.pipelinerun_successful.json"
    document = orjson.loads(payload_of(name))
    run = document["_body"]["pipelineRun"]
    assert only(name).data.state == "succeeded"
    run["status"]["conditions"][0] |= {"status": "False", "reason": "Cancelled"}
    (event,) = adapt("tekton", document, tenant="t")
    assert event.data.state == "aborted"
    run["spec"]["params"].append({"name": "args", "value": ["--trust-remote-code"]})
    (event,) = adapt("tekton", document, tenant="t")
    assert b"--trust-remote-code" in bytes(event.data.config)
    assert event.data.inputs[0].revision == "main"


def test_a_tekton_definition_from_git_is_an_input_at_the_commit_its_tag_stood_for():
    document = orjson.loads(payload_of("tekton.pipelinerun_successful.json"))
    run = document["_body"]["pipelineRun"]
    run["spec"]["pipelineRef"] = {
        "resolver": "git",
        "params": [{"name": "revision", "value": "v1.2.0"}],
    }
    source = {"uri": "git+https://bot:secret@git.example/acme/tasks.git", "digest": {}}
    run["status"]["provenance"] = {"refSource": source}
    (event,) = adapt("tekton", document, tenant="t")
    assert [ref.component for ref in event.data.inputs] == ["model:huggingface/openwave/base-3b"]
    source["digest"] = {"sha1": "0E58" * 10}
    (event,) = adapt("tekton", document, tenant="t")
    definition = event.data.inputs[-1]
    assert definition.component == "service:git.example/acme/tasks"
    assert (definition.revision, definition.digests) == ("v1.2.0", {"gitCommit": "0e58" * 10})
    for uri in ("https://git.example/acme/tasks.git", "git+git@git.example:acme/tasks.git", "git+"):
        source["uri"] = uri
        (event,) = adapt("tekton", document, tenant="t")
        assert len(event.data.inputs) == 1


def test_kubeflow_runs_keep_their_parameters_as_configuration():
    run = only("kubeflow.run.json").data
    assert (
        orjson.loads(bytes(run.config))["dataset"] == "s3://meridian-data/letters/2026-10.parquet"
    )
    assert run.identities == ("service-account:trainer",)


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


def test_the_wandb_template_resolves_to_an_event_and_unresolved_is_refused():
    raw = template()
    with pytest.raises(UnreadableRecordError):
        adapt("wandb", raw, tenant="t", received_ms=RECEIVED_MS)
    with pytest.raises(UnreadableRecordError):
        adapt("wandb", payload_of("wandb.unresolved_template.json"), tenant="t",
              received_ms=RECEIVED_MS)  # fmt: skip
    values = {
        "event_type": "ADD_ARTIFACT_ALIAS", "alias": "production", "artifact_version": "v3",
        "artifact_collection_name": "sentiment", "project_name": "nlp", "entity_name": "acme",
        "artifact_metadata.sha256": "a" * 64,
    }  # fmt: skip
    for name, value in values.items():
        raw = raw.replace("${" + name + "}", value)
    (event,) = adapt("wandb", raw, tenant="t", received_ms=RECEIVED_MS)
    push = event.data
    assert (push.action, push.repository, push.revision) == ("promote", "acme/nlp/sentiment", "v3")
    assert push.files[0].digests == {"sha256": "a" * 64}
    assert push.publisher.account is None


def test_argo_events_of_nodes_and_other_objects_are_no_runs():
    document = orjson.loads(payload_of("argo.workflow_succeeded.json"))
    assert only("argo.workflow_succeeded.json").data.pipeline == "ml/retrain-9f2"
    assert adapt("argo", document | {"reason": "WorkflowNodeSucceeded"}, tenant="t") == []
    document["involvedObject"]["name"] = "retrain-x7k2q"
    assert adapt("argo", document, tenant="t")[0].data.pipeline == "ml/retrain"


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", reasons.INVALID_JSON),
        (b"[]", reasons.INVALID_EVENT),
        (b"\xff{}", reasons.INVALID_JSON),
        (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", reasons.TOO_DEEP),
        (b'{"a": "' + b"x" * (9 << 20) + b'"}', reasons.TOO_LARGE),
    ],
    ids=["empty", "list", "encoding", "deep", "large"],
)
@pytest.mark.parametrize("kind", sorted(set(SAMPLES.values()) | {"wandb"}))
def test_what_is_no_payload_is_refused_with_its_reason(kind, payload, reason):
    with pytest.raises(UnreadableRecordError) as caught:
        adapt(kind, payload, tenant="t", received_ms=RECEIVED_MS)
    assert caught.value.reason == reason


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


def test_the_documentation_names_each_producer():
    page = (Path(__file__).parents[3] / "docs" / "getting-started.md").read_text(encoding="utf-8")
    table = page.partition("| `--as` | reads |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = {kind for row in rows for kind in re.findall(r"`([\w-]+)`", row)}
    assert named == set(PRODUCERS)


HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x" * 3000, "http://[", "sha256:zz", "\u0000", "2020-13-45", "-1"])
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip


def paths(document, prefix=()):
    yield prefix
    entries = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in entries:
        yield from paths(value, (*prefix, key))


def replaced(document, path, value):
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_payload_with_anything_in_any_place_gives_events_or_a_clear_error(data):
    name = data.draw(st.sampled_from(sorted(SAMPLES)))
    document = orjson.loads(payload_of(name))
    places = [path for path in paths(document) if path and len(path) < 7]
    for path in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        try:
            document = replaced(document, path, data.draw(HOSTILE))
        except (KeyError, IndexError, TypeError):
            continue  # an earlier replacement removed the place
    try:
        events = adapt(SAMPLES[name], orjson.dumps(document), tenant="t", received_ms=RECEIVED_MS)
    except TidewatchError:
        return
    for event in events:
        read_event(write_structured(event), (), timestamp_ms=RECEIVED_MS, max_bytes=1 << 24)


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


@pytest.mark.parametrize(
    "payload",
    [
        registry_notification(),
        {"events": [registry_notification()]},
        {"eventType": "Microsoft.ContainerRegistry.ImagePushed", "data": registry_notification()},
        {"type": "Microsoft.ContainerRegistry.ImagePushed", "data": registry_notification()},
    ],
    ids=["by itself", "in a list", "Event Grid", "as a CloudEvent"],
)
def test_a_registry_of_azure_tells_what_others_tell(payload):
    (event,) = adapt("oci", json.dumps(payload).encode(), tenant="t")
    assert (event.data.repository, event.data.tag) == ("ml/serve", "v1")
    assert event.data.revision == f"sha256:{'e' * 64}"


def test_a_subscription_of_event_grid_gives_no_event():
    kind = "Microsoft.EventGrid.SubscriptionValidationEvent"
    assert adapt("oci", json.dumps({"eventType": kind, "data": {}}).encode(), tenant="t") == []


def test_what_templates_of_argo_run_is_configuration():
    workflow = {
        "kind": "Workflow",
        "metadata": {"name": "train-abc", "creationTimestamp": "2026-11-20T08:00:00Z"},
        "spec": {
            "arguments": {"parameters": [{"name": "epochs", "value": "3"}]},
            "templates": [
                {"name": "m", "container": {"image": "x", "args": ["--trust-remote-code"]}},
                {"name": "n", "script": {"image": "y", "source": "pip install torch"}},
                {"name": "dag", "dag": {"tasks": []}},
            ],
        },
    }
    (event,) = adapt("argo", json.dumps(workflow).encode(), tenant="t")
    config = json.loads(bytes(event.data.config))
    assert config["epochs"] == "3"
    assert config["templates"]["m"] == {"image": "x", "args": ["--trust-remote-code"]}
    assert config["templates"].keys() == {"m", "n"}
