"""Findings in the configuration of a run: its hash, its settings, secrets written into it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from agents.checks.pipelines.configuration import (
    UnreadableConfigError,
    config_hash,
    read_config,
    walk,
)
from agents.checks.pipelines.names import plain_name
from agents.checks.pipelines.remote_code import (
    REMOTE_CODE,
    REVISION_KEYS,
    UNPINNED,
    UNPINNED_ACTION,
    Setting,
    pinned,
    settings_of,
)
from agents.checks.pipelines.secrets import find_secret
from agents.checks.pipelines.subject import RunSubject
from agents.checks.pipelines.undigested import (
    PLAIN_UPLOAD,
    UNCHECKED_DOWNLOAD,
    UNPINNED_IMAGE,
    undigested,
)
from agents.checks.pipelines.workflows import (
    ALL_SECRETS,
    SCRIPT_INJECTION,
    UNTRUSTED_CHECKOUT,
    workflow_settings,
)
from agents.domain.check_names import CheckName
from agents.domain.detection import Detection
from schemas.components import component_key, is_sha256
from schemas.events import PipelineRun
from schemas.findings import Indicator, IndicatorType
from schemas.severity import Disposition, Severity


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration as read."""

    value: Any = None
    digest: str | None = None
    problem: str | None = None


def read_run_config(run: PipelineRun) -> RunConfig:
    """Read the configuration of a run, with the reason if it can't be read."""
    raw = bytes(run.config)
    if not raw or raw.strip() == b"null":
        return RunConfig()
    try:
        value = read_config(raw)
        return RunConfig(value=value, digest=config_hash(value))
    except UnreadableConfigError as error:
        return RunConfig(problem=error.what)


def check_hash(subject: RunSubject, config: RunConfig) -> Iterator[Detection]:
    """Find a configuration whose hash is not the declared one."""
    expected = (subject.run.expected_config_hash or "").strip().lower().removeprefix("sha256:")
    if not expected or config.digest is None or expected == config.digest:
        return
    key = subject.component
    shown = expected if is_sha256(expected) else f"{expected[:64]} (no SHA-256)"
    yield Detection(
        rule_id="TW-PIPE-CONFIG-TAMPERED",
        description="The hash of the pipeline's configuration is not the expected one",
        evidence={"expected": shown, "actual": config.digest},
        locator="config",
        component=key,
        version=config.digest,
        indicator=Indicator(
            key=f"{key}@{config.digest}", type=IndicatorType.CONFIG, value=config.digest
        ),
    )


def check_settings(
    subject: RunSubject, config: RunConfig, incomplete: dict[str, list[str]]
) -> Iterator[Detection]:
    """Find settings that run remote or mutable code; note if the walk was cut short."""
    if config.value is None:
        return
    settings: list[Setting] = list(workflow_settings(config.value))
    fixed = False
    try:
        for node in walk(config.value):
            settings.extend(settings_of(node))
            settings.extend(undigested(node))
            fixed = fixed or (
                isinstance(node.value, str)
                and (plain_name(node.key).endswith("revision") or node.key in REVISION_KEYS)
                and pinned(node.value)
            )
    except UnreadableConfigError as error:
        incomplete[CheckName.REMOTE_CODE].append(error.what)
    pins = {
        named.ref.component.partition(":")[2].partition("/")[2].lower()
        for named in subject.inputs
        if pinned(named.ref.revision) or named.digest
    }
    moving = [
        setting
        for setting in settings
        if setting.rule_id == UNPINNED and (setting.model or "").lower() not in pins
    ]
    remote = [setting for setting in settings if setting.rule_id == REMOTE_CODE]
    # Code at a commit could be reviewed, and does not change afterwards.
    reviewable = not moving and (fixed or bool(pins))
    for setting in settings:
        if setting.rule_id != UNPINNED:
            calmer = reviewable and setting.rule_id == REMOTE_CODE
            severity = Severity.MEDIUM if calmer else setting.severity
            yield _setting(setting, subject, config.digest, severity=severity)
    for setting in moving:
        yield _setting(setting, subject, config.digest)
    if remote and moving:
        models = sorted({setting.model or "" for setting in moving})
        yield Detection(
            rule_id="TW-PIPE-UNPINNED-CODE",
            description=f"Code of a model at a mutable revision may run: {', '.join(models)[:200]}",
            evidence={"models": models[:20], "setting": remote[0].path},
            locator=f"config:{remote[0].path}",
            component=subject.component,
            version=config.digest,
            related_keys=tuple(_model_key(name) for name in models[:20]),
        )


_SAYS: Final = {
    REMOTE_CODE: "Code from a model repository may run",
    UNPINNED: "A model is referenced by a mutable revision",
    UNPINNED_ACTION: "An action is referenced by a branch or tag, which can move",
    "TW-PIPE-UNSAFE-LOADER": "A loader that can run code is configured",
    "TW-PIPE-REMOTE-SCRIPT": "A command runs code that others can replace, or sends secrets out",
    "TW-PIPE-TLS-OFF": "Certificates are not checked",
    UNPINNED_IMAGE: "An image is taken by a tag, which can move",
    UNCHECKED_DOWNLOAD: "A file is fetched without a checksum",
    PLAIN_UPLOAD: "Packages are uploaded without TLS",
    UNTRUSTED_CHECKOUT: "A workflow with secrets takes the content of a stranger's branch",
    SCRIPT_INJECTION: "A script contains what strangers write",
    ALL_SECRETS: "A step receives all secrets of the repository",
}


def _model_key(name: str) -> str:
    return component_key("model", f"huggingface/{name}")


def _setting(
    setting: Setting,
    subject: RunSubject,
    digest: str | None,
    *,
    severity: Severity | None = None,
) -> Detection:
    """Return the detection of a setting: of the model it names, else of the run's configuration."""
    about = _model_key(setting.model) if setting.model else subject.component
    return Detection(
        rule_id=setting.rule_id,
        description=f"{_SAYS[setting.rule_id]}: {setting.shown}",
        evidence={"path": setting.path[:300], "setting": setting.shown},
        locator=f"config:{setting.path}",
        severity=severity,
        component=about,
        version=setting.revision if setting.model else digest,
        indicator=Indicator(
            key=about,
            type=IndicatorType.MODEL_REVISION if setting.model else IndicatorType.CONFIG,
            value=setting.model or setting.shown,
            disposition=Disposition.CONTEXT,
        ),
    )


def check_secrets(
    subject: RunSubject, config: RunConfig, incomplete: dict[str, list[str]]
) -> Iterator[Detection]:
    """Find secrets in the configuration; note if the walk was cut short."""
    if config.value is None:
        return
    try:
        for node in walk(config.value):
            for name, value, path in _named_texts(node.key, node.value, node.path):
                secret = find_secret(name, value)
                if secret is not None:
                    yield Detection(
                        rule_id="TW-PIPE-SECRET",
                        description=f"A secret is written into the configuration at {path[:200]}",
                        evidence={
                            "path": path[:300],
                            "kind": secret.kind,
                            "secret": secret.shown,
                            **({"host": secret.host} if secret.host else {}),
                        },
                        locator=f"config:{path}",
                        component=subject.component,
                        indicator=Indicator(
                            key=subject.component,
                            type=IndicatorType.CONFIG,
                            value=path[:300],
                            disposition=Disposition.CONTEXT,
                        ),
                    )
    except UnreadableConfigError as error:
        incomplete[CheckName.SECRETS].append(error.what)


def _named_texts(key: str, value: Any, path: str) -> Iterator[tuple[str, str, str]]:  # noqa: ANN401
    if isinstance(value, str):
        # `--password=…` in a list of arguments carries its own name.
        name, equals, text = value.partition("=")
        yield key, value, path
        if equals and name.startswith("-"):
            yield name, text, path
    elif isinstance(value, dict):
        # Kubernetes, Tekton and Argo keep a variable's name next to its value.
        label, content = value.get("name"), value.get("value")
        if isinstance(label, str) and isinstance(content, str):
            yield label, content, f"{path}.value" if path else "value"
