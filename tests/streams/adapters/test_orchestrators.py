"""Payloads of orchestrators: CDEvents, Tekton, Kubeflow, Argo, OpenLineage, Weights & Biases."""

from __future__ import annotations

import json

import orjson
import pytest
from jsonschema import Draft202012Validator

from schemas.errors import UnreadableRecordError
from streams.adapters import adapt
from streams.adapters.openlineage import component_of
from streams.adapters.wandb import template
from tests.streams.adapters.cdevents_schema import cdevent_schema
from tests.streams.adapters.payloads import RECEIVED_MS, only, payload_of


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
def test_accepted_cdevents_meet_their_schema(name, missing):
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


def test_argo_templates_become_configuration():
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
