"""setup.py: the requirements that it writes out; it is read, and never run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from schemas.events import Installer
from streams.adapters.manifests.found import Found, InstallOptions
from streams.adapters.manifests.python_constants import AssignedNames, assigned, parsed, texts_of
from streams.adapters.manifests.requirements import declare

_LISTS: Final = ("install_requires", "setup_requires", "tests_require", "requires")
_REMEDY: Final = "known at run time only: scan `pip freeze` or a lock"


def read(raw: bytes, _options: InstallOptions) -> Found:
    """Return the requirements of a setup.py; those that it computes are not checked."""
    tree = parsed(raw, "setup.py")
    found = Found(installer=Installer(name="setuptools"))
    names = assigned(tree)
    calls = list(_setup_calls(tree))
    if not calls:
        found.unsupported.append(f"setup.py: it calls no setup(): what it requires is {_REMEDY}")
    for call in calls:
        _read_call(call, names, found)
    return found


def _setup_calls(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else None
            if isinstance(node.func, ast.Name):
                name = node.func.id
            if name == "setup":
                yield node


def _read_call(call: ast.Call, names: AssignedNames, found: Found) -> None:
    for keyword in call.keywords:
        given = _dictionary(keyword.value, names)
        if keyword.arg is None:
            if given is None:
                found.unsupported.append(f"setup.py: what setup(**…) requires is {_REMEDY}")
            else:
                for name, value in given:
                    _read_setting(name, value, names, found)
        else:
            _read_setting(keyword.arg, keyword.value, names, found)


def _read_setting(name: str, value: ast.expr, names: AssignedNames, found: Found) -> None:
    if name in _LISTS:
        _declare(name, value, names, found)
    elif name == "dependency_links":
        for link in _written(name, value, names, found):
            found.requirements.append(f"--find-links {link}")
    elif name == "extras_require":
        extras = _dictionary(value, names)
        if extras is None:
            found.unsupported.append(f"setup.py: {name} is {_REMEDY}")
        for extra, listed in extras or ():
            _declare(f"{name}[{extra}]", listed, names, found)


def _declare(name: str, value: ast.expr, names: AssignedNames, found: Found) -> None:
    written = _written(name, value, names, found)
    lines = [line.strip() for text in written for line in text.splitlines()]
    declare(found, [line for line in lines if line and "$" not in line], "setup.py")
    if any("$" in line for line in lines):
        found.unsupported.append(f"setup.py: a part of {name} is {_REMEDY}")


def _written(name: str, value: ast.expr, names: AssignedNames, found: Found) -> list[str]:
    if isinstance(value, ast.Constant) and value.value is None:
        return []
    texts = texts_of(value, names)
    if texts is None:
        found.unsupported.append(f"setup.py: {name} is {_REMEDY}")
        partly = value.elts if isinstance(value, ast.List | ast.Tuple) else []
        return [text for item in partly for text in texts_of(item, names) or ()]
    return texts


def _dictionary(value: ast.expr, names: AssignedNames) -> list[tuple[str, ast.expr]] | None:
    """Return the entries of a dictionary that is written out, None for any other value."""
    if isinstance(value, ast.Name) and value.id in names:
        value = names[value.id]
    if (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id == "dict"
        and not value.args
    ):
        pairs = [(keyword.arg, keyword.value) for keyword in value.keywords]
        return None if any(name is None for name, _ in pairs) else [(n or "", v) for n, v in pairs]
    if not isinstance(value, ast.Dict):
        return None
    found: list[tuple[str, ast.expr]] = []
    for key, item in zip(value.keys, value.values, strict=True):
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            return None
        found.append((key.value, item))
    return found
