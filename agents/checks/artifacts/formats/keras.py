"""Judges Keras model configurations, of every version: code in them, and what they import."""

from __future__ import annotations

import builtins
import json
import re
from typing import Any, Final

from agents.checks.artifacts.dangerous_names import names
from agents.checks.artifacts.formats.targets import NameTrust, about, leaves, mappings, name_trust
from agents.checks.artifacts.python.harmless_code import only_computes
from agents.checks.artifacts.readers.embedded import decoded_texts, descend_decoded, report_text
from agents.checks.artifacts.readers.paths import escapes
from agents.checks.artifacts.scanning import Scan
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

_ALLOWED: Final = late_pattern(
    r"^(tf_keras\.|tensorflow\.python\.|tensorflow\.|tf\.)?keras(\.src|\._tf_keras\.keras|\.api"
    r"(\._v[12]\.keras)?)?(\.(layers|models|initializers|optimizers|losses|metrics|regularizers"
    r"|constraints|activations|engine|dtype_policies|mixed_precision|random|quantizers|ops|wrappers"
    r"|distribution|distillation|feature_column|premade_models"
    r"|backend\.(tensorflow|torch|jax|numpy|openvino)\.(layers?|optimizers?|trainer))"
    r"(\.\w+)*)?$"
)
_FAMILY: Final = late_pattern(
    r"^(keras_(hub|nlp|cv|core|rs|tuner|preprocessing|contrib|self_attention|bert|applications)"
    r"|tensorflow_(addons|hub|text|probability|model_optimization|decision_forests|recommenders)"
    r"|tfmot|tfa|transformers\.models|autokeras|efficientnet|qkeras|larq|spektral|kerastuner"
    r"|segmentation_models|official|deepctr|vit_keras|medmnist|kecam|tensorflow\.python)(\.|$)"
)
_MARKERS: Final = frozenset(
    [
        "__tensor__",
        "__numpy__",
        "__bytes__",
        "__ellipsis__",
        "__slice__",
        "__tuple__",
        "__keras_tensor__",
        "__typespec__",
        "__class__",
        "dtype",
        "TensorShape",
        "function",
        "type",
        "TypeSpec",
        "CompositeTensor",
    ]
)
_LOOKUPS: Final = late_pattern(r"^(String|Integer|Index)Lookup$|^TextVectorization$")
_TOKENIZERS: Final = late_pattern(r"(Tokenizer|Preprocessor)(Layer)?$")
MAX_PATH: Final = 4096
_CODE_HEADS: Final = (b"\xe3", b"c\x00\x00\x00", b"\x63\x00\x00")
_BUILTIN_TYPES: Final = frozenset(
    ["float", "int", "str", "bool", "list", "tuple", "dict", "bytes", "slice", "set"]
)
MIN_CODE: Final = 24
MAX_TREE_TEXT: Final = 4096


def is_keras(document: object) -> bool:
    """Return whether a JSON document is a Keras configuration."""
    if not isinstance(document, dict):
        return False
    if "class_name" in document and ("config" in document or "module" in document):
        return True
    return "keras_version" in document or (
        "config" in document
        and isinstance(document["config"], dict)
        and "layers" in document["config"]
    )


def report_keras_text(scan: Scan, text: str, key: str) -> None:
    """Judge a configuration that is JSON within an attribute.

    Args:
        scan: Where to report.
        text: The JSON.
        key: Where it is.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        report_text(scan, key, text)
        if re.search(r"\"(Lambda|__lambda__|TorchModuleWrapper)\"", text):
            scan.report(
                "TW-MODEL-KERAS-LAMBDA", "a configuration that does not parse has code", key=key
            )
        scan.mark_corrupt(f"{key} is not JSON: {error}")
        return
    report_keras(scan, document, key)


def report_keras(scan: Scan, document: object, prefix: str = "") -> None:
    """Report layers that hold code and objects that loading imports from elsewhere.

    Args:
        scan: Where to report.
        document: A configuration, at any depth.
        prefix: Put before the path in the evidence.

    Source: CVE-2024-3660, CVE-2025-1550, CVE-2025-8747, CVE-2025-9905, CVE-2025-9906,
    CVE-2025-12058, CVE-2025-12060, CVE-2025-49655, CVE-2026-1462.
    """
    prefix = f"{prefix}." if prefix else ""
    lambdas: list[str] = []
    for path, mapping in mappings(scan, document):
        _judge_mapping(scan, mapping, f"{prefix}{path}" or "config", lambdas)
    for path, key, value in leaves(scan, document, lambda _, key: key == "safe_mode"):
        if isinstance(value, str) and len(value) >= MIN_CODE:
            _judge_leaf(scan, f"{prefix}{path}", value)
        elif key == "safe_mode" and value is False:
            scan.report(
                "TW-MODEL-KERAS-UNSAFE", f"{path} switches the safe mode off", key=path[:200]
            )


def _judge_leaf(scan: Scan, path: str, value: str) -> None:
    for raw in decoded_texts(value):
        if len(raw) > MIN_CODE and raw.startswith(_CODE_HEADS):
            scan.report(
                "TW-MODEL-KERAS-CODE",
                f"{path} holds marshalled Python code",
                severity=Severity.MEDIUM if only_computes(raw) else None,
                key=path[:200],
            )
            break
    if len(value) < MAX_TREE_TEXT or "\n" not in value:
        report_text(scan, path[:200], value)


def _code_of(scan: Scan, value: object) -> list[bytes]:
    """Return the marshalled code that a configuration holds, at any depth."""
    return [
        raw
        for _, _, text in leaves(scan, value)
        if isinstance(text, str) and len(text) >= MIN_CODE
        for raw in decoded_texts(text)
        if len(raw) > MIN_CODE and raw.startswith(_CODE_HEADS)
    ]


def _report_lambda(scan: Scan, short: str, config: object, path: str, lambdas: list[str]) -> None:
    """Report a layer that holds code, once: the layers it wraps are not reported again."""
    if any(path.startswith(f"{outer}.") for outer in lambdas):
        return
    lambdas.append(path)
    codes = _code_of(scan, config)
    computes = bool(codes) and all(only_computes(raw) for raw in codes)
    function = config.get("function") if isinstance(config, dict) else None
    named = isinstance(function, dict) and function.get("class_name") == "function" and not codes
    scan.report(
        "TW-MODEL-KERAS-LAMBDA",
        f"{path} is a {short} "
        + (
            "with the name of a function"
            if named
            else "with code that only computes"
            if computes
            else "with code"
        ),
        severity=Severity.MEDIUM if computes or named else None,
        key=path[:200],
    )


def _judge_mapping(scan: Scan, mapping: dict[Any, Any], path: str, lambdas: list[str]) -> None:
    name = mapping.get("class_name")
    registered = str(mapping.get("registered_name") or "")
    module = mapping.get("module")
    config = mapping.get("config")
    inner = config if isinstance(config, dict) else {}
    if not isinstance(name, str):
        if isinstance(module, str) and ("registered_name" in mapping or "config" in mapping):
            _judge_module(scan, module, "", registered, path)
        _judge_code_fields(scan, mapping, path, lambdas)
        return
    short = re.split(r"[>.:]", name)[-1]
    named = {short, re.split(r"[>.:]", registered)[-1]}
    if named & {"Lambda", "__lambda__"}:
        _report_lambda(scan, short, config, path, lambdas)
    if named & {"TorchModuleWrapper"}:
        scan.report(
            "TW-MODEL-KERAS-LAMBDA",
            f"{path} unpickles a PyTorch module",
            key=path[:200],
            name="TorchModuleWrapper",
        )
        for field in inner.values():
            for text in (field, *(field.values() if isinstance(field, dict) else ())):
                if isinstance(text, str):
                    descend_decoded(scan, f"{path}.module", text)
    if named & {"TFSMLayer"}:
        scan.report(
            "TW-MODEL-KERAS-OUTSIDE",
            f"{path} loads the SavedModel {str(inner.get('filepath'))[:120]!r}",
            key=path[:200],
            name=str(inner.get("filepath"))[:200],
        )
    if any(_LOOKUPS.match(part) for part in named):
        _judge_lookup(scan, inner, path)
    elif any(_TOKENIZERS.search(part) for part in named):
        _judge_tokenizer(scan, inner, path)
    if named & {"HubLayer", "KerasLayer"} and isinstance(inner.get("handle"), str):
        scan.report(
            "TW-MODEL-KERAS-IMPORT",
            f"{path} loads {inner['handle'][:120]!r}",
            severity=Severity.HIGH,
            key=path[:200],
        )
    target = config if short in ("function", "type", "class") and isinstance(config, str) else ""
    _judge_module(scan, module, target or short, registered, path)


def _judge_lookup(scan: Scan, config: dict[Any, Any], path: str) -> None:
    for field in ("vocabulary", "idf_weights", "vocabulary_file", "vocab_file"):
        value = config.get(field)
        if isinstance(value, str) and value:
            severity = None if escapes(value) else Severity.HIGH
            scan.report(
                "TW-MODEL-KERAS-OUTSIDE",
                f"{path} reads its {field} from {value[:120]!r}",
                severity=severity,
                key=path[:200],
                name=value[:200],
            )


def _judge_tokenizer(scan: Scan, config: dict[Any, Any], path: str) -> None:
    """Report a file outside the archive that a tokenizer reads when it is built."""
    for field, value in config.items():
        if field in ("name", "dtype") or not isinstance(value, str) or len(value) > MAX_PATH:
            continue
        if escapes(value):
            scan.report(
                "TW-MODEL-KERAS-OUTSIDE",
                f"{path} reads its {field} from {value[:120]!r}",
                key=path[:200],
                name=value[:200],
            )


def _report_reference(scan: Scan, path: str, name: str) -> None:
    scan.report(
        "TW-MODEL-KERAS-IMPORT",
        f"{path} refers to {name[:120]}",
        key=path[:200],
        **about(name[:200]),
    )


def _judge_module(scan: Scan, module: object, name: str, registered: str, path: str) -> None:
    full = f"{module}.{name}" if module else name
    if not names("keras").isdisjoint((name, registered.rsplit(">", maxsplit=1)[-1])):
        _report_reference(scan, path, full)
        return
    if "." in registered and name_trust(registered.replace(">", ".")) is NameTrust.DANGEROUS:
        _report_reference(scan, path, registered)
    if "." in name and name_trust(name) is NameTrust.DANGEROUS:
        _report_reference(scan, path, name)
        return
    if module is None:
        if ">" in registered or ">" in name:
            scan.report(
                "TW-MODEL-KERAS-CUSTOM",
                f"{path} needs the custom object {registered or name}",
                key=path[:200],
            )
        return
    if not isinstance(module, str) or _ALLOWED.match(module):
        return
    if module == "builtins":
        if hasattr(builtins, name) and name not in _BUILTIN_TYPES:
            _report_reference(scan, path, full)
        return
    if name in _MARKERS and module.startswith(("tensorflow", "numpy", "keras")):
        return
    if _FAMILY.match(module) and name_trust(full) is not NameTrust.DANGEROUS:
        scan.report(
            "TW-MODEL-KERAS-CUSTOM",
            f"{path} needs {full[:120]}",
            key=path[:200],
            **about(full[:200]),
        )
        return
    is_class = name[:1].isupper() and module.split(".")[0].isidentifier()
    custom = is_class and name_trust(full) is NameTrust.UNKNOWN and ">" in registered
    scan.report(
        "TW-MODEL-KERAS-IMPORT",
        f"{path} makes its loader import {full[:120]}",
        severity=Severity.MEDIUM if custom or module == "__main__" else None,
        key=path[:200],
        **about(full[:200]),
    )


def _judge_code_fields(scan: Scan, mapping: dict[Any, Any], path: str, lambdas: list[str]) -> None:
    if mapping.get("function_type") == "lambda" or mapping.get("output_shape_type") == "lambda":
        _report_lambda(scan, "lambda", mapping, path, lambdas)
