"""Converts a pipeline's configuration file to an event, for scans from the command line."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any, Final

import msgspec
import yaml

from agents.checks.pipelines.configuration import (
    MAX_CONFIG_BYTES,
    UnreadableConfigError,
    read_config,
    walk,
)
from agents.checks.pipelines.yaml_loader import plain_loader
from schemas.canonical import stable_hash, stable_id
from schemas.events import TYPE_PIPELINE_RUN, Event, PipelineRun, RunState

SOURCE: Final = "//scan"


def pipeline_event_from_config(
    raw: bytes,
    *,
    name: str,
    time: datetime,
    tenant: str = "local",
    expected_config_hash: str | None = None,
) -> Event[PipelineRun]:
    """Return the event of a run with this configuration file.

    The file is JSON, or YAML read with the safe loader; of several YAML documents the
    configuration is their list. JSON keeps its own bytes, so that its hash is the one its
    writer would get.

    Args:
        raw: The file.
        name: The pipeline's name, for instance the file's.
        time: When it was scanned.
        tenant: The tenant it belongs to.
        expected_config_hash: The expected hash, if known.

    Raises:
        UnreadableConfigError: too large, too deep, too many values, or neither JSON nor YAML.
    """
    text = raw.removeprefix(b"\xef\xbb\xbf")
    if len(text) > MAX_CONFIG_BYTES:
        raise UnreadableConfigError(
            f"the file has {len(text)} bytes, the limit is {MAX_CONFIG_BYTES}", where=name
        )
    if text.lstrip()[:1] in {b"{", b"["}:
        try:
            read_config(text)
        except UnreadableConfigError:
            # YAML's flow style resembles JSON.
            text = _from_yaml(text, name)
    else:
        text = _from_yaml(text, name)
    return Event(
        id=stable_id("scan", name, stable_hash(text.decode("utf-8", "surrogateescape"))),
        source=SOURCE,
        type=TYPE_PIPELINE_RUN,
        subject=f"pipeline:{name}",
        time=time,
        tenantid=tenant,
        data=PipelineRun(
            pipeline=name,
            state=RunState.STARTED,
            config=msgspec.Raw(text),
            expected_config_hash=expected_config_hash,
        ),
    )


def _from_yaml(raw: bytes, name: str) -> bytes:
    # The loader recurses for each nested level, and flow style nests with one byte a level.
    if max(raw.count(b"["), raw.count(b"{")) > MAX_CONFIG_BYTES // 16:
        raise UnreadableConfigError("the file has too many brackets", where=name)
    try:
        documents = list(yaml.load_all(raw, Loader=plain_loader(raw)))
        if any(document is None for document in documents) and len(documents) > 1:
            documents = [document for document in documents if document is not None]
        document = documents[0] if len(documents) == 1 else documents
        for _ in walk(document):
            pass
        return json.dumps(_plain(document)).encode()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise UnreadableConfigError(
            f"neither JSON nor YAML: {type(error).__name__}",
            where=name,
            remedy="give a pipeline configuration in JSON or YAML",
        ) from error


def _plain(value: Any) -> Any:  # noqa: ANN401 -- any YAML value; walked before, so not too deep
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value
