"""Tasks of a Python project: commands that poe, PDM, pixi, Hatch, taskipy, Rye and others run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agents.domain.toml_reader import read_toml
from streams.adapters.manifests.commands import Command
from streams.adapters.manifests.found import table

_MAX_DEPTH: Final = 20
_WORDS_OF_PEOPLE: Final = frozenset({"help", "description", "doc", "env", "envfile", "cwd"})
"""Fields of a task that are not run."""
_HATCH: Final = ("scripts", "pre-install-commands", "post-install-commands")
_WHEELS: Final = ("before-all", "before-build", "before-test", "test-command")
_TOX: Final = ("commands", "commands_pre", "commands_post", "install_command")


def task_commands(text: str, problems: list[str]) -> list[Command]:
    """Return the commands of the tasks in a pyproject.toml, or in a tool's own file.

    Args:
        text: The file.
        problems: Takes the parts that were not read.

    Raises:
        tomllib.TOMLDecodeError: it is no TOML.
    """
    return commands_of_project(read_toml(text), problems)


def commands_of_project(document: Mapping[str, Any], problems: list[str]) -> list[Command]:
    """Return the commands of the tasks in a parsed pyproject.toml, or in a tool's own file.

    Args:
        document: The file.
        problems: Takes the parts that were not read.
    """
    return [Command(line, 0) for line in _lines(document, problems)]


def _lines(document: Mapping[str, Any], problems: list[str]) -> Iterator[str]:
    for tasks in _tasks(document):
        yield from _texts(tasks, problems)


def _tasks(document: Mapping[str, Any]) -> Iterator[Any]:
    tools = table(document.get("tool"))
    yield document.get("tasks")  # poe_tasks.toml, pixi.toml
    yield table(tools.get("poe")).get("tasks")
    yield table(tools.get("pdm")).get("scripts")
    yield table(tools.get("taskipy")).get("tasks")
    yield table(tools.get("rye")).get("scripts")
    for pixi in (table(tools.get("pixi")), document):
        yield pixi.get("tasks") if pixi is not document else None
        for part in (*_tables(pixi.get("feature")), *_tables(pixi.get("target"))):
            yield part.get("tasks")
    for hatch in (table(tools.get("hatch")), document):
        for environment in _tables(hatch.get("envs")):
            yield from (environment.get(name) for name in _HATCH)
    wheels = table(tools.get("cibuildwheel"))
    for part in (wheels, *_tables(wheels)):
        yield from (part.get(name) for name in _WHEELS)
    for tox in (table(tools.get("tox")), document):
        parts = (table(tox.get("env_run_base")), *_tables(tox.get("env")))
        for part in parts:
            yield from (part.get(name) for name in _TOX)


def _tables(value: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 -- any value of TOML
    yield from (item for item in table(value).values() if isinstance(item, dict))


def _texts(value: Any, problems: list[str], depth: int = 0) -> Iterator[str]:  # noqa: ANN401 -- any value of TOML
    """Yield the texts of tasks; a list of words is one command."""
    if depth > _MAX_DEPTH:
        problems.append(f"tasks nested deeper than {_MAX_DEPTH} are not read")
    elif isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in _WORDS_OF_PEOPLE:
                yield from _texts(inner, problems, depth + 1)
    elif isinstance(value, list):
        words = [item for item in value if isinstance(item, str)]
        if words and not any(" " in word for word in words):
            yield " ".join(words)
        else:
            yield from words
        for inner in value:
            if not isinstance(inner, str):
                yield from _texts(inner, problems, depth + 1)
