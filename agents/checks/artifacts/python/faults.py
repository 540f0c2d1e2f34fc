"""Judges the syntax tree of Python source: code run on import, on use, and disguised code.

Over 500 lines, since one walk over a module judges all its nodes.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, Final

from agents.checks.artifacts.dangerous_names import names
from agents.checks.artifacts.python.call_judgements import MAX_LAYERS, Call, judgement_of
from agents.checks.artifacts.python.calls import NATIVE, NETWORK, RAW
from agents.checks.artifacts.python.execution import (
    FUNCTION,
    IMPORTED,
    MAIN,
    METHOD,
    Placement,
    passed_over,
)
from agents.checks.artifacts.python.fault_log import CodeFault, FaultLog
from agents.checks.artifacts.python.flow_judgements import LATER, FlowJudge, may_flow
from agents.checks.artifacts.python.module_facts import ModuleFacts
from agents.checks.artifacts.python.names import EVALUATORS, SPAWN
from agents.checks.artifacts.python.shell_commands import (
    connects_a_shell,
    holds_credentials,
    is_harmless_command,
    is_hostile_command,
    is_installer_command,
    is_piped_to_a_shell,
    is_private_path,
    is_untrusted_fetch,
    runs_python,
)
from agents.checks.artifacts.python.syntax import parse_source
from agents.checks.artifacts.python.tree import ModuleTree
from agents.checks.artifacts.python.words import may_be_judged
from agents.checks.shell.risk import serves_another
from agents.uncollected import uncollected
from schemas.severity import Severity

MAX_ROUNDS: Final = 64
"""Functions that call one another, from what runs on import."""

_INTROSPECTION: Final = frozenset(("__subclasses__", "f_builtins", "__globals__", "func_globals"))
"""Attributes that lead from any object to something that the module does not name."""
_CLASSES: Final = frozenset(("__base__", "__bases__", "__mro__", "__class__"))
_COMMAND: Final = re.compile(
    r"(setuptools|distutils)(\.command)?\.\w+(\.\w+)?$|(setuptools|distutils)\.(cmd\.)?Command$"
)
"""Classes of commands of setuptools."""
_FRAMES: Final = frozenset(("_getframe", "currentframe"))
_JUDGED: Final = (ast.Call, ast.Assign, ast.AugAssign, ast.Return, ast.Subscript)
"""Kinds of nodes that are all judged; of the others, few need be."""
_Reference = ast.Name | ast.Attribute | ast.Subscript
_REFERENCES: Final = frozenset((ast.Name, ast.Attribute, ast.Subscript))
_PLAIN: Final = frozenset((ast.Name, ast.Attribute))
_ASSIGNING: Final = frozenset((ast.Assign, ast.AugAssign))
_HANDS_OVER: Final = frozenset(("os.dup2", "pty.spawn"))
"""Functions that put a socket in the place of a terminal."""
_RUNNER: Final = re.compile(
    r"(?i)(?:^|\.)_?(?:run|sudo|local|execute|exec_command|exec_run|shell|sh|system|spawn|sendline|send"
    r"|check_output|check_call|call|popen|cmd|command|run_command\w*|run_shell\w*|run_script|bash)$"
)
"""Functions of libraries that run a command: of Invoke, Fabric, pexpect, Paramiko, Docker."""
_COMMANDS: Final = frozenset(("command", "cmd", "bash_command", "commands", "create", "entrypoint"))
"""Parameters that take a command: of operators of Airflow, resources of Pulumi, tasks."""
_SERVED: Final = frozenset(
    ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn", "handle", "lambda_handler")
)
"""Sources: SageMaker's inference toolkit; TorchServe's custom handlers; AWS Lambda."""
_AZURE: Final = frozenset(("init", "run"))
"""Source: Azure Machine Learning's scoring scripts."""
_ON_THE_WAY: Final = _CLASSES | _FRAMES | {"__init__"}
"""Attributes on such a path."""


def python_faults(text: str, layer: int = 0) -> list[CodeFault]:
    """Return the faults of a source, each once per line.

    Args:
        text: Python source.
        layer: The number of enclosing sources.

    Raises:
        SyntaxError: not Python 3, or too long.
        ValueError: it holds NUL bytes.
        RecursionError, MemoryError: nested too deeply for the compiler.
    """
    with uncollected():
        judge = _Judge(text, ModuleTree(parse_source(text)), layer)
        try:
            return judge.faults()
        finally:
            judge.release()
            del judge  # and its tree, before cycles are collected again


class _Judge:
    """One pass over one module."""

    def __init__(self, text: str, tree: ModuleTree, layer: int) -> None:
        """Learn what the names and values of a module mean.

        Args:
            text: The source.
            tree: The module.
            layer: The number of enclosing sources.
        """
        self._tree = tree
        self._flows = may_flow(text, tree)
        self._facts = ModuleFacts(tree)
        self._log = FaultLog(self._facts, layer, python_faults)
        self._names = self._facts.names
        self._dotted = self._names.dotted
        self._called_on_import: set[str] = set()
        self._uses: set[str] = set()
        self._evaluates = False
        self._steps_within: dict[ast.AST, frozenset[str]] = {}

    def faults(self) -> list[CodeFault]:
        """Return the faults of the module."""
        if not (self._flows or may_be_judged(self._tree, self._facts)):
            return []
        placement = Placement(self._tree, self._judged())
        self._called_on_import |= self._run_by_installers()
        for _ in range(MAX_ROUNDS):  # functions that functions called on import call
            calls = placement.imported_calls(self._called_on_import)
            called = {self._dotted(call.func) for call in calls} | set(self._started(calls))
            called &= self._names.functions.keys()
            if called <= self._called_on_import:
                break
            self._called_on_import |= called
        else:  # ordinary modules have shorter chains of calls: all functions count
            self._called_on_import |= self._names.functions.keys()
        placed = placement.nodes(self._called_on_import)
        self._uses = {self._dotted(node.func) for node, _ in placed if type(node) is ast.Call}
        self._evaluates = bool(EVALUATORS & self._uses)
        for node, where in placed:
            self._judge(node, where)
        if self._reverse_shell():
            self._log.add(
                "TW-MODEL-CODE-SPAWN",
                "connects a socket to a shell",
                1,
                Severity.CRITICAL,
                in_program=None if _HANDS_OVER & self._uses else Severity.MEDIUM,
            )
        self._judge_chains(placed)
        if self._flows:
            served = self._called_on_import | self._served()
            placed_calls = [
                Call(node, self._dotted(node.func), _arguments(node), where)
                for node, where in placement.nodes(served)
                if type(node) is ast.Call
            ]
            FlowJudge(self._log, self._tree, placed_calls).judge()
        if "mmap.mmap" in self._uses and any(
            re.match(r"ctypes\.(CFUNCTYPE|memmove|cast|pythonapi)", name) for name in self._uses
        ):
            self._log.add("TW-MODEL-CODE-NATIVE", "runs memory as a program", 1, Severity.CRITICAL)
        return self._log.faults()

    def _started(self, calls: Iterable[ast.Call]) -> Iterator[str]:
        """Yield the functions that calls start beside the program, or at its end."""
        for call in calls:
            if self._dotted(call.func).rpartition(".")[2] in LATER:
                for argument in _arguments(call):
                    if isinstance(argument, ast.Name | ast.Attribute):
                        yield self._dotted(argument)

    def _judged(self) -> set[ast.AST]:
        """Return the nodes that are judged: without names and texts that say nothing."""
        judged: set[ast.AST] = set()
        for kind in _JUDGED:
            judged.update(self._tree.of(kind))
        names = self._tree.of(ast.Name)
        running = {
            name for name, node in {node.id: node for node in names}.items() if self._runs(node)
        }
        if running:
            judged.update(node for node in names if node.id in running)
        attributes = self._tree.of(ast.Attribute)
        may_run = {
            attribute
            for attribute, node in {node.attr: node for node in attributes}.items()
            if attribute in _INTROSPECTION or self._names.may_run(node)
        }
        if may_run:
            judged.update(node for node in attributes if node.attr in may_run)
        judged.update(node for node in self._tree.of(ast.Constant) if type(node.value) is str)
        return judged

    def _run_by_installers(self) -> set[str]:
        """Return the methods of the module that installing it calls.

        Source: the commands of setuptools, which `cmdclass` of `setup` replaces.
        """
        commands = any(
            any(map(self._is_command, node.bases)) for node in self._tree.of(ast.ClassDef)
        )
        sets_up = commands and any(
            self._dotted(node.func).endswith("setup") for node in self._tree.of(ast.Call)
        )
        return {"run", "finalize_options", "initialize_options"} if sets_up else set()

    def _served(self) -> set[str]:
        """Return the functions of the module that a server of models calls by their names."""
        functions = self._names.functions.keys()
        named = set(_SERVED & functions)
        return named | _AZURE if functions >= _AZURE else named

    def _is_command(self, base: ast.expr) -> bool:
        return _COMMAND.match(self._dotted(base)) is not None

    def _judge_chains(self, placed: list[tuple[ast.AST, str]]) -> None:
        """Report what calls do together, on import: send credentials, run a fetched library."""
        uses = {
            self._dotted(node.func): node
            for node, where in placed
            if where == IMPORTED and isinstance(node, ast.Call)
        }
        asks = [node for name, node in uses.items() if NETWORK.match(name)]
        if not asks:
            return
        credentials = any(
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and where == IMPORTED
            and holds_credentials(node.value)
            for node, where in placed
        )
        if credentials and any(not self._is_fixed(node) for node in asks):
            self._log.add(
                "TW-MODEL-CODE-EXFILTRATES",
                "reads credentials and sends what is computed",
                asks[0].lineno,
                Severity.CRITICAL,
            )
        loads = [
            node
            for name, node in uses.items()
            if NATIVE.match(name) and name.endswith(("DLL", "LoadLibrary", "dlopen"))
        ]
        if any(not self._is_fixed(node) for node in loads):
            self._log.add(
                "TW-MODEL-CODE-NATIVE",
                "fetches a file and loads a computed library",
                loads[0].lineno,
                Severity.CRITICAL,
            )

    def _is_fixed(self, node: ast.Call) -> bool:
        """Return whether all arguments of a call are constants."""
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        return all(self._facts.constant(argument) is not None for argument in given)

    def release(self) -> None:
        """Free the tree, which is in no circle from then on; nothing can be asked afterwards."""
        self._names.release()

    def _judge(self, node: Any, where: str) -> None:  # noqa: ANN401 -- a node of any kind
        kind = type(node)
        if kind is ast.Constant:  # of those that are judged, most
            if isinstance(node.value, str):
                self._judge_string(node, where)
        elif kind is ast.Call:
            self._judge_call(node, where)
        elif kind in _REFERENCES:
            self._judge_reference(node, where)
        elif kind in _ASSIGNING:
            self._judge_assignment(node)
        elif kind is ast.Return and isinstance(node.value, ast.Tuple):
            self._judge_reduction(node.value)

    @cached_property
    def _passed_over(self) -> set[ast.AST]:
        return passed_over(self._tree.nodes)

    def _judge_reference(self, node: _Reference, where: str) -> None:
        """Report a function that runs things and is stored or handed on, not called."""
        if type(node) is ast.Attribute and node.attr in _INTROSPECTION:
            self._judge_introspection(node, where)
        if type(node.ctx) is not ast.Load:
            return
        name = self._runs(node)
        if name and node not in self._passed_over:
            self._judge_spawn(name, "", [], where, node.lineno)

    def _runs(self, node: _Reference) -> str:
        """Return the full name of a function that runs things, empty if a reference names none."""
        if not self._names.may_run(node):
            return ""
        plain = isinstance(node, ast.Name) and node.id not in self._names.aliases
        name = self._dotted(node)
        if plain and name not in EVALUATORS:
            return ""
        runs = name != "__import__" and self._names.runs(name) and not name.endswith("Popen")
        return name if runs else ""

    def _judge_introspection(self, node: ast.Attribute, where: str) -> None:
        steps = self._way(node.value)
        walks = node.attr == "__subclasses__" and (
            bool(steps & _CLASSES)
            or (isinstance(node.value, ast.Name) and node.value.id == "object")
        )
        reaches = (node.attr == "f_builtins" and bool(steps & _FRAMES)) or (
            node.attr in ("__globals__", "func_globals") and "__init__" in steps
        )
        if (walks or reaches) and where != MAIN:
            self._log.add(
                "TW-MODEL-CODE-DISGUISED",
                f"reaches unnamed objects through {node.attr}",
                node.lineno,
                Severity.CRITICAL,
                in_program=Severity.MEDIUM,
            )

    def _way(self, node: ast.AST) -> frozenset[str]:
        """Return the attributes of `_ON_THE_WAY` in a part of the tree; each part is read once."""
        within, waiting = self._steps_within, [node]
        while waiting:
            part = waiting[-1]
            children = self._tree.children(part)
            unread = [child for child in children if child not in within]
            if unread:
                waiting += unread
                continue
            steps = frozenset[str]().union(*(within[child] for child in children))
            if isinstance(part, ast.Attribute) and part.attr in _ON_THE_WAY:
                steps |= {part.attr}
            within[part] = steps
            waiting.pop()
        return within[node]

    def _judge_call(self, node: ast.Call, where: str) -> None:
        name = self._dotted(node.func)
        line = node.lineno
        arguments = _arguments(node)
        for argument in arguments:
            if type(argument) in _PLAIN and self._names.may_run(argument):
                given = self._dotted(argument)
                stored = given == "__import__" and name == "staticmethod"
                if self._names.runs(given) and argument not in self._passed_over and not stored:
                    self._judge_spawn(given, self._facts.command(node), [], where, line, node)
        runs = self._names.runs(name)
        if runs and self._names.is_computed(node.func):
            self._log.add(
                "TW-MODEL-CODE-DISGUISED",
                f"calls {name} by a computed name",
                line,
                Severity.CRITICAL,
            )
        self._judge_secret_call(node, name, where)
        if not name:
            if isinstance(node.func, ast.Call) and self._facts.is_tainted(node):
                self._log.add(
                    "TW-MODEL-CODE-DISGUISED",
                    "calls decoded content",
                    line,
                    Severity.CRITICAL,
                    in_program=Severity.MEDIUM if where in (FUNCTION, METHOD) else None,
                )
            return
        if runs and SPAWN.match(name):
            self._judge_spawn(name, self._facts.command(node), arguments, where, line, node)
            return
        if judge_call := judgement_of(name):
            judge_call(self._log, Call(node, name, arguments, where))
        elif _RUNNER.search(name) or any(keyword.arg in _COMMANDS for keyword in node.keywords):
            command = self._facts.command(node)
            if self._serves_another(node, command):
                self._log.add(
                    "TW-MODEL-CODE-SPAWN",
                    f"calls {name} {where}: {command[:80]!r}",
                    line,
                    Severity.CRITICAL,
                    hostile=True,
                )

    def _judge_secret_call(self, node: ast.Call, name: str, where: str) -> None:
        """Report a call of an unknown function whose arguments reveal what it does."""
        method = (
            self._facts.constant(node.args[0])
            if node.args and name.endswith("methodcaller")
            else None
        )
        if method is not None and method in names("code-key"):
            self._log.add(
                "TW-MODEL-CODE-DISGUISED",
                f"calls {method!r} by its name",
                node.lineno,
                Severity.CRITICAL,
            )
        if module := self._names.unknown_of(node.func):
            self._log.add(
                "TW-MODEL-CODE-DISGUISED",
                f"calls a function of {module} by a hidden name",
                node.lineno,
                Severity.CRITICAL if where != MAIN else Severity.HIGH,
            )
        named = type(node.func) in _PLAIN and self._facts.is_known(node.func)
        known = (
            named
            and name
            and (
                "." in name
                or name in self._names.functions
                or hasattr(builtins, name)
                or name in self._names.aliases
                or name[:1].isupper()
            )
        )
        if known or where == MAIN:
            return
        command = self._facts.command(node)
        if is_piped_to_a_shell(command):
            self._log.add(
                "TW-MODEL-CODE-DISGUISED",
                f"passes an unnamed function a command: {command[:80]!r}",
                node.lineno,
                Severity.CRITICAL,
            )

    def _judge_spawn(
        self,
        name: str,
        command: str,
        arguments: list[ast.expr],
        where: str,
        line: int,
        call: ast.Call | None = None,
    ) -> None:
        shown = f": {command[:80]!r}" if command else ""
        in_program: Severity | None = None
        hostile = False
        if any(self._facts.is_tainted(argument) for argument in arguments):
            severity = Severity.CRITICAL
            in_program = Severity.MEDIUM if where in (FUNCTION, METHOD) else None
        elif self._serves_another(call, command):
            severity = Severity.CRITICAL
            hostile = True
        elif is_harmless_command(command):
            severity = Severity.LOW
        elif is_hostile_command(command) or is_private_path(command):
            severity = Severity.CRITICAL
            if where in (FUNCTION, MAIN) and not is_piped_to_a_shell(command):
                # what scripts do every day for whoever starts them
                severity = Severity.LOW if where == MAIN else Severity.MEDIUM
            if runs_python(command):
                in_program = Severity.MEDIUM
            elif where in (FUNCTION, METHOD) and not is_untrusted_fetch(command):
                # It removes or fetches files for whoever calls it; no shell is fetched or given.
                in_program = None if is_piped_to_a_shell(command) else Severity.MEDIUM
        elif is_installer_command(command):
            severity = Severity.LOW if where == MAIN else Severity.MEDIUM
        elif where == MAIN:
            severity = Severity.LOW
        else:
            severity = Severity.MEDIUM if where == FUNCTION else Severity.CRITICAL
            in_program = Severity.HIGH if where == IMPORTED else Severity.LOW
        self._log.add(
            "TW-MODEL-CODE-SPAWN",
            f"calls {name} {where}{shown}",
            line,
            severity,
            in_program=in_program,
            hostile=hostile,
        )

    def _serves_another(self, call: ast.Call | None, command: str) -> bool:
        """Return whether a command is hostile, or the one that it gives to a shell as a word."""
        if serves_another(command):
            return True
        return call is not None and any(map(serves_another, self._facts.scripts(call)))

    def _judge_string(self, node: ast.Constant, where: str) -> None:
        text = str(node.value)
        if where != MAIN and connects_a_shell(text):
            self._log.add(
                "TW-MODEL-CODE-SPAWN", "holds a reverse shell", node.lineno, Severity.CRITICAL
            )
        elif self._evaluates and self._log.layer < MAX_LAYERS and RAW.search(text):
            self._log.inner(text, node.lineno, where, lowest=Severity.CRITICAL)

    def _judge_assignment(self, node: ast.Assign | ast.AugAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Attribute) and self._dotted(target) in (
                "sys.meta_path",
                "sys.path_hooks",
                "pickle.Unpickler",
            ):
                self._log.add(
                    "TW-MODEL-CODE-HOOKS",
                    "changes how modules load",
                    node.lineno,
                    Severity.HIGH,
                    in_program=Severity.LOW,
                )
            elif isinstance(target, ast.Attribute) and target.attr in ("__code__", "func_code"):
                self._log.add(
                    "TW-MODEL-CODE-DISGUISED",
                    "writes the code of a function",
                    node.lineno,
                    Severity.CRITICAL,
                    in_program=Severity.MEDIUM,
                )

    def _judge_reduction(self, value: ast.Tuple) -> None:
        """Report a tuple that `__reduce__` returns: what a pickle of it would call."""
        called = self._dotted(value.elts[0]) if value.elts else ""
        if SPAWN.match(called) or called in ("exec", "eval", "__import__"):
            self._log.add(
                "TW-MODEL-CODE-SPAWN",
                f"returns {called} to be called",
                value.lineno,
                Severity.CRITICAL,
            )

    def _reverse_shell(self) -> bool:
        sockets = any(name.startswith("socket.") for name in self._uses)
        return sockets and bool(_HANDS_OVER & self._uses)


def _arguments(node: ast.Call) -> list[ast.expr]:
    return [*node.args, *[keyword.value for keyword in node.keywords]]
