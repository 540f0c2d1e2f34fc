"""Judges the calls of Python source by the full names of their functions, as a table."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from agents.checks.artifacts.python.calls import (
    EVAL,
    HOOKS,
    HOST,
    LOADERS,
    NATIVE,
    NATIVE_FILE,
    NETWORK,
    OPEN_FOLDER,
    RUNS_FILES,
    SECRETS,
    SENDS,
    STARTUP,
    SYSTEM_LIBRARY,
)
from agents.checks.artifacts.python.execution import (
    FUNCTION,
    IMPORTED,
    MAIN,
    METHOD,
)
from agents.checks.artifacts.python.fault_log import FaultLog
from agents.checks.artifacts.python.shell_commands import (
    is_private_path,
)
from schemas.severity import Severity

_WITHOUT_STARTUP: Final = frozenset(("scripts", "include", "platinclude", "data"))
"""Folders of an installation whose files Python does not run by itself."""
_OWN_SOURCE: Final = re.compile(r"(?:\./)?(?!\.)[\w-]{1,64}(?:/[\w-]{1,64}){0,4}\.py")
_LOGINS: Final = frozenset(("headers", "auth", "cookies", "cert"))
MAX_LAYERS: Final = 6
"""Sources within sources: `exec` of a constant, of a decoded constant ..."""


class Call(msgspec.Struct, frozen=True):
    """A call in the source."""

    node: ast.Call
    name: str
    """The full name of the function."""
    arguments: list[ast.expr]
    where: str
    """When it runs: on import, in a function, as a program."""

    @property
    def line(self) -> int:
        """The line that it begins on."""
        return self.node.lineno


def _reads_own_source(log: FaultLog, node: ast.expr) -> bool:
    """Return whether a value is what a source of Python beside this one holds."""
    if not (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "read"
        and isinstance(node.func.value, ast.Call)
        and log.facts.names.dotted(node.func.value.func) == "open"
        and node.func.value.args
    ):
        return False
    path = log.facts.constant(node.func.value.args[0])
    return isinstance(path, str) and _OWN_SOURCE.fullmatch(path) is not None


def _judge_eval(log: FaultLog, call: Call) -> None:
    first = call.arguments[0] if call.arguments else None
    constant = log.facts.constant(first)
    built = first is not None and log.facts.is_assembled(first)
    if first is not None and _reads_own_source(log, first):
        log.add(
            "TW-MODEL-CODE-EVAL",
            f"calls {call.name} on a file of its own",
            call.line,
            Severity.MEDIUM,
            in_program=Severity.LOW,
        )
    elif first is not None and (log.facts.is_tainted(first) or built):
        log.add(
            "TW-MODEL-CODE-DISGUISED",
            f"passes {call.name} decoded or fetched content",
            call.line,
            Severity.CRITICAL,
            in_program=Severity.MEDIUM if call.where in (FUNCTION, METHOD) else None,
        )
    elif first is not None and any(
        isinstance(inner, ast.Attribute) and inner.attr == "__doc__" for inner in ast.walk(first)
    ):
        log.add(
            "TW-MODEL-CODE-DISGUISED",
            f"passes {call.name} a comment",
            call.line,
            Severity.CRITICAL,
        )
    elif constant is not None and log.layer < MAX_LAYERS:
        log.inner(constant, call.line, call.where)
    elif constant is None and call.name != "compile":
        severity = {
            IMPORTED: Severity.HIGH,
            METHOD: Severity.LOW,
            FUNCTION: Severity.LOW,
        }.get(call.where, Severity.LOW)
        log.add(
            "TW-MODEL-CODE-EVAL",
            f"calls {call.name} {call.where}",
            call.line,
            severity,
            in_program=Severity.LOW,
        )


def _judge_run_file(log: FaultLog, call: Call) -> None:
    severity = Severity.CRITICAL if call.where == IMPORTED else Severity.LOW
    log.add(
        "TW-MODEL-CODE-EVAL",
        f"calls {call.name} {call.where}",
        call.line,
        severity,
        in_program=Severity.MEDIUM,
    )


def _handed_on(call: Call) -> list[ast.expr]:
    """Return the arguments of a request but those by which the service knows who asks."""
    kept = [word.value for word in call.node.keywords if word.arg in _LOGINS]
    return [argument for argument in call.arguments if argument not in kept]


def _judge_network(log: FaultLog, call: Call) -> None:
    takes_secrets = any(
        (dotted := log.facts.names.dotted(inner))
        and (SECRETS.match(dotted) or (call.where == IMPORTED and HOST.match(dotted)))
        for argument in _handed_on(call)
        for inner in ast.walk(argument)
        if isinstance(inner, ast.Attribute | ast.Call | ast.Name)
    )
    if takes_secrets and (call.where in (IMPORTED, METHOD) or SENDS.search(call.name)):
        severity = Severity.HIGH if call.where in (FUNCTION, MAIN) else Severity.CRITICAL
        log.add(
            "TW-MODEL-CODE-EXFILTRATES",
            f"passes {call.name} secrets",
            call.line,
            severity,
            # A client of a service sends it the token that it was given.
            in_program=Severity.LOW if call.where in (FUNCTION, METHOD) else None,
        )
    elif call.where == IMPORTED:
        sends = SENDS.search(call.name) and not call.name.endswith("urlopen")
        log.add(
            "TW-MODEL-CODE-NETWORK",
            f"calls {call.name} {call.where}",
            call.line,
            Severity.CRITICAL if sends else Severity.HIGH,
            in_program=Severity.CRITICAL if sends else Severity.MEDIUM,
        )
    else:
        log.add("TW-MODEL-CODE-NETWORK", f"calls {call.name} {call.where}", call.line, Severity.LOW)


def _judge_constructor(log: FaultLog, call: Call) -> None:
    """Report code that is made from bytes."""
    given = any(map(log.facts.is_tainted, call.arguments))
    log.add(
        "TW-MODEL-CODE-DISGUISED",
        f"calls {call.name}",
        call.line,
        Severity.CRITICAL,
        in_program=Severity.CRITICAL if given else Severity.MEDIUM,
    )


def _judge_loader(log: FaultLog, call: Call) -> None:
    decoded = any(log.facts.is_tainted(argument) for argument in call.arguments)
    constant = log.facts.constant(call.arguments[0]) if call.arguments else None
    if isinstance(constant, bytes) and not decoded:
        log.add(
            "TW-MODEL-CODE-LOADS",
            f"calls {call.name} {call.where}",
            call.line,
            Severity.MEDIUM,
            constant,
        )
    elif constant is not None and "!!python/" in str(constant):
        log.add(
            "TW-MODEL-CODE-DISGUISED",
            f"passes {call.name} a text that constructs objects",
            call.line,
            Severity.CRITICAL,
        )
    elif decoded and not call.name.startswith(("torch", "numpy", "keras")):
        log.add(
            "TW-MODEL-CODE-DISGUISED",
            f"passes {call.name} decoded or fetched content",
            call.line,
            # it makes plain values of all but a few tags
            Severity.MEDIUM if call.name.endswith("full_load") else Severity.CRITICAL,
            in_program=Severity.LOW if call.where in (FUNCTION, METHOD) else None,
        )
    elif (
        call.name.split(".", maxsplit=1)[0].lower().endswith(("pickle", "dill"))
        and call.where == IMPORTED
    ):
        log.add(
            "TW-MODEL-CODE-LOADS",
            f"calls {call.name} {call.where}",
            call.line,
            Severity.MEDIUM,
            in_program=Severity.LOW,
        )


def _judge_native(log: FaultLog, call: Call) -> None:
    path = log.facts.constant(call.arguments[0]) if call.arguments else None
    own = isinstance(path, str) and path != "" and not SYSTEM_LIBRARY.match(path)
    own = own or any(map(log.facts.is_beside, call.arguments[:1]))
    in_program = Severity.LOW  # a library opens its own
    if re.search(r"VirtualAlloc|CreateThread|RtlMove|mprotect", call.name):
        severity = Severity.CRITICAL if call.where != MAIN else Severity.HIGH
        in_program = Severity.HIGH
    elif "PyRun_" in call.name:
        severity = Severity.CRITICAL if call.where != MAIN else Severity.HIGH
        in_program = Severity.CRITICAL if call.where == IMPORTED else Severity.HIGH
    elif own and call.where == IMPORTED and not call.name.endswith(("find_library", "CFUNCTYPE")):
        severity = Severity.CRITICAL
    elif call.where == IMPORTED and not call.name.endswith(("find_library", "CFUNCTYPE")):
        severity = Severity.HIGH
    else:
        severity = Severity.LOW
    log.add(
        "TW-MODEL-CODE-NATIVE",
        f"calls {call.name} {call.where}",
        call.line,
        severity,
        in_program=in_program,
    )


def _judge_hook(log: FaultLog, call: Call) -> None:
    if call.where != MAIN:
        log.add("TW-MODEL-CODE-HOOKS", f"calls {call.name}", call.line, Severity.LOW)


def _judge_import(log: FaultLog, call: Call) -> None:
    if call.node.args and log.facts.constant(call.node.args[0]) is None:
        severity = Severity.LOW if call.where == FUNCTION else Severity.MEDIUM
        log.add(
            "TW-MODEL-CODE-EVAL",
            "imports a computed name",
            call.line,
            severity,
            in_program=Severity.LOW,
        )


def _judge_path(log: FaultLog, call: Call) -> None:
    """Report a folder that anyone may write to and that modules are then taken from."""
    for argument in call.node.args:
        path = log.facts.constant(argument)
        if isinstance(path, str) and OPEN_FOLDER.match(path):
            log.add(
                "TW-MODEL-CODE-HOOKS",
                f"imports from {path[:60]!r}",
                call.line,
                Severity.CRITICAL,
            )


def _judge_code_change(log: FaultLog, call: Call) -> None:
    if call.where != MAIN:
        log.add(
            "TW-MODEL-CODE-DISGUISED",
            "writes the code of a function",
            call.line,
            Severity.CRITICAL,
            in_program=Severity.MEDIUM,
        )


def _judge_spec(log: FaultLog, call: Call) -> None:
    for argument in call.arguments:
        path = log.facts.constant(argument)
        if isinstance(path, str) and NATIVE_FILE.search(path):
            log.add(
                "TW-MODEL-CODE-NATIVE",
                f"imports {path[:80]!r}",
                call.line,
                Severity.CRITICAL,
                in_program=Severity.LOW,
            )


def _judge_removal(log: FaultLog, call: Call) -> None:
    for argument in call.arguments[:1]:
        for inner in ast.walk(argument):
            text = log.facts.constant(inner)
            home = isinstance(inner, ast.Call) and log.facts.names.dotted(inner.func).endswith(
                ".home"
            )
            if home or text in ("/", "~", "~/", "/home", "/root", "C:\\"):
                severity = Severity.CRITICAL if call.where != MAIN else Severity.HIGH
                log.add("TW-MODEL-CODE-SPAWN", f"calls {call.name} on a home", call.line, severity)


def _leads_to_startup(log: FaultLog, call: ast.Call) -> bool:
    """Return whether a call gives a folder from which Python runs files automatically."""
    name = log.facts.names.dotted(call.func)
    if STARTUP.match(name) is None:
        return False
    of = log.facts.constant(call.args[0]) if call.args else None
    return not (name.endswith(".get_path") and of in _WITHOUT_STARTUP)


def _judge_open(log: FaultLog, call: Call) -> None:
    for argument in call.arguments[:2]:
        for inner in ast.walk(argument):
            path = log.facts.constant(inner)
            if isinstance(path, str) and is_private_path(path):
                log.add(
                    "TW-MODEL-CODE-EXFILTRATES",
                    f"opens {path[:80]!r}",
                    call.line,
                    Severity.CRITICAL,
                    in_program=Severity.MEDIUM,
                )
            elif isinstance(inner, ast.Call) and _leads_to_startup(log, inner):
                log.add(
                    "TW-MODEL-CODE-HOOKS",
                    "opens a file that Python runs at its start",
                    call.line,
                    Severity.CRITICAL,
                    in_program=Severity.MEDIUM,
                )


CALLS: Final[tuple[tuple[Callable[[str], object], Callable[[FaultLog, Call], None]], ...]] = (
    (lambda name: EVAL.match(name) or name == "compile", _judge_eval),
    (RUNS_FILES.match, _judge_run_file),
    (NETWORK.match, _judge_network),
    (
        lambda name: name.startswith(("marshal.load", "types.CodeType", "types.FunctionType")),
        _judge_constructor,
    ),
    (LOADERS.match, _judge_loader),
    (NATIVE.match, _judge_native),
    (HOOKS.match, _judge_hook),
    (lambda name: name == "__import__", _judge_import),
    (
        lambda name: name in ("sys.path.insert", "sys.path.append", "site.addsitedir"),
        _judge_path,
    ),
    (lambda name: name.endswith("__code__.replace"), _judge_code_change),
    (lambda name: name.endswith("spec_from_file_location"), _judge_spec),
    (lambda name: name in ("shutil.rmtree", "os.removedirs"), _judge_removal),
    (
        lambda name: (
            name == "open" or name.endswith((".write_text", ".write_bytes", "Path", ".rename"))
        ),
        _judge_open,
    ),
)
"""Patterns of full names, and the functions that judge such calls; the first match counts."""
MAX_KEPT: Final = 100
"""Characters of a full name whose judgement is kept for other modules."""


def judgement_of(name: str) -> Callable[[FaultLog, Call], None] | None:
    """Return what judges the calls of a function, None for most functions.

    Args:
        name: The function's full name.
    """
    return _judgement(name) if len(name) < MAX_KEPT else _judgement.__wrapped__(name)


@lru_cache(maxsize=8192)  # modules call the same functions
def _judgement(name: str) -> Callable[[FaultLog, Call], None] | None:
    return next((judge for matches, judge in CALLS if matches(name)), None)
