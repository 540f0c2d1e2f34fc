"""The manifests run workers without privileges, by names that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.admission.review import API_VERSION, JUDGED
from streams.admission.serving import ADMIT_PATH
from streams.settings import PREFIX, Settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def stateful_set() -> dict[str, Any]:
    """The workers' manifest."""
    manifest: dict[str, Any] = yaml.safe_load(
        (DEPLOY / "kubernetes" / "worker" / "statefulset.yaml").read_text()
    )
    return manifest


def pod() -> dict[str, Any]:
    """The workers' pod."""
    spec: dict[str, Any] = stateful_set()["spec"]["template"]["spec"]
    return spec


def environment() -> set[str]:
    """Every setting that the manifests and the image name."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    config = yaml.safe_load((DEPLOY / "kubernetes" / "settings.yaml").read_text())
    names = set(compose["x-worker"]["environment"]) | set(config["data"])
    names |= {entry["name"] for entry in pod()["containers"][0]["env"]}
    image = (DEPLOY.parent / "Dockerfile").read_text()
    return names | set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", image))


def test_configured_settings_exist() -> None:
    named = {name for name in environment() if name.startswith(PREFIX)}
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert named
    assert named - known == set()


def test_the_pod_has_no_privileges() -> None:
    security = pod()["securityContext"]
    assert security["runAsNonRoot"] is True
    (container,) = pod()["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert pod()["automountServiceAccountToken"] is False


def test_images_of_others_are_pinned_by_digest() -> None:
    """What a tag names changes; only our own image, built here, goes by its name."""
    image = (DEPLOY.parent / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM .* AS (\S+)$", image, re.MULTILINE))
    named = set(re.findall(r"^FROM (\S+)|--from=(\S+)", image, re.MULTILINE))
    used = {name for pair in named for name in pair if name} - stages
    for path in DEPLOY.rglob("*.yaml"):
        used |= set(re.findall(r"^\s*-?\s*image: (\S+)$", path.read_text(), re.MULTILINE))
    assert used - {"tidewatch"}
    assert len(used) > 2, "an image of this file's formats is not found any more"
    for name in used - {"tidewatch"}:
        assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", name), name


def test_a_stop_has_time_to_finish() -> None:
    drain = Settings.model_fields["drain_seconds"].default
    assert pod()["terminationGracePeriodSeconds"] > drain


def test_each_app_has_a_manifest_and_a_service_and_all_are_listed() -> None:
    apps = {path.name for path in (DEPLOY / "kubernetes" / "apps").iterdir()}
    listed = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    assert {name for name in listed["resources"] if name.startswith("apps/")} == {
        f"apps/{app}" for app in apps
    }
    for app in apps:
        text = (DEPLOY / "kubernetes" / "apps" / app / "kustomization.yaml").read_text()
        labels = yaml.safe_load(text)["labels"][0]["pairs"]
        assert labels == {"app.kubernetes.io/component": app}
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert {"kafka", "topics"} | apps == set(services)


def test_the_notifier_runs_alone_and_without_privileges() -> None:
    folder = DEPLOY / "kubernetes" / "notify"
    spec = yaml.safe_load((folder / "deployment.yaml").read_text())["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    notifier = spec["template"]["spec"]
    (container,) = notifier["containers"]
    workers = pod()["containers"][0]
    assert notifier["securityContext"] == pod()["securityContext"]
    assert container["securityContext"] == workers["securityContext"]
    assert notifier["automountServiceAccountToken"] is False
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert set(listed) | {"kustomization.yaml"} == {path.name for path in folder.iterdir()}
    compose = yaml.safe_load((DEPLOY / "compose.notify.yaml").read_text())["services"]
    assert compose["notify"]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", ["gateway", "admit"])
def test_http_servers_run_unprivileged_and_replicated(name: str) -> None:
    folder = DEPLOY / "kubernetes" / name
    spec = yaml.safe_load((folder / "deployment.yaml").read_text())["spec"]
    assert spec["replicas"] > 1
    served = spec["template"]["spec"]
    (container,) = served["containers"]
    workers = pod()["containers"][0]
    assert served["securityContext"] == pod()["securityContext"]
    assert container["securityContext"] == workers["securityContext"]
    assert served["automountServiceAccountToken"] is False
    assert container["args"][0] == name
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert set(listed) | {"kustomization.yaml"} == {path.name for path in folder.iterdir()}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    example = tomllib.loads((DEPLOY / f"{name}.example.toml").read_text())
    service = yaml.safe_load((folder / "service.yaml").read_text())["spec"]
    assert ports[service["ports"][0]["targetPort"]] == example["listen"]["port"]
    assert service["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(Path(example["listen"]["key"]).parent) in mounted
    disruption = yaml.safe_load((folder / "disruption.yaml").read_text())["spec"]
    assert disruption["selector"]["matchLabels"] == spec["selector"]["matchLabels"]


def test_the_webhook_asks_what_is_served_and_never_for_itself() -> None:
    folder = DEPLOY / "kubernetes" / "admit"
    (webhook,) = yaml.safe_load((folder / "webhook.yaml").read_text())["webhooks"]
    service = yaml.safe_load((folder / "service.yaml").read_text())
    asked = webhook["clientConfig"]["service"]
    assert asked["name"] == service["metadata"]["name"]
    assert asked["port"] == service["spec"]["ports"][0]["port"]
    assert asked["path"] == ADMIT_PATH
    assert webhook["admissionReviewVersions"] == [API_VERSION.rpartition("/")[2]]
    assert webhook["sideEffects"] == "None"
    (apart,) = webhook["namespaceSelector"]["matchExpressions"]
    assert apart["operator"] == "NotIn"
    assert asked["namespace"] in apart["values"]
    assert {operation for rule in webhook["rules"] for operation in rule["operations"]} == JUDGED
