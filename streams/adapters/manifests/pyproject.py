"""pyproject.toml: dependencies by PEP 621 and 735, and by Poetry, PDM, uv, pixi, Hatch and Flit."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from agents.checks.packages.versions import canonical_name
from agents.domain.toml_reader import read_toml
from schemas.events import Installer, Package, Vcs
from streams.adapters.manifests.commands import installs_of
from streams.adapters.manifests.found import Found, InstallOptions, entries, table, texts
from streams.adapters.manifests.project_tasks import commands_of_project
from streams.adapters.manifests.requirements import declare, declare_files


def read(raw: bytes, options: InstallOptions) -> Found:
    """Return the requirements of a project, which need not be pinned: a lock does that."""
    document = read_toml(raw.decode("utf-8-sig"))
    found = read_document(document, "pyproject.toml")
    _read_setuptools(found, table(table(document.get("tool")).get("setuptools")), options)
    add_tasks(found, document, options, "pyproject.toml")
    return found


def add_tasks(
    found: Found, document: Mapping[str, Any], options: InstallOptions, place: str
) -> None:
    """Add what the tasks of a project install.

    Args:
        found: The result to add it to.
        document: The parsed pyproject.toml, or a tool's own file.
        options: The path of the file, and texts of files.
        place: The file's usual name.
    """
    problems: list[str] = []
    found.add_installed(installs_of(commands_of_project(document, problems), options, place))
    found.incomplete += [f"{place}: {problem}" for problem in problems]


def read_document(document: Mapping[str, Any], place: str) -> Found:
    """Return the requirements of a parsed pyproject.toml.

    Args:
        document: The document.
        place: Its name, for parts that can't be read.
    """
    found = Found(installer=Installer(name="pyproject"))
    project = table(document.get("project"))
    tools = table(document.get("tool"))
    declare(found, texts(table(document.get("build-system")).get("requires")), place)
    declare(found, texts(project.get("dependencies")), place)
    for group in table(project.get("optional-dependencies")).values():
        declare(found, texts(group), place)
    groups = table(document.get("dependency-groups"))
    for group in groups.values():
        declare(found, texts(group), place)
    read_uv_settings(found, table(tools.get("uv")), place)
    _read_poetry(found, table(tools.get("poetry")))
    _read_pdm(found, table(tools.get("pdm")), place)
    read_pixi(found, table(tools.get("pixi")))
    _read_flit(found, table(tools.get("flit")), place)
    declare(found, texts(table(tools.get("rye")).get("dev-dependencies")), place)
    _read_hatch(found, table(tools.get("hatch")), place)
    own = project.get("name") or table(tools.get("poetry")).get("name")
    if isinstance(own, str):
        # `acme[gpu]` among its own extras means the project itself.
        name = canonical_name(own)
        found.packages = [
            package for package in found.packages if canonical_name(package.name) != name
        ]
    return found


def _read_setuptools(found: Found, setuptools: Mapping[str, Any], options: InstallOptions) -> None:
    """Read the files that hold dynamic dependencies."""
    dynamic = table(setuptools.get("dynamic"))
    for fields in (
        dynamic.get("dependencies"),
        *table(dynamic.get("optional-dependencies")).values(),
    ):
        named = table(fields).get("file")
        paths = [named] if isinstance(named, str) else texts(named)
        declare_files(found, paths, options, "pyproject.toml")


def read_uv_settings(found: Found, uv: Mapping[str, Any], place: str) -> None:
    """Add what uv is told in a pyproject.toml or a uv.toml.

    Args:
        found: The result to add it to.
        uv: The settings.
        place: The file's name, for parts that can't be read.
    """
    declare(found, texts(uv.get("dev-dependencies")), place)
    # An override is installed in place of whatever asks for its project; a constraint never is.
    declare(found, texts(uv.get("override-dependencies")), place)
    urls = [(index.get("url"), bool(index.get("default"))) for index in entries(uv.get("index"))]
    _add_indexes(found, urls)
    for settings in (uv, table(uv.get("pip"))):
        _add_indexes(found, [(settings.get("index-url"), True)])
        _add_indexes(found, [(url, False) for url in texts(settings.get("extra-index-url"))])
        for link in texts(settings.get("find-links")):
            found.requirements.append(f"--find-links {shlex.quote(link)}")
    for host in texts(uv.get("allow-insecure-host")):
        found.requirements.append(f"--trusted-host {shlex.quote(host)}")
    _replace_sources(found, table(uv.get("sources")), {index.get("name"): index.get("url")
                     for index in entries(uv.get("index"))})  # fmt: skip


def _add_indexes(found: Found, urls: list[tuple[Any, bool]]) -> None:
    extra: list[str] = []
    for url, default in urls:
        if not isinstance(url, str) or not url:
            continue
        if default and found.index_url is None:
            found.index_url = url
        else:
            extra.append(url)
    found.extra_index_urls = (*found.extra_index_urls, *extra)


def _replace_sources(found: Found, sources: Mapping[str, Any], indexes: Mapping[Any, Any]) -> None:
    """Set the origins of packages from uv's sources: a path, a workspace, a repository."""
    by_name = {canonical_name(name): source for name, source in sources.items()}
    packages: list[Package] = []
    for package in found.packages:
        source = by_name.get(canonical_name(package.name))
        listed = entries(source if isinstance(source, list) else [source])
        packages.extend(
            msgspec.structs.replace(package, **_source(location, indexes))
            for location in listed or [{}]
        )
    found.packages = packages


def _source(source: Mapping[str, Any], indexes: Mapping[Any, Any]) -> dict[str, Any]:
    if source.get("workspace"):
        return {"direct": True, "editable": True, "url": "file:."}
    if path := source.get("path"):
        editable = bool(source.get("editable") or source.get("develop"))
        return {"direct": True, "editable": editable, "url": f"file:{path}"}
    if url := source.get("git"):
        commit = source.get("rev")
        asked = commit or source.get("tag") or source.get("branch") or "HEAD"
        full = commit if isinstance(commit, str) and len(commit) == 40 else None  # noqa: PLR2004 -- a SHA-1
        vcs = Vcs(url=url, commit_id=full, requested_revision=str(asked))
        return {"direct": True, "url": url, "vcs": vcs}
    if url := source.get("url"):
        return {"direct": True, "url": url}
    name = source.get("index") or source.get("source")
    index = indexes.get(name)
    return {"index_url": index} if isinstance(index, str) else {}


def _read_poetry(found: Found, poetry: Mapping[str, Any]) -> None:
    sources = entries(poetry.get("source"))
    _add_indexes(found, [(source.get("url"), source.get("priority") in {"primary", "default"}
                          or bool(source.get("default"))) for source in sources])  # fmt: skip
    indexes = {source.get("name"): source.get("url") for source in sources}
    tables = [table(poetry.get("dependencies")), table(poetry.get("dev-dependencies"))]
    tables += [table(table(group).get("dependencies")) for group in
               table(poetry.get("group")).values()]  # fmt: skip
    for dependencies in tables:
        for name, wanted in dependencies.items():
            if canonical_name(name) != "python":
                found.packages.extend(_poetry_packages(name, wanted, indexes))


def _poetry_packages(name: str, wanted: Any, indexes: Mapping[Any, Any]) -> Iterator[Package]:  # noqa: ANN401 -- any value of TOML
    for item in wanted if isinstance(wanted, list) else [wanted]:
        fields = _source(item, indexes) if isinstance(item, dict) else {}
        text = str(item.get("version") or "") if isinstance(item, dict) else str(item)
        pin = text.removeprefix("==").strip()
        exact = pin[:1].isdigit() and all(sign not in pin for sign in "*,|<>~^ ")
        yield Package(name=name, version=pin if exact else None, requested=True, **fields)


def read_pixi(found: Found, pixi: Mapping[str, Any]) -> None:
    """Add what pixi takes from a Python index, and where from; its other packages are conda's.

    Args:
        found: The result to add it to.
        pixi: The settings, of a pyproject.toml or a pixi.toml.
    """
    workspace = table(pixi.get("workspace")) or table(pixi.get("project"))
    channels = [
        str(table(channel).get("channel")) if isinstance(channel, dict) else str(channel)
        for channel in workspace.get("channels") or ()
    ]
    _add_indexes(found, [(channel, False) for channel in channels if "://" in channel])
    for part in (workspace, *pixi_parts(pixi)):
        chosen = table(part.get("pypi-options"))
        _add_indexes(found, [(chosen.get("index-url"), True)])
        _add_indexes(found, [(url, False) for url in texts(chosen.get("extra-index-urls"))])
        for link in entries(chosen.get("find-links")):
            if isinstance(link.get("url"), str):
                found.requirements.append(f"--find-links {shlex.quote(link['url'])}")
        for name, wanted in table(part.get("pypi-dependencies")).items():
            found.packages.extend(_poetry_packages(name, wanted, {}))


def pixi_parts(pixi: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the tables of pixi that list packages: general, by feature, and by platform."""
    for part in (pixi, *map(table, table(pixi.get("feature")).values())):
        yield part
        yield from map(table, table(part.get("target")).values())


def read_hatch_file(raw: bytes, options: InstallOptions) -> Found:
    """Return the requirements of a hatch.toml."""
    found = Found(installer=Installer(name="hatch"))
    document = read_toml(raw.decode("utf-8-sig"))
    _read_hatch(found, document, "hatch.toml")
    add_tasks(found, document, options, "hatch.toml")
    return found


def _read_hatch(found: Found, hatch: Mapping[str, Any], place: str) -> None:
    """Read what Hatch installs into its environments, and to build with hooks."""
    build = table(hatch.get("build"))
    parts: list[Any] = list(table(hatch.get("envs")).values())
    for owner in (build, *map(table, table(build.get("targets")).values())):
        parts += [owner, *table(owner.get("hooks")).values()]
    for part in map(table, parts):
        declare(found, texts(part.get("dependencies")), place)
        declare(found, texts(part.get("extra-dependencies")), place)


def _read_flit(found: Found, flit: Mapping[str, Any], place: str) -> None:
    """Read the requirements of a project of Flit's own metadata."""
    metadata = table(flit.get("metadata"))
    extras = table(metadata.get("requires-extra")).values()
    for listed in (metadata.get("requires"), metadata.get("dev-requires"), *extras):
        declare(found, texts(listed), place)


def _read_pdm(found: Found, pdm: Mapping[str, Any], place: str) -> None:
    for group in table(pdm.get("dev-dependencies")).values():
        declare(
            found, [requirement.removeprefix("-e ").strip() for requirement in texts(group)], place
        )
    _add_indexes(found, [(source.get("url"), source.get("name") == "pypi")
                         for source in entries(pdm.get("source"))])  # fmt: skip
    for source in entries(pdm.get("source")):
        host = urlsplit(str(source.get("url") or "")).hostname
        if source.get("verify_ssl") is False and host:
            found.requirements.append(f"--trusted-host {host}")
