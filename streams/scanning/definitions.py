"""Converts pipeline definitions, Dockerfiles and scripts to pipeline-run events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import orjson

from agents.checks.artifacts.formats.json_comments import without_comments
from agents.checks.artifacts.formats.templates import has_action
from agents.checks.pipelines.config_file import pipeline_event_from_config
from agents.checks.pipelines.configuration import UnreadableConfigError, walk
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.script import commands_of
from agents.domain.toml_reader import read_toml
from schemas.errors import TidewatchError
from schemas.events import TYPE_PIPELINE_RUN, Event, PipelineRun
from streams.adapters.manifests.command_files import COMMANDS, decoded
from streams.adapters.manifests.commands import Command, dockerfile_instructions, installs_of
from streams.adapters.manifests.found import Found, InstallOptions
from streams.adapters.manifests.ini_text import read_ini
from streams.adapters.manifests.kinds import Kind
from streams.adapters.manifests.nested_packages import listed_inside
from streams.adapters.manifests.notebook import tokens_of
from streams.adapters.manifests.noxfile import nox_commands
from streams.adapters.manifests.project_tasks import commands_of_project
from streams.adapters.manifests.python_constants import parsed
from streams.adapters.manifests.yaml_text import read_yaml
from streams.scanning.index_accounts import (
    read_dvc,
    read_netrc,
    read_npmrc,
    read_pypirc,
    read_tool_settings,
)
from streams.scanning.targets import LOCAL_TENANT

_RUNS: Final = msgspec.json.Decoder(PipelineRun)

_DOCUMENTS: Final = 1000
_ENTRY: Final = re.compile(r"(?m)^\s*(?:- )*[\w.\"'/-]+:(?:\s|$)")
"""A line of a document in YAML."""
_LINE: Final = re.compile(r"\s*(?:- )?([A-Za-z_][\w.-]*):[ \t]+(\S.*?)\s*")
_SEARCHED: Final = 4 << 20
"""Bytes of a definition that is searched for hostile commands alone."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][\w.-]*")
_ASSIGNS: Final = re.compile(r"(?:export\s+)?(?:[A-Za-z_]\w*=[^\s;|&]*\s*)+")
EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""A fixed time: the checks do not use it, and the same file gives the same findings."""
NESTED: Final = frozenset({"kustomize", "kubernetes", "argo", "kserve", "tekton"})
"""Kinds whose values may be further documents, such as patches and the files of a ConfigMap."""


def pipeline_event(kind: Kind, raw: bytes, name: str) -> Event[PipelineRun]:
    """Return the event of a run of a definition.

    Raises:
        UnreadableConfigError: it exceeds the limits, or is neither JSON nor YAML.
    """
    match kind.name:
        case "dockerfile":
            return _event(_dockerfile(raw.decode("utf-8-sig", "replace")), name)
        case "noxfile":
            return _event(_commanded(nox_commands(parsed(raw, kind.name), [])), name)
        case "tox-ini":
            return _event(read_ini(raw, "tox.ini"), name)
        case "pyproject" | "hatch" | "tox-toml" | "pixi":
            document = read_toml(raw.decode("utf-8-sig"))
            return _event(_commanded(commands_of_project(document, [])), name)
        case listed if listed in COMMANDS:
            return _event(_commanded(COMMANDS[listed](decoded(raw), [])), name)
        case "index-accounts":
            read = read_netrc if name.endswith("netrc") else read_pypirc
            return _event(read(raw), name)
        case "environment-file":
            return _event(_environment(decoded(raw)), name)
        case "npm-settings":
            return _event(read_npmrc(raw), name)
        case "dvc-settings":
            return _event(read_dvc(raw), name)
        case "notebook":
            return _event(tokens_of(raw), name)
        case "index-tool-settings":
            return _event(read_tool_settings(raw), name)
        case "pipeline-config":
            return _configured(raw, name)
        case "devcontainer":
            raw = without_comments(raw)
        case nesting if nesting in NESTED:
            return _unfolded(
                pipeline_event_from_config(raw, name=name, time=EPOCH, tenant=LOCAL_TENANT)
            )
    return pipeline_event_from_config(raw, name=name, time=EPOCH, tenant=LOCAL_TENANT)


def template_event(raw: bytes, name: str) -> Event[PipelineRun] | None:
    """Return the event of a definition that is a template, by its lines; None if it is none.

    A template of Helm or Jinja is no YAML until it is rendered.
    """
    text = raw.decode("utf-8-sig", "replace")
    if not has_action(text):
        return None
    found: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            entry = _LINE.fullmatch(line)
            value = entry[2].strip("\"'") if entry else line.strip()
            found[f"line {number}"] = {entry[1]: value} if entry else value
    return _event(found, name)


def hostile_lines(raw: bytes, name: str) -> Event[PipelineRun] | None:
    """Return the event of a text's commands that are hostile in any language; None without any.

    Args:
        raw: A definition that nothing here reads otherwise.
        name: Its name.
    """
    if len(raw) > _SEARCHED or b"\0" in raw:
        return None
    found = {
        f"line {command.line}": command.text.strip()
        for command in commands_of(raw.decode("utf-8-sig", "replace"))
        if command.risk >= CommandRisk.UNKNOWN_SCRIPT
    }
    return _event(found, name) if found else None


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


def _commanded(commands: Iterable[Command]) -> dict[str, Any]:
    """Return commands by their lines: variables that one sets as such, several of a line a list."""
    found: dict[str, Any] = {}
    for number, command in enumerate(commands):
        key = f"line {command.line}" if command.line else f"command {number + 1}"
        while key in found:
            key += "'"
        found[key] = _assigned(command.text) or command.text
    return found


def _environment(text: str) -> dict[str, Any]:
    """Return the variables of a .env file, and its other lines as commands."""
    found: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip().removeprefix("export ").strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        if equals and _VARIABLE.fullmatch(name.strip()):
            found[f"line {number}"] = {name.strip(): value.strip().strip("\"'")}
        else:
            found[f"line {number}"] = stripped
    return found


def _unfolded(event: Event[PipelineRun]) -> Event[PipelineRun]:
    """Return an event whose configuration has documents in YAML or JSON in place of their texts."""
    config = orjson.loads(bytes(event.data.config))
    opened = _opened(config, [_DOCUMENTS])
    data = msgspec.structs.replace(event.data, config=msgspec.Raw(orjson.dumps(opened)))
    return msgspec.structs.replace(event, data=data)


def _opened(value: Any, left: list[int]) -> Any:  # noqa: ANN401 -- any JSON value; no deeper than a configuration
    if isinstance(value, dict):
        return {key: _opened(item, left) for key, item in value.items()}
    if isinstance(value, list):
        return [_opened(item, left) for item in value]
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        _spend(left)
        try:
            inner = orjson.loads(value)
            for _ in walk(inner):
                pass
            return _opened(inner, left)  # what a compiled pipeline hands on: no text of a command
        except (UnreadableConfigError, orjson.JSONDecodeError):
            pass
    if isinstance(value, str) and "\n" in value.strip() and _ENTRY.search(value):
        _spend(left)
        try:
            inner = read_yaml(value.encode("utf-8", "replace"))
            for _ in walk(inner):
                pass
            if isinstance(inner, dict | list):
                return {"text": value, "document": orjson.loads(orjson.dumps(inner, default=str))}
        except (TidewatchError, orjson.JSONEncodeError, RecursionError):
            pass  # a script, or another text: its lines are judged as commands
    return value


def _spend(left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise UnreadableConfigError(f"more than {_DOCUMENTS} documents within it")


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
    """Return the packages that a definition lists, and those that its commands install.

    Args:
        event: Its event.
        options: The files that the commands may name.
        place: The definition's name.
    """
    config = orjson.loads(bytes(event.data.config))
    found = listed_inside(config, options, place)
    found.add_installed(installs_of(_commands(config), options, place))
    return found


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
