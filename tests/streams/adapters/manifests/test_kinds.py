"""The table of manifests: each kind has what reads it, and hostile content costs nothing."""

from __future__ import annotations

import inspect
import itertools
import re
from contextlib import suppress

import pytest

from schemas.errors import UnreadableRecordError
from streams.adapters import ADAPTERS, adapt
from streams.adapters.manifests.found import InstallOptions
from streams.adapters.manifests.kinds import (
    KINDS,
    Family,
    ManifestContent,
    _customary,
    kind_of_content,
    kinds_of,
    may_be_manifest,
)
from streams.adapters.manifests.neighbours import Neighbours
from tests.each import each

NOW = {"tenant": "t", "system": "h1", "received_ms": 1_795_000_000_000}
PACKAGES = [kind for kind in KINDS if kind.family is Family.PACKAGES]
HOSTILE = [
    b"",
    b"\0" * 100,
    b"\xff\xfe",
    b"{",
    b"[" * 100_000,
    b"{" * 100_000,
    b"a: " + b"[" * 60_000,
    b"- " * 60_000,
    b'{"bomFormat": "CycloneDX", "components": [null, 3, {"purl": {}}]}',
    b'{"spdxVersion": 3, "packages": {"a": 1}, "relationships": [[]]}',
    b'{"artifacts": 3, "descriptor": []}',
    b"[[package]]\nname = 3\n[metadata]\ncontent-hash = 1\nlock_version = 1\n",
    b"version = 1\nrequires-python = 3\n[[package]]\nname = []\n",
    b"a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n" * 3,
    b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>",
    b"RUN pip install 'unclosed\n",
    b"# /// script\n# dependencies = [\n# ///\n",
    b"dependencies: {pip: 3}\n",
    b"package: [{name: 1, manager: pip, hash: [], version: {}}]\nmetadata: 3\n",
]


@each("kind", PACKAGES)
def test_each_kind_of_packages_has_a_reader_and_an_adapter(kind):
    assert len(inspect.signature(kind.read()).parameters) == 2
    assert kind.name in ADAPTERS


@pytest.mark.parametrize("kind", PACKAGES, ids=[kind.name for kind in PACKAGES])
def test_hostile_content_is_refused_or_read_and_never_ends_the_program(kind):
    for raw in HOSTILE:
        with suppress(UnreadableRecordError):
            assert all(event.tenantid == "t" for event in adapt(kind.name, raw, **NOW))


def test_hostile_content_is_classified_without_failing():
    for raw in HOSTILE:
        for path in ("x.json", "x.yaml", "requirements.txt", "x.py", "bom.xml", "x"):
            assert isinstance(kinds_of(path, ManifestContent(raw)), list)


def test_a_wrong_kind_is_refused_with_the_likely_one():
    package = b'[[package]]\nname = "a"\nversion = "1"\n'
    lock = package + b'[metadata]\npython-versions = "*"\ncontent-hash = "x"\n'
    with pytest.raises(UnreadableRecordError, match="poetry-lock"):
        adapt("requirements", lock, **NOW)
    with pytest.raises(UnreadableRecordError, match="looks like requirements"):
        adapt("uv-lock", b"numpy==2.0.0\nscipy==1.0\n", **NOW)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"numpy==2.0.0\n", "requirements"),
        (b"just some words\nin lines\n", None),
        (b"MIT License\n\nCopyright (c) 2026\n", None),
        (b"FOO=bar\n", None),
        (b'{"a": 1}', None),
    ],
)
def test_a_manifest_is_recognised_by_content_alone(text, kind):
    found = kind_of_content(text)
    assert (found.name if found else None) == kind


def test_large_documents_are_recognised_by_their_ends(tmp_path):
    file = tmp_path / "bom.json"
    filler = '{"type": "file", "name": "x"},' * 100_000
    file.write_text('{"components": [' + filler + '{}], "bomFormat": "CycloneDX"}')
    raw = file.read_bytes()
    (kind,) = kinds_of(str(file), ManifestContent(raw[:1000] + raw[-1000:], file.read_bytes))
    assert kind.name == "cyclonedx"


def test_neighbours_are_within_their_root_and_text(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").write_text("x")
    (root / "inside").write_text("y")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "pipe").mkdir()
    files = Neighbours(root)
    assert files["inside"] == "y"
    for path in ("../outside", "link", str(tmp_path / "outside"), "pipe", "gone", "a\0b"):
        assert files.get(path) is None
    assert list(files) == ["inside"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("cases.toml", '# a case\n[[case]]\nx = """\nlock-version = "1.0"\n[[packages]]\n"""\n'),
        ("cases.toml", '[[case]]\nx = """\npackage:\nmetadata:\n  manager: pip\n"""\n'),
        ("notes.md", "- pip install torch\n"),
        ("train.py", "base_model = 1\ndatasets = 2\n"),
        ("README", "Note: pip install torch\n"),
        ("labels.txt", "cat\ndog\n"),
        ("config.yaml", "site_name: x\n"),
    ],
)
def test_text_about_manifests_is_no_manifest(path, text):
    assert kinds_of(path, ManifestContent(text.encode())) == []


FOLDERS = (
    "", "/a/b.c/", ".devcontainer/", ".github/workflows/", "x/.hydra/", "reqs/", "requirements/x/",
    "a/.argo/", ".condarc.d/", ".dvc/",
)  # fmt: skip
STEMS = (
    "", "x", "requirements", "dev-requirements", "myrequirements", "constraints-x", "pip-freeze",
    "freezed", "pylock", "pylock.dev", "poetry", "pdm.x", "uv", "Pipfile", "pyproject", "setup",
    "a.conda-lock", "environment", "conda-env-x", "myenv", "python_env", "Dockerfile",
    "x.Dockerfile", "Containerfile-dev", "action", ".gitlab-ci", "x-gitlab-ci-y",
    "azure-pipelines-2", "cloudbuild", ".travis", "dvc", "MLproject", "docker-compose",
    "compose.dev", "values-dev", "package", "package-lock", "yarn", "go", "Cargo", "pom",
    "devcontainer", "build.gradle", "Gemfile", "composer", "packages.lock", "pixi",
    "Jenkinsfile-x", ".env", "bun", "pip", ".pip", ".condarc", "mambarc", ".pydistutils",
    ".pypirc", "pdm", "hatch", "tox", ".pre-commit-config", "cog", "bentofile", "runtime_env",
    "meta", "GNUmakefile", "justfile", "Singularity", "Procfile", "poe_tasks", "noxfile", "spack",
    "buildout", "WORKSPACE", "Snakefile", "Vagrantfile", "kustomization", "Taskfile", "databricks",
    ".npmrc", "config",
)  # fmt: skip
SUFFIXES = (
    "", ".txt", ".in", ".lock", ".toml", ".cfg", ".py", ".ipynb", ".zsh", ".yaml", ".YML", ".json",
    ".mod", ".lockfile", ".sum", ".xml", ".kts", ".lockb", ".config", ".conf", ".ini",
    ".pyc", ".txt\n", ".", ".mk", ".just", ".def", ".bat", ".nix", ".bazel", ".nf", ".wdl", ".tf",
)  # fmt: skip


def test_a_first_look_at_a_path_passes_over_no_kind():
    """One search separates most paths from those that a pattern of the table matches."""
    patterns = [(re.compile(kind.paths, re.IGNORECASE), kind) for kind in KINDS if kind.paths]
    met = set()
    for parts in itertools.product(FOLDERS, STEMS, SUFFIXES):
        path = "".join(parts)
        expected = tuple(kind for pattern, kind in patterns if pattern.search(path))
        assert _customary(path) == expected, path
        met.update(kind.name for kind in expected)
    assert met == {kind.name for _, kind in patterns}


def test_images_and_weights_are_not_read_for_a_manifest():
    for path in ("a/model.safetensors", "x.png", "weights.bin", "a.b/c.pt"):
        assert not may_be_manifest(path)
    for path in ("a/x.json", "x.txt", "LICENSE", "a.b/c", "x.YAML", "notes.jsonld"):
        assert may_be_manifest(path)


def _names(levels, uses):
    """Return a setup.py whose requirement is a name that stands for very many others."""
    lines = ["a0 = 'torch'"]
    for level in range(1, levels):
        held = "{a" + str(level - 1) + "}"
        lines.append(f"a{level} = f'{held * uses}'")
    return "\n".join([*lines, f"setup(install_requires=[a{levels - 1}])"]).encode()


_VALUE = b"x" * 990
EXPANDING = (
    ("setup-py", _names(9, 500), "known at run time only"),
    ("justfile", b"A := '" + _VALUE + b"'\nb:\n  echo {{A}}\n" * 40_000, "too long"),
    (
        "makefile",
        b"A = " + _VALUE + b"\nb:\n" + b"\techo $(A) $(A) $(A) $(A)\n" * 20_000,
        "not replaced from here on",
    ),
)


@each(("name", "raw", "reason"), EXPANDING)
def test_names_that_stand_for_ever_more_text_are_not_written_out(name, raw, reason):
    (kind,) = [kind for kind in KINDS if kind.name == name]
    found = kind.read()(raw, InstallOptions())
    assert any(reason in said for said in (*found.incomplete, *found.unsupported))


def test_comments_that_never_end_hide_no_command_and_cost_nothing():
    (kind,) = [kind for kind in KINDS if kind.name == "windows-script"]
    raw = b"<# a\nremark #>\n" + b"<#\n" * 300_000 + b"pip install torch==2.9.0\n"
    found = kind.read()(raw, InstallOptions())
    assert [package.name for package in found.packages] == ["torch"]
