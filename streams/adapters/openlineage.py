"""Convert OpenLineage run events to pipeline runs.

Facets accumulate from START to COMPLETE; each event becomes one native event with the run's id, and
the component ledger merges their sightings.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from schemas import dead_letters as reasons
from schemas.events import ComponentRef, DataSource, Event, PipelineRun, RunState
from streams.adapters.payload import (
    Payload,
    adapter,
    at,
    derived_id,
    items,
    moment,
    refuse,
    run_event,
    sha256_digest,
    text,
)

_STATES: Final = {
    "START": RunState.STARTED,
    "RUNNING": RunState.RUNNING,
    "COMPLETE": RunState.SUCCEEDED,
    "ABORT": RunState.ABORTED,
    "FAIL": RunState.FAILED,
}
_MODEL_SCHEMES: Final = frozenset({"mlflow", "models", "sagemaker", "wandb", "ollama", "triton"})
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{1,15}", re.IGNORECASE | re.ASCII)
_PLAIN_SCHEMES: Final = frozenset({"", "http", "https", "ftp", "ftps", "sftp"})


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return the event of a run; events of a job or dataset alone give none.

    Source: OpenLineage 2-0-2, `RunEvent`; facets `version`, `dataSource`. An absent `eventType`
    counts as a running run.
    """
    body = payload.body
    run_id = text(body, "run", "runId")
    if run_id is None:
        if at(body, "job") is not None or at(body, "dataset") is not None:
            return []
        raise refuse("no run.runId", reasons.MISSING_IDENTITY)
    namespace, name = text(body, "job", "namespace"), text(body, "job", "name")
    if name is None:
        raise refuse("no job.name", reasons.MISSING_IDENTITY)
    event_type = (text(body, "eventType") or "").upper()
    inputs, sources = _datasets(body, "inputs")
    outputs, _ = _datasets(body, "outputs")
    data = PipelineRun(
        pipeline=f"{namespace}/{name}" if namespace else name,
        run_id=run_id,
        state=_STATES.get(event_type, RunState.RUNNING),
        inputs=inputs,
        outputs=outputs,
        data_sources=sources,
    )
    when = moment(at(body, "eventTime"))
    return [
        run_event(
            payload,
            data,
            id=derived_id("openlineage", run_id, event_type, text(body, "eventTime")),
            source=text(body, "producer") or "//openlineage",
            time=when,
        )
    ]


def _datasets(
    body: Any,  # noqa: ANN401 -- any JSON value
    side: str,
) -> tuple[tuple[ComponentRef, ...], tuple[DataSource, ...]]:
    refs: list[ComponentRef] = []
    sources: list[DataSource] = []
    for entry in items(body, side):
        namespace, name = text(entry, "namespace"), text(entry, "name")
        if name is None:
            continue
        version = text(entry, "facets", "version", "datasetVersion")
        digests = sha256_digest(version)
        component = component_of(namespace or "", name)
        refs.append(ComponentRef(component=component, revision=version, digests=digests))
        uri = text(entry, "facets", "dataSource", "uri")
        if uri is not None and component.startswith("dataset:"):
            label = text(entry, "facets", "dataSource", "name") or name
            url = address_of(namespace or "", name, uri)
            sources.append(DataSource(url=url, name=label, digests=digests))
    return tuple(refs), tuple(sources)


def address_of(namespace: str, name: str, uri: str) -> str:
    """Return the address of a dataset; its `dataSource` facet may only locate its store.

    Facets of databases hold the connection (`postgres://host:5432`) or the kind alone (`bigquery`):
    the dataset's own name is appended.

    Source: OpenLineage, naming conventions of datasets.
    """
    store = namespace.rstrip("/")
    if "://" in uri and uri.rstrip("/") != store:
        return uri
    plain = name.lstrip("/")
    if store == "file":
        return f"file:///{plain}"
    if "://" in store:
        return f"{store}/{plain}"
    return f"{store}://{plain}" if _SCHEME.fullmatch(store) else uri


def component_of(namespace: str, name: str) -> str:
    """Return the component key of a dataset from its OpenLineage name.

    Hub names are models unless they are under `datasets/`; a model registry's are models;
    everything else is a dataset, keyed as a data source of the same address would be.
    """
    try:
        parts = urlsplit(namespace)
        host = parts.netloc or parts.path
    except ValueError:
        return f"dataset:{namespace}/{name}"
    scheme = parts.scheme.lower()
    plain = name.strip("/")
    if scheme == "hf" or host.lower() in {"huggingface.co", "hf.co"}:
        if plain.startswith("datasets/"):
            return f"dataset:huggingface/{plain.removeprefix('datasets/')}"
        return f"model:huggingface/{plain}"
    if scheme in _MODEL_SCHEMES:
        return f"model:{host or scheme}/{plain}"
    space = f"{host}{parts.path if parts.netloc else ''}".strip("/")
    parts_of_key = (space, plain) if scheme in _PLAIN_SCHEMES else (scheme, space, plain)
    return "dataset:" + "/".join(part for part in parts_of_key if part)
