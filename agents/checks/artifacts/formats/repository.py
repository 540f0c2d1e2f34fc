"""Judges the configuration files around a model's weights: code, templates and files they name."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from agents.checks.artifacts.formats.targets import (
    NameTrust,
    mappings,
    name_trust,
    report_loaded_code,
    texts,
)
from agents.checks.artifacts.formats.templates import report_template
from agents.checks.artifacts.readers.paths import escapes, is_remote
from agents.checks.artifacts.scanning import Scan
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

TEMPLATE_KEYS: Final = frozenset(
    [
        "chat_template",
        "chat_templates",
        "prompt_template",
        "prompt_templates",
        "template",
        "templates",
        "default_chat_template",
        "chat_template_jinja",
        "system_template",
        "user_template",
    ]
)
TRUSTED_CODE: Final = frozenset(
    [
        "tiiuae",
        "microsoft",
        "nvidia",
        "google",
        "facebook",
        "meta-llama",
        "mistralai",
        "qwen",
        "deepseek-ai",
        "thudm",
        "zai-org",
        "baichuan-inc",
        "internlm",
        "opengvlab",
        "alibaba-nlp",
        "nomic-ai",
        "jinaai",
        "mosaicml",
        "databricks",
        "stabilityai",
        "salesforce",
        "allenai",
        "openbmb",
        "bigscience",
        "bigcode",
        "huggingface",
        "huggingfaceh4",
        "ibm-granite",
        "moonshotai",
        "xlangai",
        "togethercomputer",
        "ai21labs",
        "cohereforai",
        "snowflake",
        "hkunlp",
        "zhihan1996",
        "instadeepai",
        "01-ai",
        "state-spaces",
        "apple",
        "lmsys",
        "fnlp",
        "xverse",
        "yulan-team",
        "idea-ccnl",
        "vikhyatk",
        "minimaxai",
        "stepfun-ai",
        "rhymes-ai",
        "openai-community",
        "sentence-transformers",
        "dunzhang",
        "briaai",
        "replit",
        "codellama",
    ]
)
"""Organisations whose code other repositories refer to, lower case."""
_PATHS: Final = frozenset(
    [
        "weight_map",
        "vocab_file",
        "merges_file",
        "tokenizer_file",
        "spm_file",
        "sp_model_kwargs",
        "file",
        "filename",
        "weights_file",
        "checkpoint_file",
        "model_file",
        "resume_from",
        "path",
        "modules",
        "index_file",
        "source_spm",
        "target_spm",
        "special_tokens_map_file",
        "quantizer_file",
        "passages_path",
        "index_path",
        "adapter_path",
    ]
)
_INTERPOLATED: Final = late_pattern(r"\$\{[a-z_][\w.]{0,120}\}")
"""A value of the same document, as OmegaConf writes it; the environment has capitals."""
_PACKAGES: Final = late_pattern(r"(?:^|\.)(?:[\w-]*dependencies|sources|patch|workspace)(?:\.|$)")
"""Tables of packages, which may lie in a neighbouring folder: of Cargo, uv and Poetry."""
_NEVER_LOCAL: Final = frozenset(
    [
        "special_tokens_map_file",
        "resume_from",
        "path",
        "index_path",
        "passages_path",
        "tokenizer_file",
        "vocab_file",
        "name_or_path",
    ]
)
"""Keys in which training leaves paths of its machine, which loaders do not open."""
_PRIVATE: Final = late_pattern(
    r"/etc/|\.ssh|/proc/|\.aws|\.env$|/(?:root)/|\.\./\.\.|^(file|gopher):"
)
_BASES: Final = frozenset(
    (
        "base_model_name_or_path", "base_model", "_name_or_path", "name_or_path",
        "tokenizer_name_or_path", "model_name_or_path", "pretrained_model_name_or_path",
        "base_model_name", "parent_model_name_or_path",
    )
)  # fmt: skip
"""Keys that name the model that is loaded first: a repository, or a folder of the trainer's."""
_FILTERS: Final = frozenset(("filters", "codecs", "compressor", "compressors"))
"""Keys of a Zarr array that name what decodes its chunks."""
_LEADS_AWAY: Final = late_pattern(
    r"^(?:~|file:/*)?/?(?:\.\.?/)*(?:etc|proc|sys|dev(?!/shm/))/"
    r"|(?:^|/)\.(?:ssh|aws|gnupg|kube|docker)(?:/|$)|^(?:gopher|ftp|jar):"
)
"""Paths that no trainer has its models at: of the system, of secrets, of other protocols."""
_SERVED: Final = frozenset(
    ("serializedFile", "modelFile", "extraFiles", "requirementsFile", "configFile")
)
"""Keys of TorchServe's manifest that name files besides the handler."""
_OWN_FOLDER: Final = late_pattern(r"^\$\{(?!oc\.(env|decode))[\w.]+:?[\w.%-]*\}(/|$)")
"""Values that a configuration computes from itself, as Hydra names a run's folder."""
_KERNELS: Final = frozenset(
    (
        "custom_generate", "attn_implementation", "_attn_implementation",
        "_attn_implementation_internal", "experts_implementation", "_experts_implementation",
        "_experts_implementation_internal", "kernel_config", "kernel_mapping", "hub_kernels",
    )
)  # fmt: skip
"""Keys whose value may be the name of a repository whose code is run."""
_NAMES_CODE: Final = frozenset(
    ("custom_pipeline", "custom_pipelines", "custom_pipeline_url", "impl")
)
_TRUSTING: Final = frozenset(("trust_remote_code", "allow_remote"))
"""Keys that ask for remote code."""
JUDGED: Final = (
    TEMPLATE_KEYS | _NAMES_CODE | _KERNELS | _PATHS | _BASES | _FILTERS | _TRUSTING | {"auto_map"}
)
"""A mapping is judged by itself only if it has one of these keys."""


def report_repository(scan: Scan, base: str, document: object) -> None:
    """Report what a JSON document of a model repository makes its loader fetch, run or open.

    Args:
        scan: Where to report.
        base: The file's own name, lower case.
        document: The document.

    Source: transformers' dynamic modules, diffusers' custom pipelines, the index files of both.
    """
    if isinstance(document, str):
        return
    passed_on: dict[int, object] = {}  # kept: the identity of one that is gone may be given again
    for path, mapping in mappings(scan, document):
        if id(mapping) not in passed_on:
            _judge_mapping(scan, mapping, path)
        passed_on.update((id(options), options) for options in _judge_options(scan, mapping, path))
    if isinstance(document, dict):
        if base == "chat_template.json":
            return
        _judge_index(scan, document)
        _judge_pipeline(scan, document)
    if isinstance(document, list) and base == "modules.json":
        _judge_modules(scan, document)


def _judge_mapping(scan: Scan, mapping: dict[Any, Any], path: str) -> None:
    if JUDGED.isdisjoint(mapping):
        return
    prefix = f"{path}." if path else ""
    if any(mapping.get(key) in (True, "true", "True", 1) for key in _TRUSTING):
        _judge_trust(scan, mapping, path)
    for key in TEMPLATE_KEYS & mapping.keys():
        for text in texts(mapping[key]):
            if "{{" in text or "{%" in text:
                report_template(scan, text, f"{prefix}{key}"[:200])
    auto_map = mapping.get("auto_map")
    if isinstance(auto_map, dict | list | str):
        values = auto_map.values() if isinstance(auto_map, dict) else [auto_map]
        for reference in texts(list(values)):
            _judge_code(scan, reference, f"{path}.auto_map".lstrip("."))
    for key in _NAMES_CODE & mapping.keys():
        for reference in texts(mapping[key]):
            elsewhere = key != "impl" and _REPOSITORY.match(reference)
            if elsewhere and f"{reference}.py" not in scan.siblings:
                _judge_kernel(scan, reference, f"{path}.{key}".lstrip("."))
            else:
                _judge_code(scan, reference, f"{path}.{key}".lstrip("."))
    for key in _KERNELS & mapping.keys():
        for reference in texts(mapping[key]):
            _judge_kernel(scan, reference, f"{path}.{key}".lstrip("."))
    custom = mapping.get("custom_pipelines")
    if isinstance(custom, dict):
        for task, description in custom.items():
            if isinstance(description, dict):
                _judge_code(scan, str(description.get("impl", "")), f"custom_pipelines.{task}")
    for key in _FILTERS & mapping.keys():
        for entry in mapping[key] if isinstance(mapping[key], list) else [mapping[key]]:
            named = (entry.get("id") or entry.get("name")) if isinstance(entry, dict) else None
            if isinstance(named, str) and named.rpartition(".")[2] == "pickle":
                scan.report(
                    "TW-MODEL-TARGET-DANGEROUS",
                    f"{path}.{key} makes its reader unpickle each chunk".lstrip("."),
                    severity=Severity.MEDIUM,  # the chunks are scanned by themselves
                    key=f"{path}.{key}"[:200],
                    name=named[:200],
                )
    for key in _BASES & mapping.keys():
        value = mapping[key]
        if isinstance(value, str) and _LEADS_AWAY.search(value.replace("\\", "/")):
            scan.report(
                "TW-MODEL-PATH-ESCAPES",
                f"{path}.{key} is {value[:120]!r}",
                key=f"{path}.{key}"[:200],
                name=value[:200],
            )
    for key in _PATHS & mapping.keys():
        value = mapping[key]
        if isinstance(value, str) and escapes(_INTERPOLATED.sub("x", value)):
            if path.startswith("[") and ".." not in value:
                continue  # of a task in a list, as Ansible runs them; no loader reads a list
            if key == "path" and _PACKAGES.search(path):
                continue
            if key in _NEVER_LOCAL and not _PRIVATE.search(value):
                continue
            if _OWN_FOLDER.match(value) and ".." not in value:
                continue
            if key in ("path", "file", "filename") and is_remote(value):
                continue
            scan.report(
                "TW-MODEL-PATH-ESCAPES",
                f"{path}.{key} is {value[:120]!r}",
                severity=None if _PRIVATE.search(value) or ".." in value else Severity.MEDIUM,
                key=f"{path}.{key}"[:200],
                name=value[:200],
            )


def _judge_options(scan: Scan, mapping: dict[Any, Any], path: str) -> Iterator[object]:
    """Report options that request remote code for a neighbouring entry; yield them.

    Source: PEFT's `tokenizer_kwargs`, which it hands to the tokenizer of `tokenizer_name_or_path`.
    """
    for key, options in mapping.items():
        if not isinstance(options, dict):
            continue
        stem, ending, _ = str(key).rpartition("_kwargs")
        if not ending:
            continue
        if options.get("trust_remote_code") not in (True, "true", "True", 1):
            continue
        beside = (f"{stem}_name_or_path", f"{stem}_name", f"{stem}_id", stem)
        named = [mapping[name] for name in beside if isinstance(mapping.get(name), str)]
        if any(_REPOSITORY.match(reference) for reference in named):
            where = f"{path}.{key}" if path else str(key)
            _judge_trust(scan, {**options, "path": named[0]}, where)
            yield options


_SOURCES: Final = (
    "path", "name_or_path", "_name_or_path", "model_name_or_path",
    "pretrained_model_name_or_path", "repo_id", "repo", "model_id", "model_name", "dataset",
    "dataset_name", "data_path", "tokenizer", "tokenizer_name", "pretrained_model_name",
    "model", "name", "config_name", "hf_model_name",
)  # fmt: skip
"""Keys that name the repository that is loaded with the remote code."""
_REPOSITORY: Final = late_pattern(r"^(https?://[\w.-]+/|hf://)?[A-Za-z0-9][\w.-]*/[\w.-]+$")


def _judge_trust(scan: Scan, mapping: dict[Any, Any], path: str) -> None:
    """Report a part of a configuration that requests remote code, and its repository.

    A loader passes its options on to the part, even if the whole is loaded (CVE-2026-5241).
    """
    for key in _SOURCES:
        value = mapping.get(key)
        if path and isinstance(value, str) and _REPOSITORY.match(value):
            trusted = value.split("/")[-2].lower() in TRUSTED_CODE
            scan.report(
                "TW-MODEL-REMOTE-CODE-TRUSTED" if trusted else "TW-MODEL-REMOTE-CODE-ELSEWHERE",
                f"{path} requests the remote code of {value[:80]!r}",
                key=path[:200],
                name=value[:200],
            )
            return
    scan.report(
        "TW-MODEL-REMOTE-CODE",
        f"{path or 'the configuration'} requests remote code",
        # Transformers does not read it in its own files; what else has settings hands it on.
        severity=None if not path and _is_own(scan.path) else Severity.MEDIUM,
        key=path[:200],
    )


_OWN_FILES: Final = late_pattern(
    r"(?i)(^|[/!])(\w*_?config|tokenizer|model_index|training_args|trainer_state|args|"
    r"modules|sentence_\w+)\.json$"
)
"""Files that a library writes beside weights, in which the setting records how they were made."""


def _is_own(path: str) -> bool:
    return _OWN_FILES.search(path) is not None


def _judge_kernel(scan: Scan, reference: str, key: str) -> None:
    """Report code that is taken from another repository by its name alone.

    Source: transformers' `custom_generate`, and its kernels in `attn_implementation`.
    """
    reference = reference.rpartition("|")[2].strip()  # what else the implementation is
    organisation, slash, _ = reference.partition("/")
    if not slash or reference.startswith("."):
        if escapes(reference):
            scan.report(
                "TW-MODEL-REMOTE-CODE-ESCAPES",
                f"{key} is {reference[:120]!r}",
                key=key,
                name=reference[:200],
            )
        return
    trusted = organisation.lower() in TRUSTED_CODE | {"kernels-community", "transformers-community"}
    scan.report(
        "TW-MODEL-REMOTE-CODE-TRUSTED" if trusted else "TW-MODEL-REMOTE-CODE-ELSEWHERE",
        f"{key} takes code from the repository {reference[:80]!r}",
        key=key,
        name=reference[:200],
    )


def _judge_code(scan: Scan, reference: str, key: str) -> None:
    """Report a reference to code: beside the weights, in another repository, or a disguise."""
    if not reference:
        return
    repo, separator, local = reference.rpartition("--")
    if (
        escapes(reference)
        or escapes(local)
        or is_remote(reference)
        or re.search(r"[;|&`$(]", reference)
    ):
        scan.report(
            "TW-MODEL-REMOTE-CODE-ESCAPES",
            f"{key} is {reference[:120]!r}",
            key=key,
            name=reference[:200],
        )
    elif separator:
        trusted = repo.split("/", 1)[0].lower() in TRUSTED_CODE
        scan.report(
            "TW-MODEL-REMOTE-CODE-TRUSTED" if trusted else "TW-MODEL-REMOTE-CODE-ELSEWHERE",
            f"{key} takes code from the repository {repo[:80]!r}",
            key=key,
            name=reference[:200],
        )
    elif name_trust(reference) is NameTrust.DANGEROUS:
        scan.report(
            "TW-MODEL-REMOTE-CODE-ESCAPES",
            f"{key} refers to {reference[:120]!r}",
            key=key,
            name=reference[:200],
        )
    else:
        module = reference.rpartition(".")[0] or reference
        file = f"{module.replace('.', '/')}.py"
        folder = scan.path.rpartition("/")[0]
        seen = {file, f"{folder}/{file}" if folder else file}
        here = bool(seen & scan.siblings) or any(
            sibling.endswith(f"/{file}") for sibling in scan.siblings
        )
        what = f"{key} makes its loader run {reference[:120]!r}"
        report_loaded_code(scan, key, what, reference, here=here)


def _judge_index(scan: Scan, document: dict[Any, Any]) -> None:
    """Report files that an index lists outside the folder."""
    for key, what, listed in sorted(set(_listed(document))):
        if escapes(listed):
            scan.report(
                "TW-MODEL-PATH-ESCAPES",
                f"{what} is at {listed[:120]!r}",
                key=key,
                name=listed[:200],
            )


def _listed(document: dict[Any, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield key, kind and path of the files that an index lists, of any format that has one.

    Source: transformers' shards; TensorFlow.js; TorchServe's manifest; the layers of an OCI image,
    which Ollama stores under the digest that its manifest says (CVE-2024-37032).
    """
    weights = document.get("weight_map")
    for shard in weights.values() if isinstance(weights, dict) else ():
        if isinstance(shard, str):
            yield "weight_map", "a shard", shard
    groups = document.get("weightsManifest")
    for group in groups if isinstance(groups, list) else ():
        for shard in texts(group.get("paths")) if isinstance(group, dict) else ():
            yield "weightsManifest.paths", "a shard", shard
    layers = document.get("layers")
    for layer in [*(layers if isinstance(layers, list) else ()), document.get("config")]:
        if isinstance(layer, dict) and "mediaType" in layer:
            for digest in texts(layer.get("digest")):
                yield "layers.digest", "a layer", digest
    served = document.get("model")
    if isinstance(served, dict) and _SERVED & served.keys():
        for key in sorted((_SERVED | {"handler"}) & served.keys()):
            for path in texts(served[key]):
                for part in path.split(","):
                    yield f"model.{key}", "a part", part.strip().rpartition(":")[0] or part.strip()


def _judge_pipeline(scan: Scan, document: dict[Any, Any]) -> None:
    """Report components of a diffusers pipeline that come from elsewhere."""
    name = document.get("_class_name")
    if isinstance(name, list) and len(name) > 1:
        module = str(name[0])
        reference = f"{module}.{name[1]}" if "--" in module or "." not in module else module
        _judge_code(scan, reference, "_class_name")
    if not isinstance(name, str | list):
        return
    for key, value in document.items():
        if not (isinstance(value, list) and len(value) == 2):
            continue
        library, kind = value
        if not (isinstance(library, str) and isinstance(kind, str)):
            continue
        if escapes(library) or name_trust(f"{library}.{kind}") is NameTrust.DANGEROUS:
            scan.report(
                "TW-MODEL-REMOTE-CODE-ESCAPES",
                f"{key} is {library[:80]}.{kind[:80]}",
                key=key,
                name=f"{library}.{kind}"[:200],
            )


_SENTENCE: Final = ("sentence_transformers.", "pylate.", "model2vec.", "transformers.")


def _judge_modules(scan: Scan, document: list[Any]) -> None:
    """Report modules of a sentence-transformers model that are not its own."""
    for index, module in enumerate(document):
        kind = module.get("type") if isinstance(module, dict) else None
        if isinstance(kind, str) and not kind.startswith(_SENTENCE):
            _judge_code(scan, kind, f"[{index}].type")
        folder = module.get("path") if isinstance(module, dict) else None
        if isinstance(folder, str) and folder and escapes(folder):
            scan.report(
                "TW-MODEL-PATH-ESCAPES",
                f"a module is at {folder[:120]!r}",
                key=f"[{index}].path",
                name=folder[:200],
            )
