"""Judges code that a pickle carries by value, as cloudpickle, dill and numba write functions.

Sources: cloudpickle `_make_function`, dill `_create_function`, numba `core/serialize.py`.
"""

from __future__ import annotations

from typing import Any, Final

from agents.checks.artifacts.pickle.symbols import Blob, Global, Mapping, Result
from agents.checks.artifacts.python.harmless_code import harmless_names, harmless_text

_TYPES: Final = frozenset(("CodeType", "FunctionType", "MethodType", "CellType", "ModuleType"))
_MAKERS: Final = frozenset(("_create_code", "_make_code"))
FUNCTIONS: Final = frozenset(("_make_function", "_create_function", "_make_skel_func"))
_SETTERS: Final = frozenset(("_function_setstate", "_class_setstate"))
CLASSES: Final = frozenset(("_make_skeleton_class", "_make_skeleton_enum", "_create_type"))
_IMPORTS: Final = frozenset(("subimport", "_import_module"))
_LOOKUPS: Final = frozenset(("_builtin_type", "_load_type"))
_LIBRARIES: Final = frozenset(
    (
        "numpy", "scipy", "sklearn", "pandas", "math", "re", "collections", "itertools", "torch",
        "tensorflow", "keras", "jax", "numba", "umap", "pynndescent", "shap", "matplotlib",
        "random", "datetime", "string", "statistics", "warnings", "json", "time", "functools",
        "copy", "typing", "nltk", "spacy", "gensim", "xgboost", "lightgbm", "polars", "joblib",
        "statsmodels", "transformers", "logging", "operator", "unicodedata", "cmath",
    )
)  # fmt: skip
"""What the functions of models import, and which runs nothing by that."""
MAX_VALUES: Final = 10_000


def makes_code(callee: object) -> bool:
    """Tell whether what is called makes a code object out of its arguments."""
    if isinstance(callee, Global):
        return callee.name in _MAKERS
    if not (isinstance(callee, Result) and isinstance(callee.callee, Global)):
        return False
    return callee.callee.name in _LOOKUPS and callee.args == ("CodeType",)


def makes_class(callee: object) -> bool:
    """Tell whether what is called, or made an instance of, is a class that came by value."""
    made = callee.callee if isinstance(callee, Result) else None
    return isinstance(made, Global) and made.name in CLASSES


def fault(callee: object, args: Any) -> str:  # noqa: ANN401 -- as they stand on the stack
    """Tell why a call does more than to put harmless functions together, or return nothing.

    Args:
        callee: A function that the allow-list knows to carry code, or what makes code objects.
        args: Its arguments.
    """
    if makes_code(callee):
        return _code_fault(args)
    name = callee.name if isinstance(callee, Global) else ""
    first = args[0] if isinstance(args, tuple) and args else None
    if name in _LOOKUPS:
        return "" if first in _TYPES else "it looks up a type that is none of functions"
    if name in _IMPORTS:
        top = first.split(".")[0] if isinstance(first, str) else ""
        return "" if top in _LIBRARIES else "it imports a module"
    if name in FUNCTIONS:
        made = isinstance(first, Result) and makes_code(first.callee)
        return "" if made else "its code comes from elsewhere"
    if name in _SETTERS:
        made = isinstance(first, Result) and isinstance(first.callee, Global)
        kinds = FUNCTIONS | CLASSES
        fine = made and isinstance(first.callee, Global) and first.callee.name in kinds  # type: ignore[union-attr]  # told by `made`
        return "" if fine else "it changes what is no function of the pickle"
    return ""


def _code_fault(args: Any) -> str:  # noqa: ANN401
    """Say which name or constant of a code object leads out of it."""
    waiting: list[object] = [args]
    for _ in range(MAX_VALUES):
        if not waiting:
            return ""
        value = waiting.pop()
        if isinstance(value, tuple | list) and not isinstance(value, Mapping):
            waiting.extend(value)
        elif isinstance(value, str):
            if value.isidentifier() and not harmless_names((value,)):
                return f"its code uses {value!r}"
            if not value.isidentifier() and not harmless_text(value):
                return f"its code holds {value[:60]!r}"
        elif isinstance(value, Blob):
            return "its code is larger than is read"
        elif isinstance(value, Result) and not makes_code(value.callee):
            return "its code holds what a call returned"
    return "its code is larger than is read"
