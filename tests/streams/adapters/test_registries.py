"""Deliveries of registries and cloud platforms as events."""

from __future__ import annotations

import base64

import orjson
import pytest

from agents.checks.pipelines import check_pipeline
from agents.checks.provenance.identity import push_component
from agents.domain.knowledge import MemoryKnowledge
from schemas.errors import UnreadableRecordError
from schemas.policy import default_policy
from streams.adapters.container_images import read_reference
from streams.adapters.envelopes import why_no_event
from streams.adapters.event_grid import resource_name
from streams.adapters.file_kinds import ecosystem_of, kind_of_files
from streams.adapters.payload import moment
from streams.cli import main
from tests.each import each
from tests.samples import sample
from tests.streams.adapters.registry_payloads import RECEIVED_MS, events_of

HOUR_MS = 3_600_000


def document(name):
    return orjson.loads(sample("in", f"{name}.json"))


def data_of(kind, name):
    (event,) = events_of(kind, document(name))
    return event.data


def changed(name, *path, **fields):
    body = document(name)
    inner = body
    for key in path:
        inner = inner[key]
    inner.update(fields)
    return body


def test_azure_container_registry_is_named_by_its_host():
    push = data_of("acr", "acr.image_pushed")
    assert (push.registry, push.repository) == ("meridian.azurecr.io", "serving/ranker")
    assert (push.action, push.kind, push.tag) == ("push", "image", "2026.11")
    assert push.files[0].digests["sha256"] == push.revision.removeprefix("sha256:")


def test_event_grid_names_the_registry_where_the_notification_does_not():
    body = document("acr.event_grid.image_deleted")
    del body["data"]["request"]
    (event,) = events_of("acr", body)
    assert (event.data.action, event.data.registry) == ("delete", "meridian.azurecr.io")


SIGNED = f"sha256-{'ab' * 32}.sig"
"""The tag under which cosign keeps the signature of an image."""


@each(
    ("kind", "body"),
    [
        ("acr", {"id": "1", "timestamp": "2026-11-04T08:31:07Z", "action": "ping"}),
        (
            "acr",
            changed("acr.image_pushed", action="chart_push"),
        ),
        ("acr", changed("acr.event_grid.image_deleted", "data", action="chart_delete")),
        ("acr", {"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {}}),
        ("azure-ml", {"type": "Microsoft.EventGrid.SubscriptionDeletedEvent", "data": {}}),
        (
            "azure-ml",
            {"type": "Microsoft.MachineLearningServices.DatasetDriftDetected", "data": {}},
        ),
        ("ecr", changed("ecr.image_action", "detail", result="FAILURE")),
        ("ecr", changed("ecr.image_action", **{"detail-type": "ECR Image Scan"})),
        ("ecr", changed("ecr.image_action", "detail", **{"action-type": "EXPIRE"})),
        (
            "ecr",
            changed(
                "ecr.image_action",
                "detail",
                **{"artifact-media-type": "application/vnd.cncf.helm.config.v1+json"},
            ),
        ),
        ("ecr", changed("ecr.image_action", "detail", **{"image-tag": SIGNED})),
        ("acr", changed("acr.image_pushed", "target", tag=SIGNED)),
        ("docker-hub", changed("docker-hub.push", "push_data", tag=SIGNED)),
        ("quay", changed("quay.repository_push", updated_tags=[SIGNED])),
        ("artifact-registry", {"action": "INSERT", "tag": f"h.example/p/r/i:{SIGNED}"}),
        ("artifact-registry", {"name": "projects/p/occurrences/1", "kind": "VULNERABILITY"}),
        ("artifact-registry", {"action": "UNKNOWN", "digest": "h.example/p/r/i@sha256:a"}),
        ("quay", {"docker_url": "q.example/a/b", "repository": "a/b", "build_id": "1"}),
        ("gitlab", {"object_kind": "note", "object_attributes": {"note": "well done"}}),
        ("gitlab", {"object_kind": "build", "build_id": 7}),
        ("gitlab", {"event_name": "project_create", "path_with_namespace": "a/b"}),
        ("ecr", {"Type": "SubscriptionConfirmation", "TopicArn": "arn:aws:sns:a", "Message": "x"}),
        ("github-package", {"zen": "Keep it simple.", "hook_id": 1, "hook": {}}),
        ("github-workflow-run", {"zen": "Keep it simple.", "hook_id": 1, "hook": {}}),
        ("mlflow", {"entity": "prompt_version", "action": "created", "data": {"name": "p"}}),
        ("harbor", {"type": "SCANNING_COMPLETED", "event_data": {"resources": []}}),
        (
            "huggingface",
            {"event": {"action": "create", "scope": "discussion.comment"}, "repo": {"name": "a/b"}},
        ),
    ],
)
def test_a_delivery_that_is_about_no_supply_chain_gives_no_event(kind, body):
    assert events_of(kind, body) == []


@each(
    ("kind", "body"),
    [
        ("acr", {"type": "Microsoft.Storage.BlobCreated", "data": {}}),
        ("acr", {"action": "push"}),
        ("azure-ml", {"type": "Microsoft.Storage.BlobCreated", "data": {}}),
        ("azure-ml", {"data": {}}),
        ("ecr", {"detail-type": "EC2 Instance State-change", "source": "aws.ec2", "detail": {}}),
        ("ecr", {"detail-type": "ECR Image Action", "source": "aws.ecr", "detail": {}}),
        ("artifact-registry", {"message": {"data": "%%%"}}),
        ("artifact-registry", {"message": {"data": base64.b64encode(b"[]").decode()}}),
        ("artifact-registry", {"action": "INSERT"}),
        ("quay", {"repository": "a/b"}),
        ("docker-hub", {"repository": {"repo_name": "a/b"}}),
        ("gitlab", {"name": "x"}),
        ("gitlab", {"object_kind": "pipeline", "project": {"path_with_namespace": "a/b"}}),
    ],
)
def test_a_payload_of_somebody_else_is_refused(kind, body):
    with pytest.raises(UnreadableRecordError):
        events_of(kind, body)


def test_elastic_container_registry_is_named_as_its_clients_name_it():
    push = data_of("ecr", "ecr.image_action")
    assert push.registry == "210987654321.dkr.ecr.eu-central-1.amazonaws.com"
    assert (push.kind, push.action, push.tag) == ("model", "push", "2026.11")
    (event,) = events_of("ecr", changed("ecr.image_action", region="cn-north-1"))
    assert event.data.registry == "210987654321.dkr.ecr.cn-north-1.amazonaws.com.cn"
    (event,) = events_of("ecr", changed("ecr.image_action", "detail", **{"action-type": "DELETE"}))
    assert event.data.action == "delete"


def test_pull_through_cache_import_is_a_push():
    body = document("ecr.image_action")
    body["detail-type"] = "ECR Pull Through Cache Action"
    body["detail"] = {
        "sync-status": "SUCCESS",
        "repository-name": "docker-hub/library/python",
        "upstream-registry-url": "registry.example",
        "image-tag": "3.14",
        "image-digest": f"sha256:{'a' * 64}",
    }
    (event,) = events_of("ecr", body)
    assert (event.data.action, event.data.repository) == ("push", "docker-hub/library/python")
    body["detail"]["sync-status"] = "FAILURE"
    assert events_of("ecr", body) == []


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_message_of_artifact_registry_is_read_wrapped_and_plain(wrapped):
    body = document("artifact-registry.insert")
    if not wrapped:
        body = orjson.loads(base64.b64decode(body["message"]["data"]))
    (event,) = events_of("artifact-registry", body)
    push = event.data
    assert push.registry == "europe-west3-docker.pkg.dev"
    assert (push.repository, push.tag) == ("meridian-ml/serving/ranker", "2026.11")
    assert push.revision.startswith("sha256:")


def test_a_deleted_tag_of_artifact_registry_has_no_digest():
    (event,) = events_of(
        "artifact-registry", {"action": "DELETE", "tag": "eu-docker.pkg.dev/p/r/img:v1"}
    )
    assert (event.data.action, event.data.tag, event.data.revision) == ("delete", "v1", None)


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("h.example/a/b:v1@sha256:x", ("h.example", "a/b", "v1", "sha256:x")),
        ("h.example:5000/a", ("h.example", "a", None, None)),
        ("docker://h.example/a:v1", ("h.example", "a", "v1", None)),
        ("a:v1", (None, "a", "v1", None)),
    ],
)
def test_references_of_images_are_read(reference, parts):
    read = read_reference(reference)
    assert (read.host, read.repository, read.tag, read.digest) == parts


def test_quay_gives_an_event_for_each_tag():
    events = events_of("quay", document("quay.repository_push"))
    assert [event.data.tag for event in events] == ["2026.11", "latest"]
    assert len({event.id for event in events}) == 2
    (event,) = events_of("quay", changed("quay.repository_push", updated_tags=[]))
    assert event.data.tag is None
    early = changed("quay.repository_push", updated_tags={"v1": "b750fe79" * 8})
    (event,) = events_of("quay", early)
    assert (event.data.tag, event.data.revision) == ("v1", None)
    late = changed("quay.repository_push", updated_tags={"v1": f"sha256:{'b' * 64}"})
    (event,) = events_of("quay", late)
    assert event.data.files[0].digests == {"sha256": "b" * 64}


def test_docker_hub_says_who_pushed_which_tag():
    push = data_of("docker-hub", "docker-hub.push")
    assert (push.registry, push.repository, push.tag) == (
        "docker.io", "meridianml/ranker", "2026.11",
    )  # fmt: skip
    assert (push.publisher.account, push.visibility) == ("releasebot", "private")
    assert push.revision is None


def test_a_pipeline_of_gitlab_keeps_its_variables():
    (event,) = events_of("gitlab", document("gitlab.pipeline"))
    run = event.data
    assert (run.pipeline, run.run_id, run.state) == (
        "meridian-ml/claims-reader", "48213", "succeeded",
    )  # fmt: skip
    assert run.data_sources[0].url == "s3://meridian-data/letters/2026-10.parquet"
    assert run.inputs[0].component == "model:huggingface/openwave/base-3b"
    assert event.time.isoformat() == "2026-11-08T03:42:51+00:00"
    states = {
        status: events_of("gitlab", changed("gitlab.pipeline", "object_attributes", status=status))
        for status in ("created", "running", "failed", "canceled")
    }
    assert {status: state.data.state for status, (state,) in states.items()} == {
        "created": "started",
        "running": "running",
        "failed": "failed",
        "canceled": "aborted",
    }
    assert len({state.id for (state,) in states.values()}) == len(states)


def test_a_deployment_of_gitlab_serves():
    (event,) = events_of("gitlab", document("gitlab.deployment"))
    run = event.data
    assert (run.stage, run.state) == ("deployment", "succeeded")
    assert run.outputs[0].component == "deployment:meridian-ml/claims-reader/production"
    assert event.time.isoformat() == "2026-11-08T08:15:30+00:00"


def test_the_model_registry_of_gitlab_holds_models_and_its_package_registry_packages():
    model = data_of("gitlab", "gitlab.package.ml_model")
    assert (model.kind, model.registry) == ("model", "gitlab.meridian.example")
    assert [file.path for file in model.files] == ["model.safetensors", "config.json"]
    assert model.publisher.account == "release-bot"
    (event,) = events_of("gitlab", document("gitlab.package.pypi"))
    assert (event.data.kind, event.data.revision) == ("package", "2.3.0")
    assert push_component(event, default_policy("t")) == "pypi:claims-features"
    generic = changed("gitlab.package.ml_model", package_type="generic")
    (event,) = events_of("gitlab", generic)
    assert (event.data.kind, event.data.ecosystem) == ("model", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-08 03:42:51 UTC", "2026-11-08T03:42:51+00:00"),
        ("2026-11-08 09:15:30 +0100", "2026-11-08T08:15:30+00:00"),
        ("2026-11-08 03:42:51.25 UTC", "2026-11-08T03:42:51.250000+00:00"),
    ],
)
def test_times_with_blanks_are_read(text, expected):
    assert moment(text).isoformat() == expected


@pytest.mark.parametrize("text", ["2026-13-08 03:42:51 UTC", "yesterday", "2026-11-08 03:42"])
def test_invalid_time_is_none(text):
    assert moment(text) is None


def test_azure_machine_learning_registers_deploys_and_runs():
    push = data_of("azure-ml", "azure-ml.model_registered")
    assert (push.registry, push.repository, push.revision) == (
        "azure-ml", "claims/claims-reader", "14",
    )  # fmt: skip
    run = data_of("azure-ml", "azure-ml.model_deployed")
    assert [(ref.component, ref.revision) for ref in run.inputs] == [
        ("model:azure-ml/claims/claims-reader", "14"),
        ("model:azure-ml/claims/letter-splitter", "3"),
    ]
    assert run.outputs[0].component == "deployment:claims/claims-api"
    status = data_of("azure-ml", "azure-ml.run_status_changed")
    assert (status.pipeline, status.state) == ("claims/claims-reader", "failed")
    assert status.inputs[0].component == "model:huggingface/openwave/base-3b"
    body = changed(
        "azure-ml.run_status_changed", type="Microsoft.MachineLearningServices.RunCompleted"
    )
    del body["data"]["runStatus"]
    (event,) = events_of("azure-ml", body)
    assert event.data.state == "succeeded"


def test_a_resource_is_found_in_its_path_in_any_case():
    assert resource_name("/a/Workspaces/claims", "workspaces") == "claims"
    assert resource_name("/a/workspaces/", "workspaces") is None
    assert resource_name(None, "workspaces") is None


def test_a_bucket_of_the_hub_changes_without_a_revision():
    body = document("huggingface.bucket_content")
    (event,) = events_of("huggingface", body)
    push = event.data
    assert (push.kind, push.repository) == ("dataset", "buckets/meridian-ml/checkpoints")
    assert (push.revision, push.tag, push.visibility) == (None, None, "private")
    (again,) = events_of("huggingface", body)
    (later,) = events_of("huggingface", body, RECEIVED_MS + 2 * HOUR_MS)
    assert again.id == event.id
    assert later.id != event.id
    body["event"]["scope"] = "bucket.content"
    assert len(events_of("huggingface", body)) == 1
    body["event"] |= {"scope": "repo", "action": "delete"}
    assert events_of("huggingface", body)[0].data.action == "delete"


def test_a_wheel_in_a_registry_of_files_is_a_package():
    (event,) = events_of("jfrog", document("jfrog.wheel_deployed"))
    push = event.data
    assert (push.kind, push.ecosystem, push.revision) == ("package", "pypi", "2.3.0")
    assert push_component(event, default_policy("t")) == "pypi:claims-features"


def test_a_package_url_names_the_package():
    body = document("cdevents-0.5.1.artifact_published")
    body["subject"]["id"] = "pkg:pypi/Claims.Features@2.3.0"
    (event,) = events_of("cdevents", body)
    assert push_component(event, default_policy("t")) == "pypi:claims-features"


@each(
    ("path", "ecosystem"),
    [
        ("pypi-local/torch/2.9.0/torch-2.9.0-cp312-cp312-linux_x86_64.whl", "pypi"),
        ("pypi-local/My.Pkg/1.0/my_pkg-1.0.tar.gz", "pypi"),
        ("models/claims/14/model-1.0.tar.gz", None),
        ("models/claims/model.tar.gz", None),
        ("libs/org/acme/app/1.0/app-1.0.jar", "maven"),
        ("npm-local/app/-/app-1.0.0.tgz", "npm"),
        ("models/app.tgz", None),
        ("models/claims/14/model.safetensors", None),
        ("", None),
    ],
)
def test_packages_are_recognised_by_their_files_and_folders(path, ecosystem):
    assert ecosystem_of(path) == ecosystem


@pytest.mark.parametrize(
    ("paths", "kind"),
    [
        (["a.whl", "b.whl"], "package"),
        (["a.whl", "model.safetensors"], "model"),
        (["train.parquet"], "dataset"),
        (["train.csv"], "model"),
        ([], "model"),
    ],
)
def test_a_kind_is_what_all_files_are(paths, kind):
    assert kind_of_files(paths) == kind


def test_arguments_of_steps_are_configuration_and_their_artifacts_data():
    run = data_of("argo", "argo.workflow_steps")
    config = orjson.loads(bytes(run.config))
    assert config["templates"]["main"]["arguments"]["train"]["parameters"][1] == {
        "name": "trust_remote_code",
        "value": "true",
    }
    assert [source.url for source in run.data_sources] == [
        "s3://meridian-data/letters/2026-10.parquet"
    ]
    (event,) = events_of("argo", document("argo.workflow_steps"))
    found = {found.rule_id for found in check_pipeline(event, MemoryKnowledge()).detections}
    assert {"TW-PIPE-REMOTE-CODE", "TW-PIPE-INSECURE-SOURCE", "TW-PIPE-UNPINNED-MODEL"} <= found


def test_arguments_of_tasks_and_of_other_places_are_read_as_well():
    body = document("argo.workflow_steps")
    body["spec"]["templates"][0] = {
        "name": "main",
        "dag": {
            "tasks": [
                {
                    "name": "a",
                    "template": "train",
                    "arguments": {
                        "parameters": [{"name": "args", "value": "--trust-remote-code"}],
                        "artifacts": [
                            {"name": "w", "http": {"url": "http://data.example/w.csv"}},
                            {"name": "g", "gcs": {"bucket": "b", "key": "k"}},
                            {"name": "h", "hdfs": {"addresses": ["n:8020"], "path": "/x"}},
                            {"name": "r", "raw": {"data": "x"}},
                        ],
                    },
                },
                "not a task",
            ]
        },
        "sidecars": [{"image": "proxy:1", "args": ["-k"]}],
    }
    (event,) = events_of("argo", body)
    config = orjson.loads(bytes(event.data.config))
    assert config["templates"]["main"]["arguments"]["a"]["parameters"][0]["name"] == "args"
    assert config["templates"]["main"]["sidecars"] == [{"image": "proxy:1", "args": ["-k"]}]
    assert [source.url for source in event.data.data_sources] == [
        "http://data.example/w.csv",
        "gs://b/k",
        "hdfs://n:8020/x",
    ]


def test_event_grid_delivers_arrays():
    one = document("acr.event_grid.image_deleted")
    handshake = {"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {}}
    events = events_of("acr", [one, handshake, {**one, "data": {**one["data"], "id": "another"}}])
    assert [event.data.action for event in events] == ["delete", "delete"]
    assert len({event.id for event in events}) == 2


def test_sns_and_pub_sub_envelopes_are_unwrapped():
    body = document("ecr.image_action")
    wrapped = {
        "Type": "Notification",
        "TopicArn": "arn:aws:sns:a",
        "Message": orjson.dumps(body).decode(),
    }
    assert events_of("ecr", wrapped) == events_of("ecr", body)
    message = document("artifact-registry.insert")
    pulled = {"receivedMessages": [{"ackId": "1", **message}]}
    assert events_of("artifact-registry", pulled) == events_of("artifact-registry", message)


def test_more_payloads_than_the_limit_are_refused():
    with pytest.raises(UnreadableRecordError, match="the limit is 1000"):
        events_of("acr", [{"action": "ping"}] * 1001)


def test_a_package_of_r_is_no_model():
    assert ecosystem_of("cran-local/src/contrib/shiny_1.9.1.tar.gz") == "cran"
    assert ecosystem_of("models/contrib/model.tar.gz") is None


def test_a_subscription_that_is_not_confirmed_says_so():
    setup = b'{"Type": "SubscriptionConfirmation", "TopicArn": "arn:aws:sns:a", "Message": "x"}'
    assert "open the SubscribeURL" in why_no_event(setup)
    for other in (b'{"Type": "Notification", "TopicArn": "arn:aws:sns:a"}', b"{", b"[]"):
        assert why_no_event(other) == "nothing in it is about a supply chain"


@each(
    ("source", "base"),
    [
        ("models:/ranker-base/3", "model:mlflow/ranker-base"),
        ("models:/ranker-base@champion", "model:mlflow/ranker-base"),
        ("models:/m-0123456789abcdef", "model:mlflow/m-0123456789abcdef"),
        ("hf://acme/base@main", "model:huggingface/acme/base"),
        ("hf://models/acme/base", "model:huggingface/acme/base"),
        ("https://huggingface.co/acme/base/tree/main", "model:huggingface/acme/base"),
        ("models:/own/2", None),
        ("s3://bucket/acme/base", None),
        ("runs:/0123/model", None),
        ("https://huggingface.co/acme", None),
        ("", None),
    ],
)
def test_a_version_of_mlflow_is_made_from_the_model_that_its_source_names(source, base):
    data = {"name": "own", "version": "3", "source": source}
    (event,) = events_of("mlflow", {"entity": "model_version", "action": "created", "data": data})
    push = event.data
    assert (push.card.base_model if push.card else ()) == ((base,) if base else ())


def test_send_says_how_to_confirm_a_subscription(tmp_path, capsys):
    file = tmp_path / "sns.json"
    file.write_text(
        '{"Type": "SubscriptionConfirmation", "TopicArn": "arn:aws:sns:a", "Message": ""}'
    )
    for form in ("text", "json"):
        main(["send", "--check", "--as", "ecr", "--tenant", "t", "--format", form, str(file)])
        assert "open the SubscribeURL" in capsys.readouterr().out
