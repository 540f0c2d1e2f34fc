"""Configurations in YAML that list packages for pip at a customary place.

pre-commit's hooks, Cog, BentoML, Truss, and Ray's runtime environments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from agents.checks.packages.requirements import read_requirements
from schemas.events import Installer
from streams.adapters.manifests.commands import Command, installs_of
from streams.adapters.manifests.found import Found, InstallOptions, entries, table, texts, word
from streams.adapters.manifests.nested_packages import add_runtime, listed_inside
from streams.adapters.manifests.requirements import declare, declare_files
from streams.adapters.manifests.yaml_text import read_yaml

_OTHER_LANGUAGES: Final = frozenset({"node", "ruby", "golang", "rust", "dotnet", "conda", "lua"})
_RUN_KEYS: Final = frozenset({"run", "build_commands", "setup_commands", "pre_install"})
_Listed = tuple[list[str], list[str]]
"""Requirements, and files of them."""


def _pre_commit(document: Mapping[str, Any]) -> Iterator[_Listed]:
    for repository in entries(document.get("repos")):
        for hook in entries(repository.get("hooks")):
            if hook.get("language") in _OTHER_LANGUAGES:
                continue
            # A hook of another language does not say so here: `eslint@9` is no requirement.
            yield [text for text in texts(hook.get("additional_dependencies")) if _is_pip(text)], []


def _entries(document: Mapping[str, Any]) -> Iterator[Command]:
    """Yield the commands of local hooks, which pre-commit runs as they are."""
    for repository in entries(document.get("repos")):
        if repository.get("repo") != "local":
            continue
        for hook in entries(repository.get("hooks")):
            words = [str(hook.get("entry") or ""), *texts(hook.get("args"))]
            yield Command(" ".join(words), 0)


def _is_pip(text: str) -> bool:
    return all(line.error is None for line in read_requirements(text).lines)


def _cog(document: Mapping[str, Any]) -> Iterator[_Listed]:
    build = table(document.get("build"))
    yield texts(build.get("python_packages")), _one(build.get("python_requirements"))


def _bento(document: Mapping[str, Any]) -> Iterator[_Listed]:
    python = table(document.get("python"))
    yield texts(python.get("packages")), _one(python.get("requirements_txt"))


def _truss(document: Mapping[str, Any]) -> Iterator[_Listed]:
    yield texts(document.get("requirements")), _one(document.get("requirements_file"))


def _one(value: Any) -> list[str]:  # noqa: ANN401 -- any value of YAML
    named = word(value)
    return [named] if named else []


def _commands(document: Mapping[str, Any]) -> Iterator[Command]:
    """Yield the commands that build an image or set up a machine, at their customary places."""
    for part in (document, *(value for value in document.values() if isinstance(value, dict))):
        for key in _RUN_KEYS & part.keys():
            listed = part[key] if isinstance(part[key], list) else [part[key]]
            for entry in listed:
                text = word(entry.get("command") if isinstance(entry, dict) else entry)
                if text:
                    yield Command(text, 0)


def _reader(
    name: str, listed: Callable[[Mapping[str, Any]], Iterator[_Listed]]
) -> Callable[[bytes, InstallOptions], Found]:
    def read(raw: bytes, options: InstallOptions) -> Found:
        found = Found(installer=Installer(name=name))
        document = table(read_yaml(raw))
        place = options.path or name
        for requirements, files in listed(document):
            declare(found, requirements, place)
            declare_files(found, files, options, place)
        commands = [*_commands(document), *_entries(document)]
        found.add_installed(installs_of(commands, options, place))
        return found

    return read


read_pre_commit: Final = _reader("pre-commit", _pre_commit)
read_cog: Final = _reader("cog", _cog)
read_bento: Final = _reader("bentoml", _bento)
read_truss: Final = _reader("truss", _truss)


def read_ray(raw: bytes, options: InstallOptions) -> Found:
    """Return the packages of a runtime environment of Ray, or of a file that holds some."""
    document = table(read_yaml(raw))
    place = options.path or "ray"
    found = Found(installer=Installer(name="ray"))
    add_runtime(found, document, options, place)
    found.add_installed(listed_inside(document, options, place))
    found.add_installed(installs_of(_commands(document), options, place))
    return found
