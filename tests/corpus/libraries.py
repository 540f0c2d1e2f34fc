"""Writes which classes of libraries are made by nothing but their state, from their source.

Run it again on the next release of a library:

    pip download --no-deps -d wheels scikit-learn transformers torch ...
    python -m tests.corpus.libraries wheels

Nothing is installed or imported: the wheels' sources are parsed. A class counts if unpickling an
instance runs no code but what is read here: neither it nor an ancestor has a finaliser, and what
they run on restoring a state calls nothing but what sets attributes. Of Cython's sources, a class
counts that defines none of what runs then, with the function that Cython makes to restore it. Of
spaCy and thinc, whose layers are made of functions, those count, to be referred to, that call
nothing by whose name it runs, loads or looks up. Of SymPy, whose classes
evaluate text that they are given, expressions count, to be made of numbers and expressions only.
An ancestor is looked for in the same wheel, then in all that are read together. What is written
goes to `library_globals.json`; names that a release no longer defines stay, for the files that
older releases wrote, and what a person decided stays in `allowed_globals.json`.
"""

# ruff: noqa: E501 -- lists of names

from __future__ import annotations

import ast
import json
import re
import sys
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from agents.checks.artifacts.dangerous_names import modules
from agents.checks.artifacts.pickle import globals as imports

OUTPUT: Final = Path(imports.__file__).with_name("library_globals.json")
DECIDED: Final = OUTPUT.with_name("allowed_globals.json")
_LEFT_OUT: Final = re.compile(
    r"(^|[/_.])(tests?|testing|conftest|benchmarks?|examples?|scripts?|cli|commands?|__main__|setup|hub"
    r"|download\w*|server|serve|elastic|rpc|package|cpp_extension|_inductor|_dynamo|_export|fx|io"
    r"|subprocess\w*|multiprocessing|sphinxext|app|twitter|corpus|backends?|pipelines|agents|deprecated"
    r"|externals|vendored?|_vendor|third_?party\w*|dashboard|autoscaler|telemetry|gateway|debug_utils|notebook|tex(?!t)\w*|animation|onnx|distributed|jit)(/|\.py$|_)"
)
"""Modules that no saved model refers to, or that run what they are given."""
_ASIDE: Final = re.compile(
    r"\.data/|^(docs|devtools|\w+_train)/|/dummy_\w+\.py$"
    r"|^ray/(_private|_common|_raylet|core|experimental|includes|llm|serve|util/client|widgets|workflow)/"
    r"|^mlflow/(ai_commands|assistant|deployments|genai|store|tracing|tracking|utils)/"
    r"|^tensorflow_probability/substrates/|^onnxruntime/(tools|transformers|quantization)/"
    r"|^tensorflow/(lite|tools|compiler|core)/|^nemo/(deploy|export|lightning|utils)/"
)
"""What wheels hold besides a library's models, and stand-ins for what is not installed."""
_RESTORES: Final = frozenset(
    ("__setstate__", "__new__", "__getattr__", "__getattribute__", "__setattr__", "__hash__", "__eq__")
)  # fmt: skip
"""Methods that unpickling may call."""
_SETS: Final = frozenset(
    (
        "super", "__setstate__", "__new__", "__init__", "__getattr__", "__getattribute__",
        "__setattr__", "update", "pop", "get", "copy", "items", "keys", "values", "setdefault",
        "isinstance", "hasattr", "len", "dict", "list", "tuple", "set", "warn", "AttributeError",
        "type", "format", "startswith", "endswith", "hash", "id", "cast", "int", "bool", "str",
        "append", "object", "property", "repr", "ValueError", "TypeError", "NotImplementedError",
        "__setitem__", "astype", "InconsistentVersionWarning",
    )
)  # fmt: skip
"""Calls that set attributes, look at them, convert numbers, warn or refuse."""
_HARMLESS_BASES: Final = frozenset(
    (
        "MessagePassing",  # whose state the scanner judges
        "object", "ABC", "Generic", "Protocol", "dict", "list", "tuple", "set", "str", "int", "float",
        "OrderedDict", "UserDict", "UserList", "NamedTuple", "defaultdict", "Mapping", "Sequence",
        "MutableMapping", "Module", "BaseEstimator", "TransformerMixin", "ClassifierMixin",
        "RegressorMixin", "ClusterMixin", "OutlierMixin", "MetaEstimatorMixin", "TypedDict",
        "Callable", "Iterable", "Hashable", "Container", "Sized", "Exception", "Counter",
        "PreTrainedModel", "PushToHubMixin", "SimpleNamespace", "Optimizer", "Dataset",
        "LayerNorm", "GroupNorm", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "InstanceNorm2d",
        "Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d", "Embedding", "Dropout", "ModuleList",
        "ModuleDict", "MultiheadAttention", "TransformerEncoderLayer", "AvgPool2d", "MaxPool2d",
        "Sequential", "BaseModel", "SMPHubMixin", "PyTorchModelHubMixin", "BaseForest", "Metric",
    )
)  # fmt: skip
"""Classes of other packages that restore a state as plain objects do."""
_ENUMERATIONS: Final = frozenset(
    ("Enum", "IntEnum", "StrEnum", "Flag", "IntFlag", "ExplicitEnum", "WeightsEnum")
)


_EXPRESSIONS: Final = frozenset(
    (
        "Basic",
        "MatrixBase",
        "Domain",
        "DomainElement",
        "DomainMatrix",
        "DDM",
        "SDM",
        "DFM",
        "GenericPoly",
    )
)
"""The roots of SymPy's classes of expressions, and of what polynomials and matrices are made of."""


_FUNCTIONAL: Final = ("spacy", "thinc")
"""Packages whose saved objects refer to functions, which are the layers of their networks."""
_KEPT: Final = re.compile(
    r"^thinc/backends/(ops|numpy_ops|_param_server)\.|^transformers/pipelines/\w+\.py$"
    r"|^spacy/training/example\.pyx$"
)
"""Modules with the name of such as are left out, which saved layers refer to."""
_RECORDS: Final = frozenset(("ModelOutput", "BaseOutput", "Counter"))
"""Dataclasses of named results, and counters: restored by a call with what they hold."""
_RESULT: Final = re.compile(r"(Prediction|Output|Result|State|Config|Arguments|Params|Info)s?$")
"""Names of classes that hold data, whatever verb precedes them."""
_CYTHON: Final = re.compile(
    r"^(cdef )?class (\w+)(?:\(([^)]*)\))?:[^\n]*\n((?:[ \t#][^\n]*\n|\n)*)", re.MULTILINE
)
_CYTHON_METHOD: Final = re.compile(r"^[ \t]+c?p?def [^\n(=]*?(\w+)\(", re.MULTILINE)
_CYTHON_FUNCTION: Final = re.compile(
    r"^c?p?def (?!class )[^\n(=]*?(\w+)(\([^\n]*\n(?:[ \t#)][^\n]*\n|\n)*)", re.MULTILINE
)
_CYTHON_CALL: Final = re.compile(r"(\w+)\(")
_ORDINARY: Final = frozenset(("reversed", "callback", "callbacks"))
"""Names of what layers call that are like names of what runs."""
_CYTHON_RUNS: Final = _RESTORES - {"__hash__", "__eq__"} | {"__del__", "__dealloc__", "__cinit__"}
"""Methods that unpickling may call; those of Cython's classes are not read further."""


class Class(msgspec.Struct):
    """A class, or a function that is referred to, as its source defines it."""

    bases: list[str]
    restores: bool
    """Whether what it runs on restoring a state only sets attributes."""
    use: str = "new"
    """What it is for, if it counts."""
    restorer: bool = False
    """Whether Cython makes a function that restores it."""


Known = dict[str, dict[str, Class]]
"""Classes by module, then name."""


def read_wheel(path: Path) -> Known:
    """Return the classes that the sources of a wheel define."""
    found: Known = {}
    with zipfile.ZipFile(path) as wheel:
        for entry in sorted(wheel.namelist()):
            stem, dot, ending = entry.rpartition(".")
            left_out = _LEFT_OUT.search(f"{stem}.py") and not _KEPT.match(entry)
            if dot + ending not in (".py", ".pyx") or left_out or _ASIDE.search(entry):
                continue
            module = stem.replace("/", ".").removesuffix(".__init__")
            source = wheel.read(entry)
            python = ending == "py"
            classes = dict(_classes(source) if python else _cython(source.decode()))
            if module.split(".")[0] in _FUNCTIONAL:
                found_here = _functions(source) if python else _cython_functions(source.decode())
                classes.update(found_here)
            if classes:
                found[module] = classes
    return found


def _classes(source: bytes) -> Iterator[tuple[str, Class]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries' own escapes
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return
    for node in tree.body:
        if isinstance(node, ast.Assign) and _makes_tuple(node):
            yield ast.unparse(node.targets[0]), Class(["NamedTuple"], restores=True)
        if isinstance(node, ast.ClassDef):
            bases = [_last(base) for base in node.bases]
            yield node.name, Class(bases, all(_only_sets(statement) for statement in node.body))


def _cython(source: str) -> Iterator[tuple[str, Class]]:
    for made, name, bases, body in _CYTHON.findall(source):
        methods = set(_CYTHON_METHOD.findall(body))
        own = [base.strip().rpartition(".")[2] for base in bases.split(",") if base.strip()]
        restorer = bool(made) and not methods & {"__reduce__", "__reduce_ex__"}
        yield name, Class(own, not methods & _CYTHON_RUNS, restorer=restorer)


def _cython_functions(source: str) -> Iterator[tuple[str, Class]]:
    for name, body in _CYTHON_FUNCTION.findall(source):
        if not _runs(name):
            safe = " import " not in body and not any(map(_runs, _CYTHON_CALL.findall(body)))
            yield name, Class([], safe, use="ref")


def _functions(source: bytes) -> Iterator[tuple[str, Class]]:
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and not _runs(node.name):
            calls = [inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call)]
            fetches = any(
                isinstance(inner, ast.Import | ast.ImportFrom) for inner in ast.walk(node)
            )
            safe = not fetches and not any(_runs(_last(call)) for call in calls)
            yield node.name, Class([], safe, use="ref")


def _runs(name: str) -> bool:
    """Tell whether a name says that it runs, loads or looks up."""
    return name not in _ORDINARY and imports.RUNNER.search(name) is not None


def _makes_tuple(node: ast.Assign) -> bool:
    """Return whether a named tuple is made, under its own name, by a call."""
    made, name = node.value, node.targets[0]
    return (
        isinstance(made, ast.Call)
        and _last(made.func) == "namedtuple"
        and isinstance(name, ast.Name)
        and bool(made.args)
        and isinstance(made.args[0], ast.Constant)
        and made.args[0].value == name.id
    )


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        return _last(node.value)
    return node.id if isinstance(node, ast.Name) else "?"


def _only_sets(node: ast.stmt) -> bool:
    if not isinstance(node, ast.FunctionDef):
        return True
    if node.name == "__del__":
        return False
    if node.name not in _RESTORES:
        return True
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import | ast.ImportFrom | ast.With):
            return False
        if isinstance(inner, ast.Call) and _last(inner.func) not in _SETS:
            return False
    return True


def _by_name(known: Iterable[Known]) -> dict[str, list[Class]]:
    named: dict[str, list[Class]] = {}
    for library in known:
        for classes in library.values():
            for name, class_ in classes.items():
                named.setdefault(name, []).append(class_)
    return named


def judge(
    known: Known, others: dict[str, list[Class]] | None = None
) -> Iterator[tuple[str, str, str]]:
    """Yield module, name and use of each class that is made by nothing but its state.

    Args:
        known: The classes of a library.
        others: Those of others by name, among which ancestors are that it does not define.
    """
    named = {**(others or {}), **_by_name([known])}
    ancestry = _Ancestry(named)
    bad = modules("pickle")
    for module, classes in known.items():
        if module.split(".")[0] == "sympy":
            for name in classes:
                decided = (module, name) in _decided()
                compiled = imports.compiles(module, name)
                if not (decided or compiled) and ancestry.descends(name, _EXPRESSIONS):
                    yield module, name, "expression"
        if module.split(".")[0] in bad:
            continue
        for name, class_ in classes.items():
            if class_.use == "ref":
                if class_.restores:
                    yield module, name, "ref"
                continue
            if not name.lstrip("_")[:1].isupper():
                continue
            if imports.RUNNER.search(name) and not _RESULT.search(name):
                continue
            if imports.judge_unlisted(module, name).level is imports.Level.DANGEROUS:
                continue
            if _ENUMERATIONS & set(class_.bases):
                yield module, name, "call"
            elif ancestry.is_plain(class_):
                yield module, name, "new"
                if ancestry.descends(name, _RECORDS):
                    yield module, name, "call"
                if class_.restorer:
                    yield module, f"__pyx_unpickle_{name}", "call"


@cache
def _decided() -> frozenset[tuple[str, str]]:
    """Return the imports whose uses a person decided."""
    table = msgspec.json.decode(DECIDED.read_bytes(), type=dict[str, dict[str, list[str]]])
    return frozenset(
        (module, name)
        for module, uses in table.items()
        for names in uses.values()
        for name in names
    )


class _Ancestry:
    """What classes descend from, by name; of a name, all classes that have it count."""

    def __init__(self, named: dict[str, list[Class]]) -> None:
        """Look ancestors up among these."""
        self._named = named
        self._plain: dict[str, bool] = {}
        self._roots: dict[tuple[str, frozenset[str]], bool] = {}

    def descends(self, name: str, roots: frozenset[str]) -> bool:
        """Tell whether a class is one of some roots, or has one among its ancestors."""
        if name in roots:
            return True
        key = (name, roots)
        if key not in self._roots:
            self._roots[key] = False  # where a name is its own ancestor
            bases = {base for known in self._named.get(name, ()) for base in known.bases}
            self._roots[key] = any(self.descends(base, roots) for base in bases)
        return self._roots[key]

    def is_plain(self, one: Class) -> bool:
        """Tell whether a class and all its ancestors only set attributes."""
        return one.restores and all(
            base in _HARMLESS_BASES or self._is_plain_name(base) for base in one.bases
        )

    def _is_plain_name(self, name: str) -> bool:
        if name not in self._plain:
            self._plain[name] = False
            parents = self._named.get(name, ())
            self._plain[name] = bool(parents) and all(map(self.is_plain, parents))
        return self._plain[name]


def _without(uses: dict[str, set[str]], defined: set[str]) -> dict[str, set[str]]:
    """Return the names of a module by use, without those that the release read now defines."""
    restored = {f"__pyx_unpickle_{name}" for name in defined}
    kept = {use: names - defined - restored for use, names in uses.items()}
    return {use: names for use, names in kept.items() if names}


def write(wheels: Iterable[Path]) -> int:
    """Write the file with the classes of some wheels renewed; return how many names it has."""
    held = msgspec.json.decode(OUTPUT.read_bytes(), type=dict[str, dict[str, set[str]]])
    read = [read_wheel(wheel) for wheel in sorted(wheels)]
    table = {
        module: kept
        for module, uses in held.items()
        if (kept := _without(uses, {name for known in read for name in known.get(module, ())}))
    }
    others = _by_name(read)
    for known in read:
        for module, name, use in judge(known, others):
            table.setdefault(module, {}).setdefault(use, set()).add(name)
    lines = [
        json.dumps(module)
        + ": "
        + json.dumps({use: sorted(names) for use, names in sorted(uses.items())})
        for module, uses in sorted(table.items())
    ]
    OUTPUT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return sum(len(names) for uses in table.values() for names in uses.values())


if __name__ == "__main__":
    print(write(Path(sys.argv[1]).glob("*.whl")), "names")
