"""Separates unknown imports that only make objects from those that do something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from agents.checks.artifacts.formats.targets import handed_on
from agents.checks.artifacts.pickle.globals import (
    CYTHON,
    ML_PACKAGES,
    RESTORER,
    ImportVerdict,
    Level,
)
from agents.checks.artifacts.pickle.look_alikes import SHORT, one_letter, shortened
from agents.checks.artifacts.pickle.symbols import Mapping

MAX_SETTINGS: Final = 1_000
"""The most values of one object to check."""
MAX_PARTS: Final = 16
"""The longest sequence that counts as a setting."""
MAX_TEXT: Final = 4096
"""Characters of one."""
_LONGEST: Final = max(map(len, ML_PACKAGES))
_BOASTS: Final = re.compile(
    r"(?:^|[._])(?i:pwn\w*|payload\w*|evil\w*|malicious|malware|backdoor\w*|exploit\w*|attacker"
    r"|trojan|shellcode|rce|steal\w*|exfil\w*)(?=$|[._]|[A-Z0-9])"
    r"|(?<=[a-z0-9])(?:Pwn|Payload|Evil|Malware|Backdoor|Exploit|Trojan|Shellcode|RCE|Exfil)"
)
"""Words in the name of a module that is meant to do harm."""
_ACTS: Final = re.compile(
    r"(?:^|[._]|(?<=[a-z0-9]))(?:Run|Runner|Exec|Execute|Executor|Eval|Evaluator|System|Popen|Spawn"
    r"|Shell|Script|Command|Cmd|Call|Caller|Import|Importer|Load|Loader|Unpickler|Download|Downloader"
    r"|Fetch|Fetcher|Open|Opener|Compile|Compiler|Resolver|Locator|Install|Installer|Invoke|Invoker"
    r"|Launch|Launcher|Writer|Remover|Connection|Hook|Injector|Reverse|Subprocess|Process|Interpreter"
    r"|Exploit|Payload|Render|Renderer|Query)(?=$|[._A-Z0-9])"
)
"""Whole words in the name of a class whose constructor does something."""


def makes_objects(
    module: str, name: str, verdict: ImportVerdict, *, called: bool, made: bool
) -> bool:
    """Return whether an unknown import only makes objects.

    A pickle names the class of each object, from any package: an unlisted class is not suspicious
    unless its package imitates a known one. An instance that is made without its constructor runs
    nothing that the name could reveal. A call is judged by the callee's name: a function must be
    named like one that restores an object, and legitimate callees of a known package are on the
    list.

    Args:
        module: As the machine looks it up.
        name: The same; may be dotted.
        verdict: Its judgement.
        called: Whether the stream calls it.
        made: Whether the stream makes instances of it, without a call.
    """
    if verdict.level is not Level.UNKNOWN or verdict.evaluates or name == "__dict__":
        return False
    if _BOASTS.search(f"{module}.{name}") or imitates_package(module):
        return False
    if called:
        if CYTHON.match(name):
            return True
        if verdict.function:
            restores = not verdict.runner and RESTORER.match(name) is not None
        else:
            restores = not boasts(name)
        return restores and not verdict.in_known
    return made or not verdict.function or not verdict.runner


def imitates_package(module: str) -> bool:
    """Return whether a module's package is spelt almost like a known one, or in other letters.

    Args:
        module: As the machine looks it up.
    """
    top = module.partition(".")[0]
    if not top.isascii():
        return True
    near = _packages_by_shortened()
    if top in ML_PACKAGES or len(top) > _LONGEST + 1:
        return False
    candidates = {known for short in shortened(top) for known in near.get(short, ())}
    return any(one_letter(top, known) for known in candidates)


@cache
def _packages_by_shortened() -> dict[str, list[str]]:
    """Return the known packages by what is left of them without a letter.

    A pickle may name 100,000 packages; comparing each with all of these takes most of a scan.
    """
    index: dict[str, list[str]] = {}
    for known in ML_PACKAGES:
        if len(known) > SHORT:
            for short in shortened(known):
                index.setdefault(short, []).append(known)
    return index


def boasts(name: str) -> bool:
    """Return whether a class's name suggests that an instance runs, loads or fetches something.

    Args:
        name: May be dotted.
    """
    return _ACTS.search(name) is not None


def named_function(args: object) -> str:
    """Return the builtin function that an argument of a constructor names, if any.

    Args:
        args: Of the call.
    """
    return next((text for _, text in settings(args) if handed_on().match(text)), "")


def settings(state: object) -> Iterator[tuple[str, str]]:
    """Yield the texts of an object's settings, each with its attribute.

    Long sequences are data, not settings.

    Args:
        state: Its state or arguments, as on the stack.
    """
    waiting: list[tuple[str, Any]] = [("", state)]
    seen: set[int] = set()
    count = 0
    while waiting and count < MAX_SETTINGS:
        count += 1
        key, value = waiting.pop()
        if isinstance(value, str):
            if len(value) <= MAX_TEXT:
                yield key, value
        elif id(value) in seen:
            continue
        elif isinstance(value, Mapping):
            pairs = zip(value[: 2 * MAX_SETTINGS : 2], value[1::2], strict=False)
            waiting += [(name if isinstance(name, str) else key, held) for name, held in pairs]
        elif isinstance(value, tuple | list) and len(value) <= MAX_PARTS:
            waiting += [(key, held) for held in value]
        seen.add(id(value))
