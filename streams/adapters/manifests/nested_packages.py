"""Packages that definitions of jobs list inside, for pip on the machines that run them.

Ray's runtime environments, libraries and environments of Databricks, and the environments of conda
that jobs of Azure ML hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agents.checks.pipelines.configuration import walk
from schemas.errors import TidewatchError
from schemas.events import Installer
from streams.adapters.manifests.conda import add_environment
from streams.adapters.manifests.found import Found, InstallOptions, entries, table, texts, word
from streams.adapters.manifests.requirements import declare, declare_files
from streams.adapters.manifests.yaml_text import read_yaml

RUNTIME: Final = ("runtime_env", "runtimeEnv", "runtimeEnvYAML")
"""Names of Ray's runtime environments, in its jobs, Serve's applications and Kubernetes."""
_CONDA: Final = ("conda_file", "conda_dependencies", "conda")


def listed_inside(config: Any, options: InstallOptions, place: str) -> Found:  # noqa: ANN401 -- any JSON document
    """Return the packages that a definition lists at customary places, however deep.

    Args:
        config: The definition.
        options: The files that it may name.
        place: The definition's name.

    Raises:
        UnreadableConfigError: there are more values than are walked.
    """
    found = Found(installer=Installer(name="pip"))
    for node in walk(config):
        if not isinstance(node.value, dict):
            continue
        for name in RUNTIME:
            if name in node.value:
                add_runtime(found, _document(node.value[name]), options, place)
        for name in _CONDA:
            environment = table(node.value.get(name))
            if isinstance(environment.get("dependencies"), list):
                add_environment(found, environment, options)
        for library in entries(node.value.get("libraries")):
            package = table(library.get("pypi"))
            declare(found, _one(package.get("package")), place)
            found.extra_index_urls += tuple(_one(package.get("repo")))
        if "environment_key" in node.value:
            declare(found, texts(table(node.value.get("spec")).get("dependencies")), place)
    return found


def add_runtime(
    found: Found, environment: Mapping[str, Any], options: InstallOptions, place: str
) -> None:
    """Add the packages of a runtime environment of Ray.

    Args:
        found: The result to add them to.
        environment: The runtime environment.
        options: The files that it may name.
        place: The name of the file that holds it.

    Source: Ray's reference of runtime environments: `pip` and `uv` are a list, a file, or a
    mapping with `packages`; `conda` is an environment.
    """
    for installer in ("pip", "uv"):
        wanted = environment.get(installer)
        if isinstance(wanted, dict):
            wanted = wanted.get("packages")
        declare(found, texts(wanted), place)
        declare_files(found, _one(wanted), options, place)


def _document(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 -- any JSON value
    """Return a mapping, or the one that a text in YAML stands for; else none."""
    if isinstance(value, str):
        try:
            return table(read_yaml(value.encode("utf-8", "replace")))
        except TidewatchError:
            return {}
    whole = table(value)
    return table(whole["document"]) if whole.keys() == {"text", "document"} else whole


def _one(value: Any) -> Iterator[str]:  # noqa: ANN401 -- any value of YAML
    if isinstance(value, str) and (named := word(value)):
        yield named
