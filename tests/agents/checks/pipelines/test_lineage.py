"""Lineage of a run: inputs, outputs, deployments, and the owners of their names."""

from __future__ import annotations

import pytest

from schemas.severity import Severity, Status
from tests.agents.checks.pipelines.runs import COMMIT, HERE, ids, loud, run, severity_of, status
from tests.agents.examples import TENANT
from tests.each import each


@pytest.mark.parametrize("name", ["gitCommit", "sha1"])
def test_an_input_from_git_is_seen_as_its_tag_and_as_the_commit_it_stood_for(name):
    step, commit = "service:git.example/acme/step", "0E58" * 10
    outcome = run(
        {
            "inputs": [{"component": step, "revision": "v45", "digests": {name: commit}}],
            "outputs": [{"component": "model:reg.acme/out"}],
        }
    )
    seen = {(s.version, s.tag) for s in outcome.sightings if s.component == step}
    assert seen == {("v45", None), (commit.lower(), "v45")}
    (made,) = (s for s in outcome.sightings if s.kind == "made")
    assert {f"{step}@v45", f"{step}@{commit.lower()}"} <= set(made.made_from)


def test_non_commit_reference_is_not_a_commit():
    step = "service:git.example/acme/step"
    for digests in ({"gitCommit": "v45"}, {"sha512": "a" * 40}, {}):
        outcome = run({"inputs": [{"component": step, "revision": "v45", "digests": digests}]})
        assert [s.version for s in outcome.sightings if s.component == step] == ["v45"]


def test_outputs_are_made_from_the_inputs_their_digests_and_the_sources():
    outcome = run(
        {
            "stage": "fine-tuning",
            "inputs": [
                {
                    "component": "model:huggingface/acme/base",
                    "revision": COMMIT,
                    "digests": {"sha256": "3" * 64},
                }
            ],
            "data_sources": [
                {"url": "https://d.example/x", "verified": True, "digests": {"sha256": "2" * 64}}
            ],
            "outputs": [
                {
                    "component": "model:reg.acme/out",
                    "revision": "1",
                    "digests": {"sha256": "4" * 64},
                }
            ],
        }
    )
    made = {s.component: s for s in outcome.sightings if s.kind == "made"}
    assert set(made) == {"model:reg.acme/out", "sha256:" + "4" * 64}
    assert {
        f"model:huggingface/acme/base@{COMMIT}",
        "sha256:" + "3" * 64,
        "sha256:" + "2" * 64,
        "dataset:d.example/x",
        "domain:d.example",
    } <= set(made["model:reg.acme/out"].made_from)
    assert made["sha256:" + "4" * 64].name == "model:reg.acme/out"
    used = {s.component: s.exposure for s in outcome.sightings if s.kind == "used"}
    assert used["model:huggingface/acme/base"] == "executed"


def test_a_large_run_is_a_node_between_its_inputs_and_outputs():
    inputs = [{"component": f"model:r/in{n}", "revision": COMMIT} for n in range(300)]
    outputs = [{"component": f"model:r/out{n}", "revision": "1"} for n in range(400)]
    outcome = run({"pipeline": "mill", "inputs": inputs, "outputs": outputs})
    built = [sighting for sighting in outcome.sightings if sighting.made_from]
    assert max(len(detection.made_from) for detection in built) <= 128
    assert sum(len(detection.made_from) for detection in built) < 3_000
    through = {
        f"{detection.component}@{detection.version}": detection.made_from for detection in built
    }
    made = [detection for detection in built if detection.kind == "made"]
    assert len(made) == 400
    for output in made:
        reached = {key for step in output.made_from for key in through.get(step, ())}
        assert {f"model:r/in{n}@{COMMIT}" for n in range(300)} <= reached


@pytest.mark.parametrize(
    ("stage", "state", "exposure"),
    [
        ("deployment", "succeeded", "serving"),
        ("serving", "running", "serving"),
        ("serving", "failed", "executed"),
        ("fine-tuning", "succeeded", "executed"),
        ("crawl", "succeeded", "delivered"),
        ("fine-tuning", "aborted", "delivered"),
    ],
)
def test_exposure_follows_stage_and_state(stage, state, exposure):
    data = {"stage": stage, "state": state}
    outcome = run({**data, "inputs": [{"component": "model:r/a", "revision": COMMIT}]})
    assert {s.exposure for s in outcome.sightings if s.kind == "used"} == {exposure}


def test_deployment_is_a_private_service():
    outcome = run(
        {
            "stage": "deployment",
            "inputs": [{"component": "model:reg.acme/out", "revision": "1"}],
            "outputs": [{"component": "deployment:fraud-api"}],
        },
        policy={"criticality": {"deployment:fraud-api": 1.0}},
    )
    served = [s for s in outcome.sightings if s.kind == "served"]
    assert [(s.component, s.exposure) for s in served] == [
        (f"deployment:@{TENANT}/fraud-api", "serving")
    ]
    assert "model:reg.acme/out@1" in served[0].made_from
    assert served[0].criticality == 1.0


def test_no_event_can_speak_of_another_tenants_names():
    outcome = run({"inputs": [{"component": "pipeline:@tenant-b/train"}]})
    assert not [s for s in outcome.sightings if "tenant-b" in s.component]


@pytest.mark.parametrize(
    ("named", "key"),
    [
        ("service:ranker", f"service:@{TENANT}/ranker"),
        ("service:rank.svc.cluster.local/v1", f"service:@{TENANT}/rank.svc.cluster.local/v1"),
        ("service:github.com/owner/action", "service:github.com/owner/action"),
        ("deployment:api.acme.example", f"deployment:@{TENANT}/api.acme.example"),
    ],
)  # fmt: skip
def test_service_on_a_public_host_is_public_and_others_are_private(named, key):
    seen = run({"inputs": [{"component": named, "revision": "v1"}]}).sightings
    assert [
        sighting.component
        for sighting in seen
        if sighting.component.startswith(named.split(":")[0])
    ] == [key]


def test_an_input_that_names_no_component_makes_the_lineage_incomplete():
    outcome = run({"inputs": [{"component": "weird"}, {"component": "model:r/a"}]})
    assert status(outcome, "lineage") is Status.INCOMPLETE
    assert "model:r/a" in {s.component for s in outcome.sightings}


@each(
    ("config", "datasets"),
    [
        ({"dataset_name": "acme/prefs"}, ["huggingface/acme/prefs"]),
        ({"train_dataset": "acme/a", "eval_dataset": "acme/b"},
         ["huggingface/acme/a", "huggingface/acme/b"]),
        ({"datasets": [{"path": "acme/a", "type": "alpaca"}, {"path": "data/b.jsonl"}]},
         ["huggingface/acme/a"]),
        ({"datasets": [{"path": "acme/a", "name": "en/fr", "revision": "9d1c"}]},
         ["huggingface/acme/a"]),
        ({"datasets": ["acme/a", "./b"]}, ["huggingface/acme/a"]),
        ({"dataset": {"name": "acme/a"}}, ["huggingface/acme/a"]),
        ({"dataset_mixer": {"acme/a": 0.5, "acme/b": 0.5}},
         ["huggingface/acme/a", "huggingface/acme/b"]),
        ({"datasets": [{"path": f"{HERE}.jsonl"}]}, ["data.acme.example/x.jsonl"]),
        ({"dataset": "alpaca_en_demo", "dataset_path": "datasets/a", "data": "acme/a"}, []),
        ({"metadata_dataset_name": "acme/a", "dataset_text_field": "a/b"}, []),
    ],
)  # fmt: skip
def test_datasets_that_a_configuration_names_are_inputs(config, datasets):
    outcome = run({"config": config, "outputs": [{"component": "model:r.acme/m", "revision": "1"}]})
    used = {
        sighting.component
        for sighting in outcome.sightings
        if sighting.component.startswith("dataset:")
    }
    assert used == {f"dataset:{name}" for name in datasets}
    made = next(
        sighting for sighting in outcome.sightings if sighting.component == "model:r.acme/m"
    )
    assert used <= set(made.made_from)
    assert not loud(outcome)


def test_a_dataset_of_the_hub_is_judged_by_the_hubs_host_or_registry():
    data = {"config": {"dataset_name": "acme/prefs"}}
    outside = run(data, policy={"tenant": TENANT, "trusted": {"data_hosts": ["data.acme.example"]}})
    assert loud(outside) == {"TW-PIPE-OUTSIDE-POLICY"}
    for trusted in (
        {"data_hosts": ["data.acme.example", "huggingface.co"]},
        {"data_hosts": ["data.acme.example"], "registries": ["hf"]},
    ):
        assert not ids(run(data, policy={"tenant": TENANT, "trusted": trusted}))


@pytest.mark.parametrize("name", ["revision_of_model", "revision", "model_revision"])
def test_a_models_revision_is_named_in_each_trainers_way(name):
    base = {"base_model": "acme/falcon", "trust_remote_code": True}
    assert "TW-PIPE-UNPINNED-MODEL" in ids(run({"config": base}))
    pinned = run({"config": {**base, name: COMMIT}})
    assert ids(pinned) == {"TW-PIPE-REMOTE-CODE"}
    assert [severity_of(found) for found in pinned.detections] == [Severity.MEDIUM]


def test_the_repository_that_a_trainer_pushes_to_is_no_model_it_loads():
    assert not ids(run({"config": {"hub_model_id": "acme/mine"}}))
