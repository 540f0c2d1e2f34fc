"""Judges skops schemas: which types their loader imports, and what it calls."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

from typing import Any, Final

from agents.checks.artifacts.formats.targets import NameTrust, about, mappings, name_trust
from agents.checks.artifacts.scanning import Scan
from agents.domain.late_pattern import late_pattern

_TRUSTED: Final = (
    "sklearn.", "numpy.", "scipy.", "builtins.", "collections.", "pandas.", "lightgbm.", "xgboost.",
    "catboost.", "quantile_forest.", "functools.", "operator.", "imblearn.", "polars.", "datetime.",
    "decimal.", "random.", "types.", "inspect.", "_io.", "joblib.", "re.", "uuid.", "pathlib.",
    "_loss.",  # scikit-learn's, by its name in Cython
)  # fmt: skip
_BUILTINS: Final = frozenset(
    [
        "str",
        "int",
        "float",
        "bool",
        "list",
        "dict",
        "tuple",
        "set",
        "frozenset",
        "bytes",
        "bytearray",
        "slice",
        "type",
        "NoneType",
        "complex",
        "range",
        "object",
        "property",
        "NotImplementedType",
        "ellipsis",
    ]
)
_SAFE: Final = late_pattern(
    r"^(collections\.(OrderedDict|defaultdict|Counter|deque)|functools\.partial|datetime\.\w+"
    r"|operator\.(attrgetter|itemgetter|methodcaller)|decimal\.Decimal|random\.Random"
    r"|types\.(FunctionType|MethodType|BuiltinFunctionType)|re\.Pattern|uuid\.UUID"
    r"|pathlib\.\w*Path|_io\.BytesIO|numpy(\.\w+)*\.(ndarray|generic|dtype|Generator|RandomState"
    r"|ufunc|MaskedArray|memmap|\w+\d+|bool_?|str_|bytes_|PCG64|MT19937|Philox|SFC64))$"
)


def is_skops(document: object) -> bool:
    """Return whether a JSON document is the schema of a skops file."""
    return isinstance(document, dict) and "__loader__" in document and "__module__" in document


def report_skops(scan: Scan, document: dict[str, Any]) -> None:
    """Report the types that a schema's loader would import and models do not need.

    Source: skops.io `get_untrusted_types`; CVE-2025-54412, CVE-2025-54413, CVE-2025-54886.
    """
    for path, node in mappings(scan, document):
        module, name = node.get("__module__"), node.get("__class__")
        if isinstance(module, str) and isinstance(name, str):
            _judge_type(scan, module, name, path)
            _judge_method(scan, node, f"{module}.{name}", path)
        content = node.get("content")
        if isinstance(content, dict) and isinstance(content.get("module_path"), str):
            _judge_type(
                scan, content["module_path"], str(content.get("function", "")), f"{path}.content"
            )


def _judge_type(scan: Scan, module: str, name: str, path: str) -> None:
    full = f"{module}.{name}"
    if module == "builtins" and name in _BUILTINS:
        return
    if _SAFE.match(full):
        return
    if (
        module != "builtins"
        and f"{module}.".startswith(_TRUSTED)
        and (name_trust(full) is not NameTrust.DANGEROUS)
    ):
        return
    dangerous = name_trust(full) is NameTrust.DANGEROUS
    scan.report(
        "TW-MODEL-SKOPS-DANGEROUS" if dangerous else "TW-MODEL-SKOPS-UNKNOWN",
        f"the schema makes its loader import {full[:120]}",
        key=path[:200],
        **about(full[:200]),
    )


def _judge_method(scan: Scan, node: dict[str, Any], full: str, path: str) -> None:
    """Report a node whose declared type is not what its loader makes (CVE-2025-54413)."""
    loader = node.get("__loader__")
    if loader == "MethodNode" and isinstance(node.get("content"), dict):
        function = str(node["content"].get("func", ""))
        if function.startswith("__") or name_trust(f"x.{function}") is NameTrust.DANGEROUS:
            scan.report(
                "TW-MODEL-SKOPS-DANGEROUS",
                f"the schema takes the method {function[:80]!r}",
                key=path[:200],
                **about(f"{full}.{function}"[:200]),
            )
    elif loader == "OperatorFuncNode" and not full.startswith("operator."):
        scan.report(
            "TW-MODEL-SKOPS-DANGEROUS",
            f"an operator of the schema is {full[:120]}",
            key=path[:200],
            **about(full[:200]),
        )
    elif loader == "OperatorFuncNode" and full in ("operator.methodcaller", "operator.attrgetter"):
        given = _constants(node.get("attrs"))
        if full.endswith("methodcaller") and not given:
            scan.report(
                "TW-MODEL-SKOPS-DANGEROUS",
                f"{full} calls a target that the schema does not name",
                key=path[:200],
                **about(full),
            )
        for value in given:
            if "__" in value or name_trust(f"x.{value}") is NameTrust.DANGEROUS:
                scan.report(
                    "TW-MODEL-SKOPS-DANGEROUS",
                    f"{full} is given {value[:80]!r}",
                    key=path[:200],
                    **about(full),
                )


def _constants(node: object) -> list[str]:
    found: list[str] = []
    stack = [node]
    while stack and len(found) < 1000:
        value = stack.pop()
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, str):
            found.append(value.strip('"'))
    return found
