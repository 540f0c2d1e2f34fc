"""The check of a pipeline run: its data sources, configuration, behaviour, code and lineage."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import msgspec

from agents.checks.detection import Detection, Outcome
from agents.checks.hosts import KNOWN_HOSTS, Place, below, imitates, without_credentials
from agents.checks.knowledge import Knowledge
from agents.checks.packages.intel_match import ADVERSE, matches
from agents.checks.pipelines.behaviour import regression
from agents.checks.pipelines.configuration import (
    UnreadableConfigError,
    config_hash,
    read_config,
    walk,
)
from agents.checks.pipelines.lineage import Lineage, ref_component, run_component, run_lineage
from agents.checks.pipelines.remote_code import (
    REMOTE_CODE,
    UNPINNED,
    Setting,
    pinned,
    settings_of,
)
from agents.checks.pipelines.secrets import find_secret
from agents.checks.pipelines.sources import (
    RunSource,
    blocks,
    config_sources,
    dataset_key,
    domain_key,
    run_sources,
    sha256_of,
    trusted,
    vendor_key,
)
from agents.checks.rules import family_rules
from schemas.assessments import Check
from schemas.components import InvalidComponentError, component_key, is_sha256
from schemas.events import Event, PipelineRun
from schemas.findings import Indicator
from schemas.intel import IntelFact
from schemas.policy import Policy
from schemas.severity import Disposition, Severity, Status, worst

YOUNG_DOMAIN: Final = timedelta(days=90)
MAX_DETECTIONS: Final = 500
MAX_PARENT_DOMAINS: Final = 6
_CHECK_OF: Final = {
    "TW-PIPE-INSECURE-SOURCE": "data_sources",
    "TW-PIPE-UNVERIFIED-SOURCE": "data_sources",
    "TW-PIPE-OUTSIDE-POLICY": "data_sources",
    "TW-PIPE-LOOKALIKE-HOST": "data_sources",
    "TW-PIPE-ODD-HOST": "data_sources",
    "TW-PIPE-NEW-DOMAIN": "data_sources",
    "TW-PIPE-BLOCKED-SOURCE": "blocked_sources",
    "TW-PIPE-CONFIG-TAMPERED": "config_integrity",
    "TW-PIPE-CONTENT-CHANGED": "data_integrity",
    "TW-PIPE-DIGEST-CONFLICT": "data_integrity",
    "TW-PIPE-SYNTHETIC": "data_integrity",
    "TW-PIPE-REGRESSION": "behaviour",
    "TW-PIPE-REMOTE-CODE": "remote_code",
    "TW-PIPE-UNSAFE-LOADER": "remote_code",
    "TW-PIPE-TLS-OFF": "remote_code",
    "TW-PIPE-UNPINNED-MODEL": "remote_code",
    "TW-PIPE-UNPINNED-CODE": "remote_code",
    "TW-PIPE-SECRET": "secrets",
}
_OF_CONFIG: Final = frozenset({"config_integrity", "remote_code", "secrets"})


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of the configuration."""

    value: Any = None
    present: bool = False
    digest: str | None = None
    problem: str | None = None


def check_pipeline(event: Event[PipelineRun], knowledge: Knowledge) -> Outcome:
    """Return what the checks of a pipeline run say.

    Findings from intel are the ledger's; here a match only fails the `intel` check.

    Args:
        event: The run.
        knowledge: Intel facts, and the tenant's policy.

    Source: the response procedure's `check_training_pipeline_integrity` for data sources and the
    configuration's hash; MITRE ATLAS AML.T0010.002, AML.T0020.
    """
    policy = knowledge.policy(event.tenantid)
    config = _read(event.data)
    reported = [
        msgspec.structs.replace(source, url=source.url.strip())
        for source in event.data.data_sources
    ]
    sources, sources_left_out = run_sources(config_sources(config.value), reported)
    incomplete: dict[str, list[str]] = defaultdict(list)
    if config.problem:
        for name in ("data_sources", *sorted(_OF_CONFIG)):
            incomplete[name].append(config.problem)
    if sources_left_out:
        incomplete["data_sources"].append(f"{sources_left_out} sources beyond the limit")

    found: list[Detection] = []
    for source in sources:
        found.extend(_source(source, event, policy))
    found.extend(_blocked(event, sources, policy))
    found.extend(_integrity(event, config))
    found.extend(_digests(event, policy))
    found.extend(_settings(event, config, incomplete))
    found.extend(_unpinned_inputs(event, policy))
    found.extend(_secrets(event, config, incomplete))
    changed = any(
        d.rule_id
        in {"TW-PIPE-CONTENT-CHANGED", "TW-PIPE-DIGEST-CONFLICT", "TW-PIPE-CONFIG-TAMPERED"}
        for d in found
    )
    found.extend(_behaviour(event, sources, policy, inputs_changed=changed))
    found.extend(_synthetic(event))
    found = _once(found)
    if len(found) > MAX_DETECTIONS:
        incomplete["data_sources"].append(
            f"{len(found) - MAX_DETECTIONS} findings beyond the limit of {MAX_DETECTIONS}"
        )
        found = sorted(found, key=lambda d: -_severity(d).rank)[:MAX_DETECTIONS]

    baseline = config.digest if not event.data.expected_config_hash else None
    lineage = run_lineage(event, policy, sources, config_digest=baseline)
    checks = [
        *_checks(found, incomplete, config),
        _intel(event, sources, policy, knowledge),
        _lineage(lineage),
    ]
    return Outcome(checks=tuple(checks), detections=tuple(found), sightings=lineage.sightings)


def _read(run: PipelineRun) -> _Config:
    raw = bytes(run.config)
    if not raw or raw.strip() == b"null":
        return _Config()
    try:
        value = read_config(raw)
        return _Config(value=value, present=True, digest=config_hash(value))
    except UnreadableConfigError as error:
        return _Config(present=True, problem=error.what)


def _severity(detection: Detection) -> Severity:
    return detection.severity or family_rules("pipelines")[detection.rule_id].severity


def _once(found: list[Detection]) -> list[Detection]:
    return list({(d.rule_id, d.locator): d for d in reversed(found)}.values())[::-1]


def _about(source: RunSource, tenant: str, disposition: Disposition) -> Indicator:
    domain = domain_key(source)
    if domain is not None:
        host = domain.partition(":")[2]
        return Indicator(key=domain, type="domain", value=host, disposition=disposition)
    key = dataset_key(source, tenant)
    value = without_credentials(source.url) or source.name or key
    return Indicator(key=key, type="dataset", value=value, disposition=disposition)


def _source(source: RunSource, event: Event[PipelineRun], policy: Policy) -> Iterator[Detection]:
    place, tenant = source.place, event.tenantid
    shown = without_credentials(source.url) or (source.name or "")
    evidence: dict[str, Any] = {"url": shown}
    if source.name:
        evidence["name"] = source.name[:200]
    related = (dataset_key(source, tenant),)
    hosts = policy.trusted.data_hosts

    def report(
        rule_id: str,
        description: str,
        *,
        severity: Severity | None = None,
        disposition: Disposition = Disposition.DETECT,
        **more: object,
    ) -> Detection:
        return Detection(
            rule_id=rule_id,
            description=description,
            evidence={**evidence, **more},
            locator=f"source:{source.key}",
            severity=severity,
            indicator=_about(source, tenant, disposition),
            related_keys=related,
        )

    vouched = bool(hosts) and trusted(source, hosts)
    if place.insecure:
        yield report(
            "TW-PIPE-INSECURE-SOURCE",
            f"Data source without transport security: {shown}",
            # Who can change it on the way is inside already.
            severity=Severity.LOW if place.local else None,
            disposition=Disposition.CONTEXT,
            scheme=place.scheme,
        )
    if source.verified is not True:
        # Where nobody says so, but the policy trusts the place by name or it lies at home, it is
        # a gap in a record.
        gap = source.verified is None and (vouched or place.local)
        yield report(
            "TW-PIPE-UNVERIFIED-SOURCE",
            f"Data source not verified: {shown}",
            severity=Severity.LOW if gap else None,
            disposition=Disposition.CONTEXT,
            verified=source.verified,
        )
    if hosts and place.host and not vouched:
        yield report(
            "TW-PIPE-OUTSIDE-POLICY",
            f"Data source outside the policy's trusted hosts: {shown}",
            disposition=Disposition.CONTEXT,
            host=place.host,
        )
    candidates = [host for host in hosts if "://" not in host]
    imitated = None if vouched or place.store else imitates(place.host, (*candidates, *KNOWN_HOSTS))
    if imitated is None and "userinfo" in place.oddities and "." in place.userinfo:
        imitated = place.userinfo.rpartition("@")[2].partition(":")[0][:200]
    if imitated is not None:
        yield report(
            "TW-PIPE-LOOKALIKE-HOST",
            f"Data source imitates {imitated}: {shown}",
            host=place.host,
            imitated=imitated,
            oddities=list(place.oddities),
        )
    elif set(place.oddities) - _usual(place, vouched=vouched):
        yield report(
            "TW-PIPE-ODD-HOST",
            f"Data source with an unusual address ({', '.join(place.oddities)}): {shown}",
            disposition=Disposition.CONTEXT,
            host=place.host,
            port=place.port,
            oddities=list(place.oddities),
        )
    if source.registered_at is not None:
        registered = source.registered_at
        if registered.tzinfo is None:
            registered = registered.replace(tzinfo=event.time.tzinfo)
        age = event.time - registered
        if age < YOUNG_DOMAIN:
            yield report(
                "TW-PIPE-NEW-DOMAIN",
                f"The domain of a data source was registered {max(age.days, 0)} days before the"
                f" run: {shown}",
                registered_at=registered.isoformat(),
                age_days=max(age.days, 0),
            )
    if source.pinned and source.digest and source.pinned != source.digest:
        yield report(
            "TW-PIPE-CONTENT-CHANGED",
            f"What the run read is not what its configuration pins: {shown}",
            expected=source.pinned,
            actual=source.digest,
        )
    if source.conflicting:
        yield report(
            "TW-PIPE-DIGEST-CONFLICT",
            f"One data source with several digests in one run: {shown}",
            digests=[source.digest, *source.conflicting][:10],
        )
    secret = find_secret("", source.url)
    if secret is not None:
        yield report("TW-PIPE-SECRET", f"A {secret.kind} in a data source's address: {shown}",
                     secret=secret.shown, kind=secret.kind)  # fmt: skip


def _usual(place: Place, *, vouched: bool) -> frozenset[str]:
    """Return the oddities that are ordinary where a source lies."""
    if place.local:
        return frozenset({"ip-literal", "odd-port"})
    return frozenset({"odd-port"}) if vouched else frozenset()


def _blocked(
    event: Event[PipelineRun], sources: list[RunSource], policy: Policy
) -> Iterator[Detection]:
    if not policy.blocked_sources:
        return
    for source in sources:
        keys = [dataset_key(source, event.tenantid), vendor_key(source) or ""]
        keys.extend(f"sha256:{digest}" for digest in (source.digest, *source.conflicting) if digest)
        entry = next((e for e in policy.blocked_sources if blocks(e, keys, source.place)), None)
        if entry is not None:
            shown = without_credentials(source.url) or source.name or ""
            yield Detection(
                rule_id="TW-PIPE-BLOCKED-SOURCE",
                description=f"A data source that the policy blocks was used: {shown}",
                evidence={"url": shown, "blocked": entry[:200]},
                locator=f"source:{source.key}",
                indicator=_about(source, event.tenantid, Disposition.DETECT),
                related_keys=tuple(key for key in keys if key),
            )
    for ref in event.data.inputs:
        try:
            key = ref_component(ref, event.tenantid, policy)
        except InvalidComponentError:
            continue
        digest = sha256_of(ref.digests)
        keys = [key, ref.component, *([f"sha256:{digest}"] if digest else [])]
        entry = next((e for e in policy.blocked_sources if blocks(e, keys)), None)
        if entry is not None:
            yield Detection(
                rule_id="TW-PIPE-BLOCKED-SOURCE",
                description=f"An input that the policy blocks was used: {ref.component[:200]}",
                evidence={"component": key, "revision": ref.revision, "blocked": entry[:200]},
                locator=f"input:{key}@{ref.revision or ''}",
                component=key,
                version=ref.revision,
                indicator=Indicator(key=key, type=key.partition(":")[0], value=key),
            )


def _integrity(event: Event[PipelineRun], config: _Config) -> Iterator[Detection]:
    expected = (event.data.expected_config_hash or "").strip().lower().removeprefix("sha256:")
    if not expected or config.digest is None or expected == config.digest:
        return
    key = run_component(event)
    shown = expected if is_sha256(expected) else f"{expected[:64]} (no SHA-256)"
    yield Detection(
        rule_id="TW-PIPE-CONFIG-TAMPERED",
        description="The hash of the pipeline's configuration is not the expected one",
        evidence={"expected": shown, "actual": config.digest},
        locator="config",
        component=key,
        version=config.digest,
        indicator=Indicator(key=f"{key}@{config.digest}", type="config", value=config.digest),
    )


def _digests(event: Event[PipelineRun], policy: Policy) -> Iterator[Detection]:
    seen: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for ref in (*event.data.inputs, *event.data.outputs):
        digest = sha256_of(ref.digests)
        if digest is None:
            continue
        try:
            key = ref_component(ref, event.tenantid, policy)
        except InvalidComponentError:
            continue
        # Without a revision, an input and an output of one name are versions, not a conflict.
        if ref.revision:
            seen[key, ref.revision][digest] = None
    for (key, revision), digests in seen.items():
        if len(digests) > 1:
            yield Detection(
                rule_id="TW-PIPE-DIGEST-CONFLICT",
                description=f"{key[:200]} at {revision[:80]} has several digests in one run",
                evidence={"component": key, "revision": revision, "digests": list(digests)[:10]},
                locator=f"input:{key}@{revision}",
                component=key,
                version=revision,
            )


def _settings(
    event: Event[PipelineRun], config: _Config, incomplete: dict[str, list[str]]
) -> Iterator[Detection]:
    if config.value is None:
        return
    settings: list[Setting] = []
    fixed = False
    try:
        for node in walk(config.value):
            settings.extend(settings_of(node))
            fixed = fixed or (
                isinstance(node.value, str)
                and node.key.lower().endswith("revision")
                and pinned(node.value)
            )
    except UnreadableConfigError as error:
        incomplete["remote_code"].append(error.what)
    pins = {
        ref.component.partition(":")[2].partition("/")[2].lower()
        for ref in event.data.inputs
        if pinned(ref.revision) or sha256_of(ref.digests)
    }
    moving = [
        setting
        for setting in settings
        if setting.rule_id == UNPINNED and (setting.model or "").lower() not in pins
    ]
    remote = [setting for setting in settings if setting.rule_id == REMOTE_CODE]
    # Code of a commit is code that could be reviewed, and does not change behind one's back.
    reviewable = not moving and (fixed or bool(pins))
    for setting in settings:
        if setting.rule_id != UNPINNED:
            calmer = reviewable and setting.rule_id == REMOTE_CODE
            yield _setting(setting, event, severity=Severity.MEDIUM if calmer else None)
    for setting in moving:
        yield _setting(setting, event)
    if remote and moving:
        models = sorted({setting.model or "" for setting in moving})
        yield Detection(
            rule_id="TW-PIPE-UNPINNED-CODE",
            description=f"Code of a model whose revision moves may run: {', '.join(models)[:200]}",
            evidence={"models": models[:20], "setting": remote[0].path},
            locator=f"config:{remote[0].path}",
            component=run_component(event),
            related_keys=tuple(_model_key(name) for name in models[:20]),
        )


_SAYS: Final = {
    REMOTE_CODE: "Code from a model repository may run",
    UNPINNED: "A model is taken by a revision that moves",
    "TW-PIPE-UNSAFE-LOADER": "A loader that can run code is configured",
    "TW-PIPE-TLS-OFF": "Certificates are not checked",
}


def _model_key(name: str) -> str:
    return component_key("model", f"huggingface/{name}")


def _setting(
    setting: Setting, event: Event[PipelineRun], *, severity: Severity | None = None
) -> Detection:
    about = _model_key(setting.model) if setting.model else run_component(event)
    return Detection(
        rule_id=setting.rule_id,
        description=f"{_SAYS[setting.rule_id]}: {setting.shown}",
        evidence={"path": setting.path[:300], "setting": setting.shown},
        locator=f"config:{setting.path}",
        severity=severity,
        component=about,
        version=setting.revision,
        indicator=Indicator(
            key=about,
            type="model-revision" if setting.model else "config",
            value=setting.model or setting.shown,
            disposition=Disposition.CONTEXT,
        ),
    )


def _unpinned_inputs(event: Event[PipelineRun], policy: Policy) -> Iterator[Detection]:
    for ref in event.data.inputs:
        if not ref.component.startswith("model:huggingface/"):
            continue
        if pinned(ref.revision) or sha256_of(ref.digests):
            continue
        key = ref_component(ref, event.tenantid, policy)
        yield Detection(
            rule_id=UNPINNED,
            description=f"A model is taken by a revision that moves: {ref.component[:200]}",
            evidence={"component": key, "revision": ref.revision},
            locator=f"input:{key}@{ref.revision or ''}",
            component=key,
            version=ref.revision,
            indicator=Indicator(
                key=key, type="model-revision", value=key, disposition=Disposition.CONTEXT
            ),
        )


def _secrets(
    event: Event[PipelineRun], config: _Config, incomplete: dict[str, list[str]]
) -> Iterator[Detection]:
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
                        evidence={"path": path[:300], "kind": secret.kind, "secret": secret.shown},
                        locator=f"config:{path}",
                        component=run_component(event),
                        indicator=Indicator(
                            key=run_component(event),
                            type="config",
                            value=path[:300],
                            disposition=Disposition.CONTEXT,
                        ),
                    )
    except UnreadableConfigError as error:
        incomplete["secrets"].append(error.what)


def _named_texts(key: str, value: Any, path: str) -> Iterator[tuple[str, str, str]]:  # noqa: ANN401
    if isinstance(value, str):
        # `--password=…` in a list of arguments carries its own name.
        name, equals, text = value.partition("=")
        yield key, value, path
        if equals and name.startswith("-"):
            yield name, text, path
    elif isinstance(value, dict):
        # Kubernetes, Tekton and Argo name a variable beside its value.
        label, content = value.get("name"), value.get("value")
        if isinstance(label, str) and isinstance(content, str):
            yield label, content, f"{path}.value" if path else "value"


def _behaviour(
    event: Event[PipelineRun], sources: list[RunSource], policy: Policy, *, inputs_changed: bool
) -> Iterator[Detection]:
    evaluation = event.data.evaluation
    result = regression(evaluation) if evaluation is not None else None
    if evaluation is None or result is None:
        return
    made = [ref for ref in event.data.outputs if ref.component.startswith("model:")]
    models = made or [ref for ref in event.data.inputs if ref.component.startswith("model:")]
    yield Detection(
        rule_id="TW-PIPE-REGRESSION",
        description=f"Behaviour regressed in {evaluation.suite or 'an evaluation'}: {result.reason}"
        + (", after an input changed" if inputs_changed else ""),
        evidence={
            "suite": evaluation.suite,
            "score": evaluation.score,
            "baseline": evaluation.baseline,
            "passed": evaluation.passed,
            "drop": result.drop,
            "inputs_changed": inputs_changed,
        },
        locator=f"evaluation:{evaluation.suite or ''}",
        confidence=0.9 if inputs_changed else None,
        component=run_component(event),
        related_keys=(
            *_datasets(event, sources, policy),
            *(ref.component for ref in models[:20]),
        ),
    )


def _datasets(
    event: Event[PipelineRun], sources: list[RunSource], policy: Policy
) -> tuple[str, ...]:
    """Return the keys of the data that a run was fed."""
    keys = [dataset_key(source, event.tenantid) for source in sources]
    for ref in event.data.inputs:
        if ref.component.startswith("dataset:"):
            with contextlib.suppress(InvalidComponentError):
                keys.append(ref_component(ref, event.tenantid, policy))
    return tuple(dict.fromkeys(keys))[:20]


def _synthetic(event: Event[PipelineRun]) -> Iterator[Detection]:
    if any(ref.component.startswith("model:") for ref in event.data.inputs):
        return
    for ref in event.data.outputs:
        if ref.synthetic:
            yield Detection(
                rule_id="TW-PIPE-SYNTHETIC",
                description=f"Synthetic data, but no model that made it: {ref.component[:200]}",
                evidence={"component": ref.component, "revision": ref.revision},
                locator=f"output:{ref.component}@{ref.revision or ''}",
            )


def _checks(
    found: list[Detection], incomplete: dict[str, list[str]], config: _Config
) -> Iterator[Check]:
    by_check: dict[str, list[Detection]] = defaultdict(list)
    for detection in found:
        by_check[_CHECK_OF[detection.rule_id]].append(detection)
    for name in dict.fromkeys(_CHECK_OF.values()):
        mine = by_check[name]
        statuses = [_status(_severity(detection)) for detection in mine]
        if incomplete.get(name):
            statuses.append(Status.INCOMPLETE)
        detail = [*dict.fromkeys(d.rule_id for d in mine), *incomplete.get(name, ())]
        tampering = next((d for d in mine if d.rule_id == "TW-PIPE-CONFIG-TAMPERED"), None)
        yield Check(
            name=name,
            status=worst(statuses),
            expected=tampering.evidence["expected"] if tampering else None,
            actual=config.digest if name == "config_integrity" else None,
            detail="; ".join(detail)[:500] or None,
        )


def _status(severity: Severity) -> Status:
    return Status.FAIL if severity.rank >= Severity.HIGH.rank else Status.WARN


def _intel(
    event: Event[PipelineRun], sources: list[RunSource], policy: Policy, knowledge: Knowledge
) -> Check:
    hits: dict[str, None] = {}

    def ask(key: str, version: str | None, digest: str | None) -> None:
        fact = knowledge.fact(key)
        if fact is not None and _condemns(fact, version, digest):
            hits[key] = None

    for source in sources:
        digest = source.digest or source.pinned
        ask(dataset_key(source, event.tenantid), None, digest)
        for key in (vendor_key(source), *(f"sha256:{d}" for d in _all_digests(source))):
            if key:
                ask(key, None, None)
        host = source.place.host if domain_key(source) else ""
        labels = host.split(".")
        for start in range(min(len(labels) - 1, MAX_PARENT_DOMAINS)):
            name = ".".join(labels[start:])
            if below(host, name):
                ask(f"domain:{name}", None, None)
    for ref in (*event.data.inputs, *event.data.outputs):
        digest = sha256_of(ref.digests)
        try:
            ask(ref_component(ref, event.tenantid, policy), ref.revision, digest)
        except InvalidComponentError:
            continue
        if digest:
            ask(f"sha256:{digest}", None, None)
    return Check(
        name="intel",
        status=Status.FAIL if hits else Status.PASS,
        detail=("known bad: " + ", ".join(hits))[:500] if hits else None,
    )


def _all_digests(source: RunSource) -> Iterator[str]:
    yield from (digest for digest in (source.digest, source.pinned, *source.conflicting) if digest)


def _condemns(fact: IntelFact, version: str | None, digest: str | None) -> bool:
    if fact.kind not in ADVERSE:
        return False
    return matches(fact, version, (digest,) if digest else ()) is True


def _lineage(lineage: Lineage) -> Check:
    problems = [f"no component: {name}" for name in lineage.unreadable[:10]]
    if lineage.left_out:
        problems.append(f"{lineage.left_out} sightings or parents beyond the limit")
    return Check(
        name="lineage",
        status=Status.INCOMPLETE if problems else Status.PASS,
        detail="; ".join(problems)[:500] or None,
    )
