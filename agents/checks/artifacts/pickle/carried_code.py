"""Judges code that a pickle carries by value, as cloudpickle, dill, numba and torch.fx write it.

Sources: cloudpickle `_make_function`, dill `_create_function`, numba `core/serialize.py`,
`GraphModule.__reduce__` of torch.fx.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from agents.checks.artifacts.dangerous_names import saved_with_dataclasses
from agents.checks.artifacts.pickle.symbols import Blob, Global, Mapping, Result
from agents.checks.artifacts.python.harmless_code import (
    IDENTIFYING,
    harmless_names,
    harmless_text,
    source_fault,
)

_TYPES: Final = frozenset(
    ("CodeType", "FunctionType", "LambdaType", "MethodType", "CellType", "ModuleType")
)
OF_PYTHON: Final = frozenset(
    (
        "AsyncGeneratorType", "BuiltinFunctionType", "BuiltinMethodType",
        "ClassMethodDescriptorType", "CoroutineType", "EllipsisType", "FrameType", "GeneratorType",
        "GetSetDescriptorType", "MemberDescriptorType", "MethodDescriptorType",
        "MethodWrapperType", "NotImplementedType", "TracebackType", "UnionType",
        "WrapperDescriptorType",
    )
)  # fmt: skip
"""Types whose instances only the interpreter creates."""
_MAKERS: Final = frozenset(("_create_code", "_make_code"))
FUNCTIONS: Final = frozenset(("_make_function", "_create_function", "_make_skel_func"))
_SETTERS: Final = frozenset(("_function_setstate", "_class_setstate"))
_SKELETONS: Final = frozenset(("_make_skeleton_class", "_make_skeleton_enum", "_create_type"))
CLASSES: Final = _SKELETONS | {"_create_namedtuple"}
WRAPPERS: Final = frozenset(
    ("property", "staticmethod", "classmethod", "MappingProxyType", "PartialType")
)
"""Types that only hold their arguments: functions of a class, or its attributes."""
BINDS: Final = "MethodType"
"""The type that holds a function and its first argument."""
SHOWING: Final = frozenset(("__repr__", "__str__", "__format__", "__hash__"))
"""Methods of plain types that an enumeration of texts or numbers inherits."""
_IMPORTS: Final = frozenset(("subimport", "_import_module"))
_CELLS: Final = frozenset(("_create_cell", "_make_cell", "_make_empty_cell"))
SOURCES: Final = frozenset(("reduce_graph_module",))
"""Functions whose arguments are a module's attributes, including its source, and its imports."""
LOOKUPS: Final = frozenset(("_builtin_type", "_load_type"))
_LIBRARIES: Final = frozenset(
    (
        "numpy", "scipy", "sklearn", "pandas", "math", "re", "collections", "itertools", "torch",
        "tensorflow", "keras", "jax", "numba", "umap", "pynndescent", "shap", "matplotlib",
        "random", "datetime", "string", "statistics", "warnings", "json", "time", "functools",
        "copy", "typing", "nltk", "spacy", "gensim", "xgboost", "lightgbm", "polars", "joblib",
        "statsmodels", "transformers", "logging", "operator", "unicodedata", "cmath",
        "dataclasses", "enum", "abc",
    )
)  # fmt: skip
"""Libraries that models' functions import, and whose import runs nothing harmful."""
BOUND: Final = ("bound",)
"""Arguments that refer to a harmless method."""
_PLAIN: Final = (str, bytes, int, float, bool)
MAX_VALUES: Final = 10_000


def makes_code(callee: object) -> bool:
    """Return whether a callee makes a code object from its arguments."""
    if isinstance(callee, Global):
        return callee.name in _MAKERS
    if not (isinstance(callee, Result) and isinstance(callee.callee, Global)):
        return False
    return callee.callee.name in LOOKUPS and callee.args == ("CodeType",)


def wraps(callee: object) -> bool:
    """Return whether a callee is a type, looked up by name, that only holds its arguments."""
    if not (isinstance(callee, Result) and isinstance(callee.callee, Global)):
        return False
    args = callee.args
    return (
        callee.callee.name in LOOKUPS
        and isinstance(args, tuple)
        and len(args) == 1
        and args[0] in WRAPPERS | {BINDS}
    )


def binds_import(callee: object, args: Any) -> bool:  # noqa: ANN401
    """Return whether an imported method is bound, so that nothing is carried by value."""
    return _binds(callee) and isinstance(args, tuple) and isinstance(args[0], Global)


def is_carried(value: object) -> bool:
    """Return whether a value is a function or class carried by value, or a wrapped one."""
    if not isinstance(value, Result):
        return False
    made = value.callee
    named = isinstance(made, Global) and made.name in FUNCTIONS | CLASSES
    return named or wraps(made)


def _is_partial(value: object) -> bool:
    """Return whether a value was made by `functools.partial`, whose call has been judged."""
    made = value.callee if isinstance(value, Result) else None
    return isinstance(made, Global) and (made.module, made.name) == ("functools", "partial")


def is_cell(value: object) -> bool:
    """Return whether a value is a cell of a closure carried by value."""
    made = value.callee if isinstance(value, Result) else None
    return isinstance(made, Global) and made.name in _CELLS


def is_maker(args: Any) -> bool:  # noqa: ANN401
    """Return whether getattr looks up a plain type's method that makes or shows values."""
    if len(args) != 2 or args[1] not in SHOWING | {"__new__"}:  # noqa: PLR2004 -- as getattr has
        return False
    kind = args[0].callee if isinstance(args[0], Result) else args[0]
    return isinstance(kind, Global) and (
        kind.name in LOOKUPS or kind.module in ("builtins", "__builtin__", "enum")
    )


def is_setter(args: Any) -> bool:  # noqa: ANN401
    """Return whether getattr looks up dill's own `setattr`, where it has one."""
    return (
        len(args) == 3  # noqa: PLR2004 -- as getattr has
        and isinstance(args[0], Global)
        and (args[0].module, args[0].name) == ("dill", "_dill")
        and args[1] == "_setattr"
        and isinstance(args[2], Global)
        and args[2].name == "setattr"
    )


def is_bound_code(callee: object) -> bool:
    """Return whether a callee is a function pickled by value that is bound to an object.

    Its code was judged when the function was made. Keras' models by dill and numba's compiled
    functions by cloudpickle are rebuilt by such methods of their own classes.

    Args:
        callee: What is called.
    """
    if not (isinstance(callee, Result) and isinstance(callee.callee, Result)):
        return False
    lookup, args = callee.callee, callee.args
    return (
        isinstance(lookup.callee, Global)
        and lookup.callee.name in LOOKUPS
        and lookup.args == ("MethodType",)
        and isinstance(args, tuple)
        and bool(args)
        and is_carried(args[0])
    )


def makes_class(callee: object) -> bool:
    """Return whether a callee, or the class of an instance, is a class pickled by value."""
    made = callee.callee if isinstance(callee, Result) else None
    return isinstance(made, Global) and made.name in CLASSES


def fault(callee: object, args: Any, known: Callable[[object], bool]) -> str:  # noqa: ANN401 -- as on the stack
    """Return why a call does more than assemble harmless functions, or an empty string.

    Args:
        callee: A function that carries code by the allow-list, or one that makes code objects.
        args: Its arguments.
        known: Whether a value is an import that may be called later, with any arguments.
    """
    if makes_code(callee):
        return _code_fault(args)
    if wraps(callee):
        if callee.args == ("PartialType",) and args and known(args[0]):  # type: ignore[attr-defined]  # `wraps` checked it
            args = args[1:]
        return _binding_fault(args, known) if _binds(callee) else wrapping_fault(args)
    name = callee.name if isinstance(callee, Global) else ""
    first = args[0] if isinstance(args, tuple) and args else None
    if name in LOOKUPS:
        known_types = _TYPES | WRAPPERS | OF_PYTHON
        return "" if first in known_types else "it looks up a type that is none of functions"
    if name in _IMPORTS:
        top = first.split(".")[0] if isinstance(first, str) else ""
        fine = top in _LIBRARIES | IDENTIFYING or first in saved_with_dataclasses()
        return "" if fine else "it imports a module"
    if name in _SKELETONS:
        return _class_fault(first, enum=name == "_make_skeleton_enum")
    if name == "_create_namedtuple":
        return wrapping_fault(args)
    if name in FUNCTIONS:
        made = isinstance(first, Result) and makes_code(first.callee)
        return "" if made else "its code comes from elsewhere"
    if name in SOURCES:
        return _graph_fault(args)
    if name in _SETTERS:
        made = isinstance(first, Result) and isinstance(first.callee, Global)
        kinds = FUNCTIONS | CLASSES
        fine = made and isinstance(first.callee, Global) and first.callee.name in kinds  # type: ignore[union-attr]  # `made` checked it
        return "" if fine else "it changes an object that is not a function of the pickle"
    return ""


def _graph_fault(args: Any) -> str:  # noqa: ANN401
    """Return why the source of a traced module does more than compute, or an empty string."""
    if not (isinstance(args, tuple) and len(args) == 2 and isinstance(args[0], Mapping)):  # noqa: PLR2004
        return "its code comes from elsewhere"
    body, imports = args
    sources = [
        value
        for key, value in zip(body[::2], body[1::2], strict=False)
        if not isinstance(key, str) or key in ("_code", "code")
    ]
    if not sources or not all(isinstance(text, str) for text in (imports, *sources)):
        return "its code comes from elsewhere"
    # torch runs both as one source
    faults = (source_fault(imports + text, _LIBRARIES) for text in sources)
    return next(filter(None, faults), "")


def wrapping_fault(args: Any) -> str:  # noqa: ANN401
    """Return why a wrapper's argument is not a harmless function, or an empty string."""
    waiting: list[object] = [args]
    for _ in range(MAX_VALUES):
        if not waiting:
            return ""
        value = waiting.pop()
        if isinstance(value, tuple | list):
            waiting.extend(value)
        elif isinstance(value, Global) and value.module == "enum":
            continue  # inherited by an enumeration from its base
        elif not (
            value is None or isinstance(value, _PLAIN) or is_carried(value) or _is_partial(value)
        ):
            return "it wraps an object that is not a function of the pickle"
    return "it wraps more objects than are read"


def _binds(callee: object) -> bool:
    return isinstance(callee, Result) and callee.args == (BINDS,)


def _binding_fault(args: Any, known: Callable[[object], bool]) -> str:  # noqa: ANN401
    """Return why a bound method is not of a function in the pickle, or an empty string.

    Args:
        args: The function, and the instance.
        known: Whether a value is an import that may be called later.
    """
    if not isinstance(args, tuple) or len(args) != 2:  # noqa: PLR2004 -- function, instance
        return "it binds an object that is not a method"
    # from Python 3.13 on, the repr of a dataclass is a method of reprlib
    shows = isinstance(args[0], Global) and args[0].module == "reprlib"
    method = isinstance(args[0], Global) and "." in args[0].name and known(args[0])
    if shows or method or is_carried(args[0]) or _is_looked_up(args[0]):
        return ""
    return "it binds an object that is not a function of the pickle"


def _is_looked_up(value: object) -> bool:
    """Return whether a value is a method of a plain type, which was judged when it was looked up.

    An object that loads itself lazily binds methods of its own type in this way.
    """
    made = value.callee if isinstance(value, Result) else None
    if not isinstance(value, Result) or not isinstance(made, Global):
        return False
    slot = (made.module, made.name) == ("dill._dill", "_getattr")
    return slot or (made.name == "getattr" and value.args == BOUND)


def _class_fault(kind: object, *, enum: bool) -> str:
    """Return why a class is not made by a metaclass, or an empty string.

    Args:
        kind: The callee that makes it; for an enumeration its bases.
        enum: Whether an enumeration is made, whose metaclass is fixed.
    """
    if enum or is_carried(kind):
        return ""
    if isinstance(kind, Result):
        of = kind.callee.name if isinstance(kind.callee, Global) else ""
        return "" if of in LOOKUPS | {"type"} else "its class is made by the result of a call"
    if isinstance(kind, Global):
        last = kind.name.rpartition(".")[2]
        if last == "type" or last.lstrip("_")[:1].isupper():
            return ""
    return "its class is made by an object that is not a metaclass"


def _code_fault(args: Any) -> str:  # noqa: ANN401
    """Return which name or constant of a code object leads out of it."""
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
            return "its code is too large to analyse"
        elif isinstance(value, Result) and not makes_code(value.callee):
            return "its code holds the result of a call"
    return "its code is too large to analyse"
