"""noxfile.py: what its sessions install; it is read, and never run."""

from __future__ import annotations

import ast
import shlex
from typing import Final

from streams.adapters.manifests.commands import Command, installs_of
from streams.adapters.manifests.found import Found, InstallOptions
from streams.adapters.manifests.python_constants import AssignedNames, assigned, parsed, texts_of

_INSTALLS: Final = {"install": "pip install", "conda_install": "conda install"}
_RUNS: Final = frozenset({"run", "run_install", "run_always"})
_SESSIONS: Final = frozenset({"session", "s", "self"})


def read(raw: bytes, options: InstallOptions) -> Found:
    """Return the packages that the sessions of a noxfile.py install."""
    problems: list[str] = []
    place = options.path or "noxfile.py"
    commands = nox_commands(parsed(raw, "noxfile.py"), problems)
    found = installs_of(commands, options, place)
    found.incomplete += [f"{place}:{problem}" for problem in problems]
    return found


def nox_commands(tree: ast.Module, problems: list[str]) -> list[Command]:
    """Return the commands of the sessions, as a shell would write them.

    Args:
        tree: The program.
        problems: Takes the calls whose arguments are computed.
    """
    names = assigned(tree)
    found: list[Command] = []
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        method, owner = node.func.attr, _owner(node.func.value)
        if owner not in _SESSIONS or not (method in _INSTALLS or method in _RUNS):
            continue
        words, computed = _words(node, names)
        if computed and (method in _INSTALLS or "install" in words):
            problems.append(f"{node.lineno}: a part of what {owner}.{method}() takes is computed")
        prefix = _INSTALLS.get(method)
        text = shlex.join(words)
        if words:
            found.append(Command(f"{prefix} {text}" if prefix else text, node.lineno))
    return found


def _owner(node: ast.expr) -> str:
    """Return the name that a method is looked up on: of `session.poetry.install` the session."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _words(call: ast.Call, names: AssignedNames) -> tuple[list[str], bool]:
    """Return the arguments that are written out, and whether others are not."""
    words: list[str] = []
    computed = False
    for argument in call.args:
        value = argument.value if isinstance(argument, ast.Starred) else argument
        if _is_posargs(value):
            continue  # the caller's
        given = texts_of(value, names)
        if given is None:
            computed = True
        else:
            words += given
    return words, computed


def _is_posargs(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "posargs"
