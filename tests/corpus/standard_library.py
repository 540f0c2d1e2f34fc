"""Writes which classes of Python's own library hold data only, from the running interpreter.

Run it again on the next release of Python:

    python -m tests.corpus.standard_library

Only modules of data are asked. A class counts if to restore an instance runs none of its methods,
or those that were read and only compute. Enumerations, records and exceptions are made by a call
of their class, which runs no method either. What is written goes to `standard_globals.json`;
names that a release no longer defines stay.
"""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import msgspec

from agents.checks.artifacts.pickle import globals as imports
from agents.checks.artifacts.pickle.unlisted import boasts

OUTPUT: Final = Path(imports.__file__).with_name("standard_globals.json")
DATA: Final = (
    "ast", "asyncio.exceptions", "collections", "concurrent.futures._base", "csv", "difflib", "dis",
    "doctest", "email", "fractions", "graphlib", "html.parser", "http", "http.client",
    "http.cookiejar", "http.cookies", "json.decoder", "json.encoder", "mimetypes", "optparse", "os",
    "plistlib", "sched", "selectors", "signal", "socket", "ssl", "statistics", "string", "tarfile",
    "textwrap", "tokenize", "traceback", "urllib.error", "urllib.request", "uuid",
    "wsgiref.headers", "xml.dom.minicompat", "xml.dom.minidom", "xml.etree.ElementTree", "zipfile",
)  # fmt: skip
"""Modules of data, and those that hold records and errors beside what acts."""
ACTING: Final = frozenset(
    (
        "asyncio.exceptions", "concurrent.futures._base", "dis", "doctest", "http.client", "os",
        "posix", "selectors", "signal", "socket", "ssl", "tarfile", "urllib.request", "zipfile",
    )
)  # fmt: skip
"""Those of them of which only records, enumerations and errors count, and `KEPT`."""
KEPT: Final = frozenset(
    (
        ("doctest", "Example"), ("http.client", "HTTPMessage"), ("tarfile", "TarInfo"),
        ("urllib.request", "Request"), ("zipfile", "ZipInfo"),
    )
)  # fmt: skip
MORE: Final = {
    "contextlib": ("nullcontext",),
    "logging": ("LogRecord", "Formatter", "Filter"),
    "platform": ("uname_result",),
}
"""Classes of other modules, by hand."""
_RUN: Final = (
    "__new__", "__setstate__", "__setattr__", "__getattr__", "__getattribute__", "__del__",
    "__setitem__", "append", "extend", "add",
)  # fmt: skip
"""Methods that unpickling may call, or that run when an instance goes."""
READ: Final = frozenset(
    (
        "BaseCookie.__setitem__", "BaseHeader.__new__", "Element.__setitem__", "Element.append",
        "Element.extend", "Header.append", "HeaderDefect.__init__", "Headers.__setitem__",
        "IncompleteRead.__init__", "JSONDecodeError.__init__", "Message.__setitem__",
        "MessageDefect.__init__", "Morsel.__setitem__", "Morsel.__setstate__",
        "NamedNodeMap.__setitem__", "NamedNodeMap.__setstate__", "NodeList.__setstate__",
        "NonPrintableDefect.__init__", "NormalDist.__setstate__", "Request.__getattr__",
        "Terminal.__new__", "TopologicalSorter.add", "UID.__init__", "URLError.__init__",
        "_PolicyBase.__setattr__",
    )
)  # fmt: skip
"""Methods that were read: they set attributes, check, convert and keep what they are given."""
MADE: Final = frozenset((("plistlib", "UID"), ("xml.etree.ElementTree", "Element")))
"""Other classes made by a call."""
_OF_PYTHON: Final = 1 << 9
"""Py_TPFLAGS_HEAPTYPE."""


def _modules() -> Iterator[ModuleType]:
    for name in DATA:
        module = importlib.import_module(name)
        yield module
        if name == "email":
            for inner in pkgutil.walk_packages(module.__path__, "email."):
                yield importlib.import_module(inner.name)


def _is_asked(module: str) -> bool:
    return module in DATA or module in MORE or module == "posix" or module.startswith("email.")


def _written(cls: type, name: str) -> str:
    """Return the class that defines a method in Python, with its name, or an empty string."""
    for one in cls.__mro__:
        if name in vars(one):
            return (
                f"{one.__name__}.{name}"
                if inspect.isfunction(inspect.unwrap(_plain(one, name)))
                else ""
            )
    return ""


def _plain(cls: type, name: str) -> object:
    held = vars(cls)[name]
    return held.__func__ if isinstance(held, staticmethod | classmethod) else held


def use(cls: type) -> str:
    """Return what a pickle may do with a class: `call`, `new`, or nothing.

    Args:
        cls: The class.
    """
    if issubclass(cls, enum.Enum):
        return "call"
    record = issubclass(cls, tuple) and (hasattr(cls, "_fields") or hasattr(cls, "n_fields"))
    runs = {_written(cls, name) for name in _RUN if not (record and name == "__new__")}
    if not runs <= READ | {""}:
        return ""
    error = issubclass(cls, BaseException)
    made = record or error or (cls.__module__, cls.__name__) in MADE or issubclass(cls, ast.AST)
    if made:
        return "call" if _written(cls, "__init__") in READ | {""} else ""
    return "new" if cls.__flags__ & _OF_PYTHON else ""


def found() -> dict[str, dict[str, set[str]]]:
    """Return the names by module and use."""
    table: dict[str, dict[str, set[str]]] = {}
    every = [cls for module in _modules() for cls in vars(module).values() if inspect.isclass(cls)]
    every += [
        getattr(importlib.import_module(module), name)
        for module, names in MORE.items()
        for name in names
    ]
    for cls in every:
        place = (cls.__module__, cls.__qualname__)
        acts = cls.__module__ in ACTING
        listed = place in KEPT or cls.__qualname__ in MORE.get(cls.__module__, ())
        harmless = use(cls)
        if (acts and not listed and harmless != "call") or not _is_asked(cls.__module__):
            continue
        if harmless and not (boasts(cls.__name__) and harmless == "new"):
            table.setdefault(cls.__module__, {}).setdefault(harmless, set()).add(cls.__qualname__)
    return table


def write() -> int:
    """Write the file anew; return how many names it has."""
    table = msgspec.json.decode(OUTPUT.read_bytes(), type=dict[str, dict[str, set[str]]])
    for module, uses in found().items():
        for how, names in uses.items():
            table.setdefault(module, {}).setdefault(how, set()).update(names)
    lines = [
        json.dumps(module)
        + ": "
        + json.dumps({how: sorted(names) for how, names in sorted(uses.items())})
        for module, uses in sorted(table.items())
    ]
    OUTPUT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return sum(len(names) for uses in table.values() for names in uses.values())


if __name__ == "__main__":
    print(write(), "names")
