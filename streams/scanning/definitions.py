"""Converts pipeline definitions, Dockerfiles and scripts to pipeline-run events."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import orjson

from agents.checks.artifacts.formats.json_comments import without_comments
from agents.checks.pipelines.config_file import pipeline_event_from_config
from agents.checks.pipelines.configuration import walk
from schemas.events import TYPE_PIPELINE_RUN, Event, PipelineRun
from streams.adapters.manifests.commands import (
    Command,
    dockerfile_instructions,
    installs_of,
    script_commands,
)
from streams.adapters.manifests.found import Found, InstallOptions
from streams.adapters.manifests.kinds import Kind
from streams.scanning.index_accounts import read_netrc, read_pypirc, read_tool_settings
from streams.scanning.targets import LOCAL_TENANT

_RUNS: Final = msgspec.json.Decoder(PipelineRun)

_ASSIGNS: Final = re.compile(r"(?:export\s+)?(?:[A-Za-z_]\w*=[^\s;|&]*\s*)+")
EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""A fixed time: the checks do not use it, and the same file gives the same findings."""
SCRIPTS: Final = frozenset({"dockerfile", "shell-script"})
"""Kinds that name packages and, in their commands, what a pipeline runs."""


def pipeline_event(kind: Kind, raw: bytes, name: str) -> Event[PipelineRun]:
    """Return the event of a run of a definition.

    Raises:
        UnreadableConfigError: it exceeds the limits, or is neither JSON nor YAML.
    """
    match kind.name:
        case "dockerfile":
            return _event(_dockerfile(raw.decode("utf-8-sig", "replace")), name)
        case "shell-script":
            text = raw.decode("utf-8-sig", "replace")
            return _event(
                {
                    f"line {command.line}": _assigned(command.text) or command.text
                    for command in script_commands(text)
                },
                name,
            )
        case "index-accounts":
            read = read_netrc if name.endswith("netrc") else read_pypirc
            return _event(read(raw), name)
        case "index-tool-settings":
            return _event(read_tool_settings(raw), name)
        case "pipeline-config":
            return _configured(raw, name)
        case "devcontainer":
            raw = without_comments(raw)
    return pipeline_event_from_config(raw, name=name, time=EPOCH, tenant=LOCAL_TENANT)


def _dockerfile(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in dockerfile_instructions(text):
        value: Any = command.text
        if command.text.startswith("["):
            try:
                value = orjson.loads(command.text)
            except orjson.JSONDecodeError:  # a shell command
                value = command.text
        if name in {"ENV", "ARG"} and "=" in command.text:
            value = _pairs(command.text)
        elif name == "ADD" and (addresses := _added(value)):
            value = {"instruction": value, "data": addresses}
        found[f"{name} in line {command.line}"] = value
    return found


def _added(value: str | list[Any]) -> list[str]:
    """Return the addresses that ADD fetches; none if a checksum fixes the content."""
    words = value.split() if isinstance(value, str) else [str(word) for word in value]
    if any(word.startswith("--checksum=") for word in words):
        return []
    # The last word is the place in the image.
    return [word for word in words[:-1] if "://" in word and not word.startswith("--")]


def _assigned(command: str) -> dict[str, str]:
    """Return the variables that a command of a shell sets, when that is all it does."""
    return _pairs(command) if _ASSIGNS.fullmatch(command.strip()) else {}


def _pairs(text: str) -> dict[str, str]:
    pairs = (word.partition("=") for word in text.split() if "=" in word)
    return {key: given.strip("\"'") for key, _, given in pairs}


def _configured(raw: bytes, name: str) -> Event[PipelineRun]:
    """Return the event of a definition of our own: a run with its configuration, or that alone."""
    event = pipeline_event_from_config(raw, name=name, time=EPOCH, tenant=LOCAL_TENANT)
    written = bytes(event.data.config)
    document = orjson.loads(written)
    if not isinstance(document, dict) or not isinstance(document.get("config"), dict):
        return event
    try:
        run = _RUNS.decode(written)
    except msgspec.ValidationError:  # fields of the same names with another meaning
        return event
    run = run if run.pipeline else msgspec.structs.replace(run, pipeline=name)
    return msgspec.structs.replace(event, data=run)


def _event(config: dict[str, Any], name: str) -> Event[PipelineRun]:
    return Event(
        id=name,
        source="//scan",
        type=TYPE_PIPELINE_RUN,
        subject=f"pipeline:{name}",
        time=EPOCH,
        tenantid=LOCAL_TENANT,
        data=PipelineRun(pipeline=name, state="started", config=msgspec.Raw(orjson.dumps(config))),
    )


def installed_by(event: Event[PipelineRun], options: InstallOptions, place: str) -> Found:
    """Return the packages that the commands of a definition install.

    Args:
        event: Its event.
        options: The files that the commands may name.
        place: The definition's name.
    """
    return installs_of(_commands(orjson.loads(bytes(event.data.config))), options, place)


def _commands(config: Any) -> Iterator[Command]:  # noqa: ANN401 -- any JSON document
    for node in walk(config):
        if isinstance(node.value, str) and not node.path.endswith("]"):
            yield Command(node.value, 0)
        elif isinstance(node.value, list):
            words = [item for item in node.value if isinstance(item, str)]
            for word in words:
                if " " in word:
                    yield Command(word, 0)
            if words and len(words) == len(node.value):
                yield Command(" ".join(word for word in words if " " not in word), 0)
