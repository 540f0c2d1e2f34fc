"""The table of manifests: their names, how to recognise their content, and their readers.

This is the one place that lists them. It imports no reader: a scan of models needs none.
Over 500 lines, since it is one table.
"""
# ruff: noqa: E501 -- a table reads best with an entry a line

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from functools import cached_property, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, AnyStr, Final

import msgspec
import orjson

from agents.domain.late_pattern import late_pattern

if TYPE_CHECKING:
    from streams.adapters.manifests.found import ReadManifest

HEAD: Final = 64 << 10
"""Bytes at either end of a large file from which its kind is detected."""
SMALL: Final = 1 << 20
"""A file up to this size is read as a whole."""


class Family(StrEnum):
    """How a manifest is processed."""

    PACKAGES = "packages"
    """It names packages."""
    PIPELINE = "pipeline"
    """It defines what a pipeline runs."""
    UNSUPPORTED = "unsupported"
    """It is recognised, and nothing here checks it."""


_OPENINGS: Final = frozenset((b"{", b"["))


class ManifestContent:
    """The content of a file, as needed to detect its kind."""

    def __init__(self, raw: bytes, whole: Callable[[], bytes] | None = None) -> None:
        """Take a whole file, or both ends of a large one.

        Args:
            raw: The bytes.
            whole: Reads the whole file, if `raw` is not all of it.
        """
        self._raw = raw
        self._load = whole
        head = raw[: 2 * HEAD]
        if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            text = head.decode("utf-16", "replace")
        else:
            text = "" if b"\0" in head else head.decode("utf-8-sig", "replace")
        self.text = text
        """The text, or the empty string if the content is not text."""
        begin = raw if raw[:1] in _OPENINGS else raw.lstrip(b"\xef\xbb\xbf \t\r\n")
        self.may_be_json = begin[:1] in _OPENINGS
        """Whether it begins as a JSON object or array does."""
        self.may_be_list = begin[:1] == b"["
        """Whether it begins as a JSON array does."""

    @property
    def is_large(self) -> bool:
        """Whether only the ends were read."""
        return self._load is not None

    @cached_property
    def keys(self) -> frozenset[str]:
        """The top-level names of a YAML or TOML text."""
        return frozenset(_KEY.findall(self.text))

    def has_keys(self, *names: str) -> bool:
        """Return whether it has each of some top-level names."""
        for name in names:  # most texts contain none, and are not searched for names then
            if name not in self.text:
                return False
        return self.keys.issuperset(names)

    @cached_property
    def json(self) -> Any:  # noqa: ANN401 -- any JSON document
        """The document of a JSON text, None if it is not JSON."""
        if not self.may_be_json:
            return None
        whole = self._raw if self._load is None else self._load()
        try:
            return orjson.loads(whole.removeprefix(b"\xef\xbb\xbf"))
        except (orjson.JSONDecodeError, RecursionError):
            return None

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The document of a JSON text, if it is an object."""
        return self.json if isinstance(self.json, dict) else {}

    def mentions(self, *words: bytes) -> bool:
        """Return whether it contains one of some texts: cheaper than parsing the document."""
        return _any_in(words, self._raw)

    def names(self, *words: bytes) -> bool:
        """Return whether it may be JSON with one of some names, in their quotes."""
        return self.may_be_json and _any_in(words, self._raw)


def _any_in(parts: Iterable[AnyStr], whole: AnyStr) -> bool:
    for part in parts:  # noqa: SIM110 -- of every file of a folder: any() takes three times as long
        if part in whole:
            return True
    return False


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of manifest."""

    name: str
    family: Family = Family.PACKAGES
    paths: str | None = None
    """Pattern of its customary paths, case-insensitive."""
    content: Callable[[ManifestContent], bool] | None = None
    """Recognises it by content; with `named_only`, the path must match as well."""
    content_paths: str = ""
    """Pattern of the paths for which the content alone suffices; by default any."""
    named_only: bool = False
    """Whether the content alone does not suffice."""
    reader: str | None = None
    """`module:function` that reads it, for packages."""
    scanned: bool = False
    """Whether its bytes are also scanned as an artifact: it may contain more than is read here."""
    runs: bool = False
    """Whether it also has commands that a pipeline runs, if it names packages."""
    remedy: str | None = None
    """The remedy, if nothing checks it."""

    def read(self) -> ReadManifest:
        """Import and return its reader."""
        assert self.reader is not None
        module, _, name = self.reader.partition(":")
        reader: ReadManifest = getattr(import_module(f"{__package__}.{module}"), name)
        return reader


_FIRST: Final = 16 << 10
"""Characters that indicate a list of requirements."""
_REQUIREMENT_SIGNS: Final = ("==", ">=", "~=", " @ ", "--")
"""Characters that bare words don't have."""
_TABLE: Final = late_pattern(r"(?m)^\[\[?[^\[\]\n]+\]\]?")
_KEY: Final = late_pattern(r"^[\"']?([A-Za-z_][\w.-]*)[\"']?\s*(?::(?=\s|$)|=)", re.MULTILINE)
_REQUIREMENT: Final = late_pattern(
    r"[A-Za-z0-9][\w.-]*(\[[\w ,.-]*\])?\s*(===?|~=|!=|[<>]=?|@\s|;|$)|-(r|c|e|i|f)\s|--[a-z-]+"
)
_SETTINGS: Final = late_pattern(
    r"(?im)^[\s\-\"']*(hf_)?(trust[-_]remote[-_]code|model_name_or_path|base_model|weights_only|"
    r"allow_pickle|pretrained_model_name_or_path|dataset_name|verify_ssl|insecure_skip_tls_verify)"
    r"[\"']?\s*[:=]"
)
"""Settings that the pipeline checks judge, at the start of a line."""
_SETTING_MARKS: Final = (
    "trust", "model_name_or_path", "base_model", "weights_only", "allow_pickle", "dataset_name",
    "verify_ssl", "insecure_skip_tls_verify",
)  # fmt: skip
"""Names of which each such line has one."""
_COMMAND_MARKS: Final = (
    "install", "vllm", "trust", "uvx", " add ", "pip:", "curl ", "wget ", "/dev/tcp", "base64 ",
)  # fmt: skip
_COMMANDS: Final = late_pattern(
    r"\b(pip[\d.]*|pipx|conda|mamba)\s+(-\S+\s+)*install\b|\buv\s+(add|tool|run)\b|\buvx\s|"
    r"\b(poetry|pdm)\s+add\s|\bvllm\b|--trust[-_]remote[-_]code\b"
    r"|\b(curl|wget)\s+\S|/dev/(tcp|udp)/|\bbase64\s+(-d|--decode)\b"
)
_PIPELINE_FIELDS: Final = frozenset(
    {"data_sources", "expected_config_hash", "training", "pipeline", "stages", "steps", "config"}
)
_PIPELINE_MARKS: Final = tuple(f'"{name}"'.encode() for name in sorted(_PIPELINE_FIELDS))
_ORCHESTRATORS: Final = (
    "airflow", "prefect", "dagster", "kfp", "metaflow", "zenml", "flytekit", "luigi", "ray.dag",
)  # fmt: skip
_DAG: Final = late_pattern(
    rf"(?m)^\s*(from|import)\s+({'|'.join(map(re.escape, _ORCHESTRATORS))})\b"
)
_SHELL_MARK: Final = late_pattern(r"#![^\n]*\b(ba|z|da|k|a|fi)?sh\b")
_BOOTSTRAP: Final = late_pattern(r"(?im)^\s*bootstrap\s*:")
_SCRIPT_MARK: Final = "# /// script"
_SCRIPT: Final = late_pattern(rf"(?m)^{_SCRIPT_MARK}\s*$")


def _toml(
    *firsts: str, before: str | None = None, marks: tuple[str, ...] = ()
) -> Callable[[ManifestContent], bool]:
    """Return a detector of TOML texts: by first table, the text before it, and other marks."""
    wanted = late_pattern(rf"(?m)^{before}\s*=") if before else None

    def matches(content: ManifestContent) -> bool:
        head = _TABLE.search(content.text)
        if head is None or head[0].strip() not in firsts:
            return False
        if wanted is not None and not wanted.search(content.text, 0, head.start()):
            return False
        return all(mark in content.text for mark in marks)

    return matches


def _requirements(content: ManifestContent) -> bool:
    """Return whether each non-empty line of a text could be one of pip's."""
    head = content.text[:_FIRST]
    if not _any_in(_REQUIREMENT_SIGNS, head):
        return False
    lines = marked = 0
    for line in head.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if not _REQUIREMENT.match(stripped):
            return False
        lines += 1
        marked += any(sign in stripped for sign in _REQUIREMENT_SIGNS)
    return marked * 2 > lines


def _kubernetes(*groups: str) -> Callable[[ManifestContent], bool]:
    marks = tuple(f"{group}/".encode() for group in groups or ("",))

    def matches(content: ManifestContent) -> bool:
        if not content.mentions(b"apiVersion") or not content.mentions(*marks):
            return False
        return content.has_keys("apiVersion", "kind") or (
            content.mentions(b'"apiVersion"') and {"apiVersion", "kind"} <= content.fields.keys()
        )

    return matches


def _cyclonedx_xml(content: ManifestContent) -> bool:
    return "cyclonedx.org/schema/bom" in content.text[:4096] and content.text.lstrip()[:1] == "<"


def _spdx3(content: ManifestContent) -> bool:
    return content.names(b"spdx.org/rdf/3") and "@graph" in content.fields


def _wrapped_spdx(content: ManifestContent) -> bool:
    inner = content.fields.get("sbom") if content.names(b'"sbom"') else None
    return isinstance(inner, dict) and "spdxVersion" in inner


def _has(*names: str, mark: str | None = None) -> Callable[[ManifestContent], bool]:
    """Return a detector of JSON objects by fields; the mark avoids parsing most others."""
    quoted = f'"{mark or names[0]}"'.encode()

    def matches(content: ManifestContent) -> bool:
        return content.names(quoted) and set(names) <= content.fields.keys()

    return matches


def _keys(*names: str, also: tuple[str, ...] = ()) -> Callable[[ManifestContent], bool]:
    """Return a detector of YAML texts by top-level names: all of these, and one of those."""

    def matches(content: ManifestContent) -> bool:
        return content.has_keys(*names) and (not also or not content.keys.isdisjoint(also))

    return matches


def _databricks(content: ManifestContent) -> bool:
    """Return whether a text is a job of Databricks, or a bundle's part that defines some."""
    if content.names(b'"libraries"', b'"environment_key"'):
        fields = content.fields
        settings = fields.get("settings")
        return bool(_JOB_FIELDS & (settings if isinstance(settings, dict) else fields).keys())
    return ("libraries:" in content.text or "environment_key:" in content.text) and bool(
        {"resources", "tasks", "job_clusters"} & content.keys
    )


_JOB_FIELDS: Final = frozenset({"tasks", "job_clusters", "new_cluster", "existing_cluster_id"})


def _pip_list(content: ManifestContent) -> bool:
    document = content.json if content.may_be_list and content.names(b'"name"') else None
    if isinstance(document, list) and document:
        return all(isinstance(entry, dict) and {"name", "version"} <= entry.keys() <= _LISTED
                   for entry in document)  # fmt: skip
    return re.match(r"Package\s+Version\b.*\n-{3}", content.text) is not None


_TOKENS: Final = (
    b"hf_", b"ghp_", b"github_pat_", b"glpat-", b"AKIA", b"ASIA", b"sk-", b"AIza", b"xox", b"pypi-AgE",
    b"npm_", b"dapi", b"PRIVATE KEY", b"AccountKey=", b"eyJ",
)  # fmt: skip
"""Texts of which the tokens of providers have one."""
_LISTED: Final = frozenset(
    {"name", "version", "editable_project_location", "location", "installer", "latest_version",
     "latest_filetype"}
)  # fmt: skip


def _json_pipeline(content: ManifestContent) -> bool:
    if not content.names(*_PIPELINE_MARKS) or content.is_large:
        return False
    fields = content.fields
    return "data_sources" in fields or (
        "model_type" not in fields and len(_PIPELINE_FIELDS & set(fields)) > 1
    )


_LISTS: Final = late_pattern(r"(?m)^- [\w.\"'-]+:(\s|$)")
"""An entry of a list of mappings, such as the plays of Ansible."""


def _yaml_pipeline(content: ManifestContent) -> bool:
    if content.text.lstrip()[:1] in {"{", "["}:
        return False
    if not content.keys and _LISTS.search(content.text) is None:
        return False
    return bool(
        _holds_settings(content.text)
        or content.has_keys("data_sources")
        or (_any_in(_COMMAND_MARKS, content.text) and _COMMANDS.search(content.text))
    )


def _holds_settings(text: str) -> bool:
    """Return whether a line begins with a setting that the pipeline checks judge."""
    if text.isascii() and not _any_in(_SETTING_MARKS, text.lower()):
        return False  # beyond ASCII other letters too match these, ignoring case
    return _SETTINGS.search(text) is not None


_YAML: Final = r"\.ya?ml$"
_NO_SUFFIX: Final = r"(^|/)[^./]+$"
_YAML_PATHS: Final = rf"{_YAML}|{_NO_SUFFIX}"
_TEXT_PATHS: Final = rf"\.(txt|in|lock|list)$|{_NO_SUFFIX}"
_TOML_PATHS: Final = rf"\.(toml|lock)$|{_NO_SUFFIX}"
_has_spdx_version: Final = _has("spdxVersion")
_has_pipeline_info: Final = _has("pipelineInfo", "deploymentSpec")
PACKAGES: Final = (
    Kind(
        name="requirements",
        content_paths=_TEXT_PATHS,
        paths=r"(^|/)([^/]*[-_.])?(requirements?|constraints?)([-_.][^/]*)?\.(txt|in|lock)$"
        r"|(^|/)(requirements|constraints|reqs)/[^/]+\.(txt|in)$|(^|/)(pip-)?freeze(d)?\.txt$",
        content=_requirements,
        reader="requirements:read",
    ),
    Kind(name="pylock", content_paths=_TOML_PATHS, paths=r"(^|/)pylock(\.[^/]+)?\.toml$", reader="pylock:read",
         content=_toml("[[packages]]", before="lock-version")),
    Kind(name="poetry-lock", content_paths=_TOML_PATHS, paths=r"(^|/)poetry\.lock$", reader="poetry_lock:read",
         content=_toml("[[package]]", marks=("python-versions", "content-hash"))),
    Kind(name="pdm-lock", content_paths=_TOML_PATHS, paths=r"(^|/)pdm(\.[^/]+)?\.lock$", reader="pdm_lock:read",
         content=_toml("[metadata]", "[[package]]", marks=("lock_version", "content_hash", "[[package]]"))),
    Kind(name="uv-lock", content_paths=_TOML_PATHS, paths=r"(^|/)uv\.lock$", reader="uv_lock:read",
         content=_toml("[[package]]", "[manifest]", "[options]", before="requires-python")),
    Kind(name="pipfile-lock", paths=r"(^|/)Pipfile\.lock$", reader="pipfile:read_lock_file",
         content=_has("_meta", "default")),
    Kind(name="pipfile", paths=r"(^|/)Pipfile$", reader="pipfile:read"),
    Kind(name="pyproject", runs=True, content_paths=_TOML_PATHS, paths=r"(^|/)pyproject\.toml$", reader="pyproject:read",
         content=_toml("[build-system]", "[project]")),
    Kind(name="setup-cfg", paths=r"(^|/)(setup|\.?pydistutils|distutils)\.cfg$", reader="setup_cfg:read"),
    Kind(name="hatch", runs=True, paths=r"(^|/)hatch\.toml$", reader="pyproject:read_hatch_file"),
    Kind(name="tox-ini", runs=True, paths=r"(^|/)tox\.ini$", reader="tox_settings:read_ini_file"),
    Kind(name="tox-toml", runs=True, paths=r"(^|/)tox\.toml$", reader="tox_settings:read_toml_file"),
    Kind(name="pixi", runs=True, paths=r"(^|/)pixi\.toml$", reader="pixi:read"),
    Kind(name="pixi-lock", paths=r"(^|/)pixi\.lock$", reader="pixi:read_lock_file"),
    Kind(name="pre-commit", runs=True, paths=r"(^|/)\.pre-commit-config\.ya?ml$", reader="listed_packages:read_pre_commit"),
    Kind(name="cog", runs=True, paths=r"(^|/)cog\.ya?ml$", reader="listed_packages:read_cog"),
    Kind(name="bentofile", runs=True, paths=r"(^|/)bentofile\.ya?ml$", reader="listed_packages:read_bento"),
    Kind(name="ray-environment", scanned=True, runs=True, paths=r"(^|/)(ray[-_])?runtime[-_]env\.(ya?ml|json)$", reader="listed_packages:read_ray"),
    Kind(name="truss", scanned=True, runs=True, content_paths=_YAML_PATHS, reader="listed_packages:read_truss",
         content=lambda c: c.has_keys("requirements", "model_name")),
    Kind(name="ray-serve", scanned=True, runs=True, content_paths=_YAML_PATHS, reader="listed_packages:read_ray",
         content=lambda c: c.has_keys("applications") and "runtime_env" in c.text),
    Kind(name="pip-settings", paths=r"(^|/)\.?pip\.(conf|ini)$", reader="installer_settings:read_pip"),
    Kind(name="uv-settings", paths=r"(^|/)uv\.toml$", reader="installer_settings:read_uv"),
    Kind(name="pdm-settings", paths=r"(^|/)pdm\.toml$", reader="installer_settings:read_pdm"),
    Kind(name="conda-settings", paths=r"(^|/)\.?(conda|mamba)rc(\.ya?ml)?$|(^|/)\.?condarc\.d/[^/]+\.ya?ml$",
         reader="installer_settings:read_conda"),
    Kind(name="python-script", paths=r"\.py$", content=lambda c: _SCRIPT_MARK in c.text and bool(_SCRIPT.search(c.text)),
         named_only=True, scanned=True, reader="python_script:read"),
    Kind(name="conda-lock", content_paths=_YAML_PATHS, paths=r"(^|/)([^/]*[.-])?conda-lock\.ya?ml$", reader="conda:read_lock_file",
         content=lambda c: c.has_keys("package", "metadata") and "manager:" in c.text),
    Kind(name="conda-environment", content_paths=_YAML_PATHS, reader="conda:read_environment",
         paths=r"(^|/)(conda[-_.])?env(ironment)?([-_.][^/]*)?\.ya?ml$|(^|/)conda\.ya?ml$"
         r"|(^|/)python_env\.ya?ml$",
         content=lambda c: c.has_keys("dependencies") and bool({"channels", "name", "python"} & c.keys)),
    Kind(name="conda-explicit", content_paths=_TEXT_PATHS, reader="conda:read_explicit",
         content=lambda c: "@EXPLICIT" in c.text and re.search(r"(?m)^@EXPLICIT\s*$", c.text) is not None),
    Kind(name="cyclonedx", reader="cyclonedx:read",
         content=lambda c: (c.names(b'"CycloneDX"') and c.fields.get("bomFormat") == "CycloneDX")
         or _cyclonedx_xml(c)),
    Kind(name="spdx", reader="spdx:read",
         content=lambda c: _has_spdx_version(c) or _wrapped_spdx(c) or _spdx3(c)
         or c.has_keys("spdxVersion")
         or ("SPDXVersion: SPDX-" in c.text and "\nSPDXVersion: SPDX-" in f"\n{c.text[:HEAD]}")),
    Kind(name="syft", reader="syft:read", content=_has("artifacts", "descriptor")),
    Kind(name="pip-report", reader="pip_reports:read_report", content=_has("install", "pip_version")),
    Kind(name="pip-inspect", reader="pip_reports:read_inspect",
         content=_has("installed", "pip_version")),
    Kind(name="pip-list", reader="pip_reports:read_list", content=_pip_list),
    Kind(name="dockerfile", reader="commands:read_dockerfile", scanned=True, runs=True,
         paths=r"(^|/)([^/]*[.-])?(Docker|Container)file([.-][^/]*)?$|(^|/)Earthfile$"),
    Kind(name="notebook", reader="notebook:read", scanned=True, runs=True, paths=r"\.ipynb$", named_only=True,
         content=lambda c: c.mentions(b"pip install", b"uv pip", b"pip3 install", b"uv add", *_TOKENS)),
    Kind(name="makefile", reader="command_files:read_makefile", scanned=True, runs=True, paths=r"(^|/)(GNU)?makefile$|\.mk$"),
    Kind(name="justfile", reader="command_files:read_justfile", scanned=True, runs=True, paths=r"(^|/)\.?justfile$|\.just$"),
    Kind(name="apptainer", reader="command_files:read_apptainer", scanned=True, runs=True, named_only=True,
         paths=r"(^|/)(Singularity|Apptainer)(file)?([._-][^/]*)?$|\.def$", content=lambda c: _BOOTSTRAP.search(c.text) is not None),
    Kind(name="procfile", reader="command_files:read_procfile", scanned=True, runs=True, paths=r"(^|/)Procfile(\.[^/]*)?$"),
    Kind(name="task-file", reader="command_files:read_tasks", scanned=True, runs=True, paths=r"(^|/)poe_tasks\.toml$"),
    Kind(name="shell-script", reader="command_files:read_script", scanned=True, runs=True, content_paths=_NO_SUFFIX,
         paths=r"\.(sh|bash|zsh|ksh|dash|fish|csh|command)$", content=lambda c: _SHELL_MARK.match(c.text) is not None),
    Kind(name="windows-script", reader="command_files:read_windows", scanned=True, runs=True, paths=r"\.(bat|cmd|ps1|psm1)$"),
    Kind(name="setup-py", reader="setup_py:read", scanned=True, paths=r"(^|/)setup\.py$"),
    Kind(name="noxfile", reader="noxfile:read", scanned=True, runs=True, paths=r"(^|/)noxfile\.py$"),
)  # fmt: skip
"""Manifests that name packages; those by name first."""
PIPELINES: Final = (
    Kind(name="github-actions", family=Family.PIPELINE,
         paths=r"(^|/)\.github/workflows/[^/]+\.ya?ml$|(^|/)action\.ya?ml$",
         content=lambda c: c.has_keys("jobs") and bool({"on", "true", "env", "name"} & c.keys)
         and "runs-on:" in c.text),
    Kind(name="gitlab-ci", family=Family.PIPELINE, paths=r"(^|/)[^/]*\.?gitlab-ci[^/]*\.ya?ml$",
         content=lambda c: c.has_keys("stages") and re.search(r"(?m)^\s+(before_)?script:", c.text)
         is not None),
    Kind(name="ci-pipeline", family=Family.PIPELINE,
         paths=r"(^|/)(azure-pipelines[^/]*|bitbucket-pipelines|cloudbuild|buildspec|\.travis|\.drone|"
         r"\.woodpecker)\.ya?ml$|(^|/)\.(circleci|buildkite|tekton|argo)/[^/]+\.ya?ml$"),
    Kind(name="kubeflow", family=Family.PIPELINE,
         content=lambda c: c.has_keys("pipelineInfo", "deploymentSpec")
         or _has_pipeline_info(c)),
    Kind(name="argo", family=Family.PIPELINE, content=_kubernetes("argoproj.io")),
    Kind(name="tekton", family=Family.PIPELINE, content=_kubernetes("tekton.dev")),
    Kind(name="kserve", family=Family.PIPELINE, content=_kubernetes("serving.kserve.io")),
    Kind(name="kubernetes", family=Family.PIPELINE, content=_kubernetes()),
    Kind(name="ray-job", family=Family.PIPELINE, scanned=True,
         content=lambda c: "runtime_env" in c.keys or (c.names(b'"runtime_env"') and "runtime_env" in c.fields)),
    Kind(name="databricks", family=Family.PIPELINE, scanned=True, paths=r"(^|/)databricks\.ya?ml$", content=_databricks),
    Kind(name="azure-ml", family=Family.PIPELINE, scanned=True,
         content=lambda c: "azuremlschemas.azureedge.net" in c.text[:HEAD]),
    Kind(name="kustomize", family=Family.PIPELINE, paths=r"(^|/)kustomization(\.ya?ml)?$"),
    Kind(name="task-pipeline", family=Family.PIPELINE, paths=r"(^|/)taskfile(\.dist)?\.ya?ml$"),
    Kind(name="dvc", family=Family.PIPELINE, paths=r"(^|/)dvc\.ya?ml$"),
    Kind(name="mlproject", family=Family.PIPELINE, paths=r"(^|/)MLproject$"),
    Kind(name="compose", family=Family.PIPELINE,
         paths=r"(^|/)(docker-)?compose([-_.][^/]*)?\.(ya?ml|json)$",
         content=lambda c: c.has_keys("services") and "image:" in c.text),
    Kind(name="devcontainer", family=Family.PIPELINE, scanned=True,
         paths=r"(^|/)\.devcontainer\.json$|(^|/)\.devcontainer/([^/]+/)?devcontainer\.json$"),
    Kind(name="index-accounts", family=Family.PIPELINE, paths=r"(^|/)(\.pypirc|[._]netrc)$"),
    Kind(name="npm-settings", family=Family.PIPELINE, scanned=True, paths=r"(^|/)\.npmrc$"),
    Kind(name="dvc-settings", family=Family.PIPELINE, scanned=True, paths=r"(^|/)\.dvc/config(\.local)?$"),
    Kind(name="environment-file", family=Family.PIPELINE, scanned=True, paths=r"(^|/)\.env(rc|\.[^/]+)?$|\.env$"),
    Kind(name="index-tool-settings", family=Family.PIPELINE, paths=r"(^|/)(poetry|pdm)\.toml$"),
    Kind(name="helm-values", family=Family.PIPELINE, paths=r"(^|/)values([-_.][^/]*)?\.ya?ml$"),
    Kind(name="axolotl", family=Family.PIPELINE, scanned=True,
         content=_keys("base_model", "datasets")),
    Kind(name="llama-factory", family=Family.PIPELINE, scanned=True,
         content=_keys("model_name_or_path", also=("stage", "finetuning_type", "template"))),
    Kind(name="trl", family=Family.PIPELINE, scanned=True,
         content=_keys("model_name_or_path", also=("dataset_name", "dataset_mixture", "output_dir"))),
    Kind(name="hydra", family=Family.PIPELINE, scanned=True, paths=r"(^|/)\.hydra/[^/]+\.ya?ml$",
         content=lambda c: (c.has_keys("defaults") and re.search(r"(?m)^defaults:\s*\n\s*-", c.text)
         is not None) or ("_target_:" in c.text
         and re.search(r"(?m)^\s*_target_:\s", c.text) is not None)),
    Kind(name="pipeline-config", family=Family.PIPELINE, scanned=True, content=_json_pipeline),
    Kind(name="pipeline-config", family=Family.PIPELINE, scanned=True, paths=_YAML,
         content=_yaml_pipeline, named_only=True),
)  # fmt: skip
"""Definitions of what a pipeline runs."""
_OTHERS: Final = (
    ("npm", r"(package(-lock)?|npm-shrinkwrap|deno)\.json|yarn\.lock|pnpm-lock\.ya?ml|bun\.lockb?"),
    ("go", r"go\.(mod|sum)"),
    ("cargo", r"Cargo\.(toml|lock)"),
    ("maven", r"pom\.xml|build\.gradle(\.kts)?|gradle\.lockfile"),
    ("rubygems", r"Gemfile(\.lock)?"),
    ("composer", r"composer\.(json|lock)"),
    ("nuget", r"packages(\.lock)?\.(json|config)"),
)
_UNREAD: Final = (
    (
        "spack",
        r"(^|/)spack\.(ya?ml|lock)$",
        "packages of Spack are out of scope: scan `pip freeze` of its environment",
    ),
    ("buildout", r"(^|/)buildout\.cfg$", "scan `pip freeze` of what it builds"),
    (
        "nix",
        r"\.nix$|(^|/)flake\.lock$",
        "packages of Nix are out of scope: scan an SBOM of what it builds",
    ),
    (
        "bazel",
        r"(^|/)(WORKSPACE|MODULE|BUILD)\.bazel$",
        "scan the requirements and locks that it names",
    ),
    (
        "snakemake",
        r"(^|/)Snakefile([._-][^/]*)?$|\.smk$",
        "what it runs is known at run time only: send its runs as events",
    ),
    (
        "nextflow",
        r"\.nf$|(^|/)nextflow\.config$",
        "what it runs is known at run time only: send its runs as events",
    ),
    ("workflow-language", r"\.(wdl|cwl)$", "send its runs as events"),
    (
        "terraform",
        r"\.(tf|hcl|nomad|tofu)$|(^|/)[^/]*\.tf\.json$",
        "use a scanner for infrastructure as code",
    ),
    ("vagrantfile", r"(^|/)(Vagrant|Tilt)file$", "scan the scripts that it runs"),
)
UNSUPPORTED: Final = (
    Kind(name="dag", family=Family.UNSUPPORTED, paths=r"\.py$", named_only=True, scanned=True,
         content=lambda c: _any_in(_ORCHESTRATORS, c.text) and bool(_DAG.search(c.text)),
         remedy="what it runs is known at run time only: send its runs, by OpenLineage for instance"),
    Kind(name="spdx-rdf", family=Family.UNSUPPORTED, content_paths=r"\.(rdf|xml)$", scanned=True,
         content=lambda c: "spdx.org/rdf/terms" in c.text[:HEAD] and c.text.lstrip()[:1] == "<",
         remedy="convert it to SPDX in JSON, YAML or tag-value"),
    Kind(name="conda-recipe", family=Family.UNSUPPORTED, paths=r"(^|/)(meta|recipe)\.ya?ml$", scanned=True, named_only=True,
         content=lambda c: bool({"package", "recipe"} & c.keys) and bool({"requirements", "outputs", "build", "source"} & c.keys),
         remedy="packages of conda are out of scope: use a scanner for conda"),
    Kind(name="jenkinsfile", family=Family.UNSUPPORTED, paths=r"(^|/)Jenkinsfile[^/]*$", scanned=True,
         remedy="what it runs is known at run time only: send its runs as events"),
    *(
        Kind(name=name, family=Family.UNSUPPORTED, paths=paths, scanned=True, remedy=remedy)
        for name, paths, remedy in _UNREAD
    ),
    *(
        Kind(name=f"{ecosystem}-manifest", family=Family.UNSUPPORTED, paths=rf"(^|/)({names})$",
             scanned=True, remedy=f"packages of {ecosystem} are out of scope: use a scanner for {ecosystem}")
        for ecosystem, names in _OTHERS
    ),
)  # fmt: skip
"""Manifests that are recognised but not checked."""
KINDS: Final = (*PACKAGES, *UNSUPPORTED, *PIPELINES)
_BY_NAME: Final = tuple(
    (late_pattern(kind.paths, re.IGNORECASE), kind) for kind in KINDS if kind.paths is not None
)
_START: Final = "(^|/)"


def _alternatives(pattern: str) -> Iterator[str]:
    """Yield the alternatives of a pattern, those outside its groups."""
    depth = start = 0
    for found in re.finditer(r"\\.|\[\^?\]?[^\]]*\]|[()|]", pattern):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if found[0] == "|" and depth == 0:
            yield pattern[start : found.start()]
            start = found.end()
    yield pattern[start:]


def _first_looks() -> tuple[list[tuple[re.Pattern[str], Kind]], re.Pattern[str], re.Pattern[str]]:
    """Return patterns of endings, names and paths: each customary path matches one of them.

    Endings are kept by kind; names and paths are one pattern together.
    """
    endings: list[tuple[re.Pattern[str], Kind]] = []
    names, paths = [], []
    for kind in KINDS:
        for alternative in _alternatives(kind.paths) if kind.paths else ():
            name = alternative.removeprefix(_START)
            if alternative.startswith(r"\."):
                endings.append((late_pattern(alternative, re.IGNORECASE), kind))
            elif name != alternative and "/" not in re.sub(r"\[\^[^\]]*\]", "", name):
                names.append(name)
            else:
                paths.append(alternative)
    return endings, _any_of(names), _any_of(paths)


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return late_pattern("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


_BY_ENDING, _NAMES, _PATHS = _first_looks()
_EXPLICIT: Final = next(kind for kind in PACKAGES if kind.name == "conda-explicit")
_BY_CONTENT: Final = late_pattern(
    r"\.(ya?ml|json|jsonld|spdx|rdf|xml|cdx|txt|in|lock|toml|list)$|(^|/)[^./]+$", re.IGNORECASE
)
"""Names of files that are searched for a manifest by content alone."""
_PIPELINE_PATHS: Final = late_pattern(r"\.(ya?ml|json)$|(^|/)[^./]+$", re.IGNORECASE)
_CONTENT_PATHS: Final = tuple(
    (paths, late_pattern(paths, re.IGNORECASE))
    for paths in sorted({kind.content_paths for kind in KINDS if kind.content_paths})
)


def may_be_manifest(path: str) -> bool:
    """Return whether a file of this path has to be read to know whether it is a manifest."""
    ending = _ending(path)
    return ending.by_content or bool(ending.customary or _customary(path))


def kinds_of(path: str, content: ManifestContent) -> list[Kind]:
    """Return the kinds of manifest that a file is, at most one of each family.

    Args:
        path: With slashes, as far as it is known.
        content: Its content; binary content is never a manifest.
    """
    if not content.text or content.text.isspace():
        return []
    customary = _customary(path)
    found: dict[Family, Kind] = {}
    for kind in customary:
        if not kind.named_only:
            found.setdefault(kind.family, kind)
    recognised = _by_content(path, content) if not found and _ending(path).by_content else None
    if recognised is not None:
        found[recognised.family] = recognised
    for kind in customary:
        if kind.named_only and kind.content and kind.content(content):
            found.setdefault(kind.family, kind)
    if Family.PACKAGES in found and _EXPLICIT.content and _EXPLICIT.content(content):
        # Its customary name is that of pip's requirements, or none.
        found[Family.PACKAGES] = _EXPLICIT
    return list(found.values())


@lru_cache(maxsize=16)  # several questions about one path follow each other
def _customary(path: str) -> tuple[Kind, ...]:
    """Return the kinds that customarily have this path."""
    name = path.rpartition("/")[2]
    if not (_NAMES.match(name) or _PATHS.search(path)):
        return _ending(path).customary
    return tuple(kind for pattern, kind in _BY_NAME if pattern.search(path))


def _by_content(path: str, content: ManifestContent) -> Kind | None:
    for kind, recognises in _ending(path).detectors:
        if recognises(content):
            return kind
    return None


class _Ending(msgspec.Struct, frozen=True, kw_only=True):
    """What the ending of a path implies."""

    customary: tuple[Kind, ...]
    """The kinds for which it suffices, if name and folder match none."""
    by_content: bool
    """Whether the content alone decides whether it is a manifest."""
    detectors: tuple[tuple[Kind, Callable[[ManifestContent], bool]], ...]
    """The kinds that content alone indicates, with their detectors, in order."""


def _ending(path: str) -> _Ending:
    """Return what the ending of a path implies: the last dot of its name and what follows."""
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    return _of_ending(name[dot:] if dot >= 0 else "")


@lru_cache(maxsize=1024)  # a folder has few endings
def _of_ending(ending: str) -> _Ending:
    path = f"x{ending}"  # a pattern of the ending alone matches any name with it
    paths = frozenset(paths for paths, pattern in _CONTENT_PATHS if pattern.search(path))
    pipeline = bool(_PIPELINE_PATHS.search(path))
    detectors = tuple(
        (kind, kind.content)
        for kind in KINDS
        if kind.content is not None
        and not kind.named_only
        and (pipeline or kind.family is not Family.PIPELINE)
        and (not kind.content_paths or kind.content_paths in paths)
    )
    return _Ending(
        customary=tuple(kind for pattern, kind in _BY_ENDING if pattern.search(path)),
        by_content=bool(_BY_CONTENT.search(path)),
        detectors=detectors,
    )


def kind_of_content(raw: bytes) -> Kind | None:
    """Return the kind that content alone indicates, whatever the name, if any."""
    content = ManifestContent(raw)
    return _by_content("manifest", content) if content.text.strip() else None


def named(name: str) -> Kind | None:
    """Return the kind of a name."""
    return next((kind for kind in KINDS if kind.name == name), None)
