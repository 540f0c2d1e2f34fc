"""Convert MLflow 3 webhooks to registry pushes and MLflow runs to pipeline runs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from schemas import dead_letters as reasons
from schemas.events import (
    ArtifactKind,
    Card,
    ComponentRef,
    DataSource,
    Event,
    PipelineRun,
    PushAction,
    RegistryPush,
    RunState,
)
from streams.adapters.payload import (
    PRODUCTION,
    Payload,
    adapter,
    at,
    derived_id,
    items,
    moment,
    read_parameters,
    refuse,
    registry_event,
    run_event,
    text,
)

TOLERANCE: Final = timedelta(minutes=5)
"""Longest age of a signed delivery; an older one may be a replay."""
_RUN_STATES: Final = {
    "SCHEDULED": RunState.STARTED,
    "RUNNING": RunState.RUNNING,
    "FINISHED": RunState.SUCCEEDED,
    "FAILED": RunState.FAILED,
    "KILLED": RunState.ABORTED,
}
_HUB_SOURCE: Final = "hugging_face"
"""The `source_type` of a dataset that was loaded from the hub."""
_ADDRESS: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{1,31}):(?P<rest>[^\s].*)", re.DOTALL | re.ASCII
)
_MADE_FROM: Final = re.compile(
    r"(?:(?P<own>models:/+)|hf://(?:models/)?|https://huggingface\.co/)"
    r"(?P<name>[^\s/@?#]+(?(own)|/[^\s/@?#]+))(?:[@/].*)?"
)
"""A version's source that names a model: of the registry, a logged one, or of the hub."""
_MODEL_ENTITIES: Final = frozenset(
    {"registered_model", "model_version", "model_version_tag", "model_version_alias"}
)


def verify_signature(
    body: bytes, headers: Mapping[str, str], secret: str, *, now: datetime
) -> None:
    """Check the signature of a webhook delivery.

    Args:
        body: The request's body, byte for byte.
        headers: The request's headers.
        secret: The webhook's secret.
        now: The time of reception.

    Raises:
        UnreadableRecordError: the signature is missing or wrong, or older than `TOLERANCE`.

    Source: MLflow 3 webhooks: `v1,` and the base64 of HMAC-SHA256 over
    `delivery_id.timestamp.body`.
    """
    given = {name.lower(): value for name, value in headers.items()}
    delivery = given.get("x-mlflow-delivery-id", "")
    stamp = given.get("x-mlflow-timestamp", "")
    signature = given.get("x-mlflow-signature", "")
    sent = moment(stamp)
    if not delivery or sent is None:
        raise refuse("no delivery id or timestamp", reasons.INVALID_SIGNATURE)
    if abs(now - sent) > TOLERANCE:
        raise refuse("the delivery is too old, or from the future", reasons.INVALID_SIGNATURE)
    signed = f"{delivery}.{stamp}.".encode("utf-8", "surrogatepass") + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogatepass")):
        raise refuse("the signature is invalid", reasons.INVALID_SIGNATURE)


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return the event of a webhook delivery or of a run as the REST API gives it.

    Options: `registry` (the server's name, default `mlflow`), `secret` (verifies the delivery
    first; needs `time` and the request's `headers`). Prompts and budgets give no event.

    Source: mlflow 3.17 `mlflow/webhooks/types.py`, REST API `runs/get`.
    """
    secret = payload.options.get("secret")
    if isinstance(secret, str) and secret:
        if payload.time is None:
            raise refuse("the time of reception is needed to verify", reasons.INVALID_SIGNATURE)
        verify_signature(payload.raw, payload.headers, secret, now=payload.time)
    if at(payload.body, "run", "info") or at(payload.body, "info", "run_id"):
        return [_run(payload)]
    return _webhook(payload)


def _webhook(payload: Payload) -> list[Event[Any]]:
    body = payload.body
    entity, action = text(body, "entity"), text(body, "action")
    if entity is None or action is None:
        raise refuse("no entity or action")
    if entity not in _MODEL_ENTITIES:
        return []
    name = text(body, "data", "name")
    if name is None:
        raise refuse("no data.name")
    workspace = text(body, "workspace")
    version = text(body, "data", "version")
    alias = text(body, "data", "alias")
    if alias is None and entity == "model_version_tag":
        alias = text(body, "data", "key")
    registry = payload.registry("mlflow")
    removed = action == "deleted"
    if entity == "model_version_alias":
        promoted = not removed and (alias or "").lower() in PRODUCTION
        done = PushAction.PROMOTE if promoted else PushAction.TAG
    elif entity == "model_version_tag":
        done = PushAction.TAG
    else:
        done = PushAction.DELETE if removed else PushAction.PUSH
    push = RegistryPush(
        action=done,
        kind=ArtifactKind.MODEL,
        registry=registry,
        repository=f"{workspace}/{name}" if workspace and workspace != "default" else name,
        revision=version,
        tag=alias,
        card=_made_from(text(body, "data", "source"), name) if done == PushAction.PUSH else None,
    )
    delivery = payload.header("x-mlflow-delivery-id")
    known = delivery if delivery and "<" not in delivery else None
    stamp = text(body, "timestamp")
    return [
        registry_event(
            payload,
            push,
            id=known
            or derived_id("mlflow", entity, action, push.repository, version, alias, stamp),
            source=f"//mlflow/{registry}",
            time=moment(stamp) or moment(payload.header("x-mlflow-timestamp")),
        )
    ]


def _made_from(source: str | None, name: str) -> Card | None:
    """Return a card with the model that a version was made from, or None if its source names none.

    Source: mlflow 3.17 `mlflow/store/artifact/utils/models.py`: `models:/name/version`,
    `models:/name@alias`, `models:/model_id`.
    """
    match = _MADE_FROM.fullmatch((source or "").strip())
    if match is None or (match["own"] and match["name"] == name):
        return None
    place = "mlflow" if match["own"] else "huggingface"
    return Card(base_model=(f"model:{place}/{match['name']}",))


def _pairs(document: Any, *path: str) -> dict[str, Any]:  # noqa: ANN401 -- any JSON value
    found: dict[str, Any] = {}
    for entry in items(document, *path):
        key = text(entry, "key")
        if key is not None:
            found[key] = at(entry, "value")
    return found


def _run(payload: Payload) -> Event[Any]:
    run = payload.body.get("run", payload.body)
    run_id = text(run, "info", "run_id") or text(run, "info", "run_uuid")
    if run_id is None:
        raise refuse("no info.run_id", reasons.MISSING_IDENTITY)
    tags = _pairs(run, "data", "tags")
    parameters = read_parameters(_pairs(run, "data", "params"))
    status = text(run, "info", "status") or ""
    inputs, sources = list(parameters.inputs), list(parameters.data_sources)
    for entry in items(run, "inputs", "dataset_inputs"):
        dataset = at(entry, "dataset")
        name = text(dataset, "name")
        if name is None:
            continue
        # MLflow's short digest distinguishes versions, but is not a SHA-256.
        digest = text(dataset, "digest")
        inputs.append(ComponentRef(component=f"dataset:mlflow/{name}", revision=digest))
        hub, url = _source(text(dataset, "source"), text(dataset, "source_type"))
        if hub is not None:
            inputs.append(hub)
        if url is not None:
            sources.append(DataSource(url=url, name=name))
    for entry in items(run, "inputs", "model_inputs"):
        model = text(entry, "model_id")
        if model is not None:
            inputs.append(ComponentRef(component=f"model:mlflow/{model}"))
    outputs = [
        ComponentRef(component=f"model:mlflow/{model}")
        for entry in items(run, "outputs", "model_outputs")
        if (model := text(entry, "model_id")) is not None
    ]
    project = tags.get("mlflow.source.name")
    experiment = text(run, "info", "experiment_id")
    named = text({"name": project}, "name") or text(run, "info", "run_name")
    state = _RUN_STATES.get(status, RunState.RUNNING)
    data = PipelineRun(
        pipeline=named or (f"experiment-{experiment}" if experiment else None),
        run_id=run_id,
        state=state,
        config=parameters.config,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        data_sources=tuple(sources),
    )
    return run_event(
        payload,
        data,
        id=derived_id("mlflow-run", run_id, status),
        source=f"//mlflow/{payload.registry('mlflow')}",
        time=moment(at(run, "info", "end_time")) or moment(at(run, "info", "start_time")),
    )


def _source(source: str | None, kind: str | None) -> tuple[ComponentRef | None, str | None]:
    """Return the hub dataset or the address in the source of a dataset.

    An address is of any scheme, with two slashes, one or none (`dbfs:/mnt/x`).

    Source: mlflow 3.17 `mlflow/data/*_dataset_source.py`, `to_dict`.
    """
    if source is None:
        return None, None
    try:
        document = orjson.loads(source)
    except orjson.JSONDecodeError:
        return None, _address(source)
    named = text(document, "path")
    if kind == _HUB_SOURCE:
        revision = text(document, "revision")
        hub = named is not None and "://" not in named and named.count("/") <= 1
        component = f"dataset:huggingface/{named}"
        return (ComponentRef(component=component, revision=revision) if hub else None), None
    found = (text(document, key) for key in ("uri", "url"))
    return None, _address(next((value for value in found if value), named))


def _address(source: str | None) -> str | None:
    match = _ADDRESS.fullmatch((source or "").strip())
    if match is None:
        return None
    scheme, rest = match["scheme"], match["rest"]
    return f"{scheme}:{rest}" if rest.startswith("//") else f"{scheme}://{rest}"
