"""Judges Python source by its syntax tree: what runs on import, on use, and what is disguised."""

from __future__ import annotations

import ast
import builtins
import itertools
import re
import warnings
from typing import Any, Final

import msgspec

from agents.checks.artifacts.python.calls import (
    CODING,
    DANGEROUS_KEYS,
    DECODE,
    EVAL,
    HOOKS,
    HOST,
    LOADERS,
    NATIVE,
    NATIVE_FILE,
    NETWORK,
    OPEN_FOLDER,
    PIPED,
    RAW,
    RUNS_FILES,
    SECRETS,
    SENDS,
    STARTUP,
    SYSTEM_LIBRARY,
    USUAL_CODINGS,
    VERSIONS,
)
from agents.checks.artifacts.python.execution import (
    FUNCTION,
    IMPORTED,
    MAIN,
    METHOD,
    passed_over,
    placed,
)
from agents.checks.artifacts.python.names import EVALUATORS, SPAWN, Names
from agents.checks.artifacts.python.shell_commands import (
    is_harmless_command,
    is_hostile_command,
    is_installer_command,
    is_private_path,
)
from agents.checks.artifacts.readers.window import decode_text, read_document
from agents.checks.artifacts.scanning import BytesSource, Scan, Source
from schemas.severity import Severity

MAX_SOURCE: Final = 4 << 20
"""Bytes of one source file that are parsed."""
MAX_LAYERS: Final = 6
"""Sources within sources: `exec` of a constant, of a decoded constant ..."""
MAX_ROUNDS: Final = 4
MAX_VALUE: Final = 1000
"""Nodes of one value that are looked at, the outer ones first."""


class CodeFault(msgspec.Struct, frozen=True):
    """What a source does, where, and how bad it is."""

    rule_id: str
    what: str
    line: int
    severity: Severity
    holds: bytes = b""
    """A constant that it hands to a loader, to be scanned as what that reads."""


def parse(scan: Scan, name: str, source: Source) -> None:  # noqa: ARG001 -- the contract
    """Report what a Python file does on import and on use."""
    raw = read_document(scan, source)
    declared = CODING.match(raw)
    if declared and not USUAL_CODINGS.match(declared.group(1)):
        scan.report(
            "TW-MODEL-CODE-DISGUISED",
            f"the source is written in the encoding {declared.group(1).decode('latin-1')[:40]!r}",
            line=1,
        )
    report_python(scan, decode_text(raw), "")
    scan.report("TW-MODEL-CODE-PRESENT", "a Python file lies beside the weights", key="source")


def report_python(scan: Scan, text: str, key: str) -> None:
    """Judge a source and report what it does; one that can't be read is incomplete.

    Args:
        scan: Where to report.
        text: Python source.
        key: Where it stands within the file, empty for the file itself.
    """
    try:
        faults = python_faults(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if match := RAW.search(text):
            scan.report(
                "TW-MODEL-CODE-UNREADABLE",
                f"code that does not parse contains {match.group()!r}",
                key=key,
                offset=match.start(),
            )
        scan.mark_incomplete(f"{key or 'source'}: not readable as Python 3: {error}")
        return
    for fault in faults:
        evidence: dict[str, Any] = {"line": fault.line, "name": fault.what[:120]}
        if key:
            evidence["key"] = key
        scan.report(fault.rule_id, fault.what, severity=fault.severity, **evidence)
        if fault.holds:
            scan.descend(f"{key or 'source'}:{fault.line}", BytesSource(fault.holds))


def python_faults(text: str, layer: int = 0) -> list[CodeFault]:
    """Return what a source does that model code has no reason to do, each once per line.

    Args:
        text: Python source.
        layer: How many sources are around it.

    Raises:
        SyntaxError: not Python 3, or too long.
        ValueError: it holds NUL bytes.
        RecursionError, MemoryError: nested too deep for the compiler.
    """
    if len(text) > MAX_SOURCE:
        raise SyntaxError(f"longer than {MAX_SOURCE} characters")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in what is judged, not in our code
        tree = ast.parse(text)
    return _Judge(tree, layer).faults()


class _Judge:
    """One pass over one module."""

    def __init__(self, tree: ast.Module, layer: int) -> None:
        self._tree = tree
        self._layer = layer
        self._found: dict[tuple[str, int], CodeFault] = {}
        self._names = Names()
        self._tainted: set[str] = set()
        self._beside: set[str] = {"__file__"}
        self._called_on_import: set[str] = set()
        self._uses: set[str] = set()
        self._evaluates = False
        self._texts: dict[int, str | bytes | None] = {}
        self._passed_over: set[int] = set()

    def faults(self) -> list[CodeFault]:
        everything = list(ast.walk(self._tree))
        self._names.learn(everything)
        self._passed_over = passed_over(everything)
        for _ in range(2):
            for node in everything:
                self._learn_taint(node)
        placed = self._relevant()
        for _ in range(MAX_ROUNDS):  # functions that functions called on import call
            called = {
                self._dotted(node.func)
                for node, where in placed
                if isinstance(node, ast.Call) and where == IMPORTED
            } & self._names.functions.keys()
            if called <= self._called_on_import:
                break
            self._called_on_import |= called
            placed = self._relevant()
        self._uses = {self._dotted(node.func) for node, _ in placed if isinstance(node, ast.Call)}
        self._evaluates = bool(EVALUATORS & self._uses)
        for node, where in placed:
            self._judge(node, where)
        if self._reverse_shell():
            self._add(
                "TW-MODEL-CODE-SPAWN",
                "connects a socket to a shell",
                1,
                Severity.CRITICAL,
            )
        if "mmap.mmap" in self._uses and any(
            re.match(r"ctypes\.(CFUNCTYPE|memmove|cast|pythonapi)", name) for name in self._uses
        ):
            self._add("TW-MODEL-CODE-NATIVE", "runs memory as a program", 1, Severity.CRITICAL)
        return list(self._found.values())

    def _judge(self, node: ast.AST, where: str) -> None:
        if isinstance(node, ast.Call):
            self._judge_call(node, where)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                self._judge_string(node, where)
        elif isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
            self._judge_reference(node, where)
        elif isinstance(node, ast.Assign | ast.AugAssign):
            self._judge_assignment(node)
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            self._judge_reduction(node.value)

    def _relevant(self) -> list[tuple[ast.AST, str]]:
        kinds = (
            ast.Call
            | ast.Constant
            | ast.Assign
            | ast.AugAssign
            | ast.Return
            | ast.Name
            | ast.Attribute
            | ast.Subscript
        )
        return [
            (node, where)
            for node, where in placed(self._tree, self._called_on_import)
            if isinstance(node, kinds)
        ]

    def _add(
        self, rule_id: str, what: str, line: int, severity: Severity, holds: bytes = b""
    ) -> None:
        known = self._found.get((rule_id, line))
        if known is None or known.severity.rank < severity.rank:
            self._found[rule_id, line] = CodeFault(
                rule_id, f"the code {what}", line, severity, holds
            )

    # what names mean

    def _dotted(self, node: ast.AST) -> str:
        return self._names.dotted(node)

    def _learn_taint(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            value = node.value
        elif isinstance(node, ast.withitem) and node.optional_vars:
            targets, value = [node.optional_vars], node.context_expr
        elif isinstance(node, ast.For):
            targets, value = [node.target], node.iter
        else:
            return
        plain = {one.id for one in targets if isinstance(one, ast.Name)}
        if value is not None and self._is_tainted(value):
            self._tainted |= plain
        if value is not None and plain and self._is_beside(value):
            self._beside |= plain

    def _constant(self, node: ast.AST | None) -> str | bytes | None:
        """Return the text that an expression of constants makes, or none."""
        key = id(node)
        if key not in self._texts:
            self._texts[key] = self._names.values.text(node)
        return self._texts[key]

    def _is_beside(self, node: ast.AST) -> bool:
        """Say whether a value is made of where the module lies."""
        return any(
            isinstance(inner, ast.Name) and inner.id in self._beside
            for inner in itertools.islice(ast.walk(node), MAX_VALUE)
        )

    def _is_tainted(self, node: ast.AST) -> bool:
        """Say whether a value was decoded or fetched."""
        for inner in itertools.islice(ast.walk(node), MAX_VALUE):
            if isinstance(inner, ast.Name) and inner.id in self._tainted:
                return True
            if isinstance(inner, ast.Call):
                name = self._dotted(inner.func)
                if DECODE.match(name) or NETWORK.match(name) or name.endswith(".recv"):
                    return True
                head = name.split(".", 1)[0]
                if head in self._tainted:
                    return True
        return False

    # what is wrong

    def _judge_reference(self, node: ast.Name | ast.Attribute | ast.Subscript, where: str) -> None:
        """Report a function that runs things and is stored or handed on, not called."""
        if isinstance(node, ast.Attribute):
            self._judge_introspection(node, where)
        if id(node) in self._passed_over or not isinstance(node.ctx, ast.Load):
            return
        plain = isinstance(node, ast.Name) and node.id not in self._names.aliases
        if plain and self._dotted(node) not in EVALUATORS:
            return
        name = self._dotted(node)
        if name != "__import__" and self._names.runs(name) and not name.endswith("Popen"):
            self._judge_spawn(name, "", [], where, node.lineno)

    def _judge_introspection(self, node: ast.Attribute, where: str) -> None:
        chain = {inner.attr for inner in ast.walk(node.value) if isinstance(inner, ast.Attribute)}
        walks = node.attr == "__subclasses__" and (
            bool(chain & {"__base__", "__bases__", "__mro__", "__class__"})
            or (isinstance(node.value, ast.Name) and node.value.id == "object")
        )
        reaches = (node.attr == "f_builtins" and bool(chain & {"_getframe", "currentframe"})) or (
            node.attr in ("__globals__", "func_globals") and "__init__" in chain
        )
        if (walks or reaches) and where != MAIN:
            self._add(
                "TW-MODEL-CODE-DISGUISED",
                f"reaches through {node.attr} to what it does not name",
                node.lineno,
                Severity.CRITICAL,
            )

    def _judge_call(self, node: ast.Call, where: str) -> None:
        name = self._dotted(node.func)
        line = node.lineno
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        for argument in arguments:
            if isinstance(argument, ast.Attribute | ast.Name | ast.Lambda):
                given = self._dotted(argument)
                if id(argument) not in self._passed_over and self._names.runs(given):
                    self._judge_spawn(given, self._command(node), [], where, line)
        if self._names.runs(name) and self._names.is_computed(node.func):
            self._add(
                "TW-MODEL-CODE-DISGUISED",
                f"calls {name} by a computed name",
                line,
                Severity.CRITICAL,
            )
        self._judge_secret_call(node, name, where)
        if not name:
            if isinstance(node.func, ast.Call) and self._is_tainted(node):
                self._add(
                    "TW-MODEL-CODE-DISGUISED", "calls what it decoded", line, Severity.CRITICAL
                )
            return
        if self._names.runs(name) and SPAWN.match(name):
            self._judge_spawn(name, self._command(node), arguments, where, line)
        elif EVAL.match(name) or name == "compile":
            self._judge_eval(name, arguments, where, line)
        elif RUNS_FILES.match(name):
            severity = Severity.CRITICAL if where == IMPORTED else Severity.LOW
            self._add("TW-MODEL-CODE-EVAL", f"calls {name} {where}", line, severity)
        elif NETWORK.match(name):
            self._judge_network(name, arguments, where, line)
        elif name.startswith(("marshal.load", "types.CodeType", "types.FunctionType")):
            self._add("TW-MODEL-CODE-DISGUISED", f"calls {name}", line, Severity.CRITICAL)
        elif LOADERS.match(name):
            self._judge_loader(name, arguments, where, line)
        elif NATIVE.match(name):
            self._judge_native(name, arguments, where, line)
        elif HOOKS.match(name) and where != MAIN:
            self._add("TW-MODEL-CODE-HOOKS", f"calls {name}", line, Severity.LOW)
        elif name == "__import__" and node.args and self._constant(node.args[0]) is None:
            severity = Severity.LOW if where == FUNCTION else Severity.MEDIUM
            self._add("TW-MODEL-CODE-EVAL", "imports a computed name", line, severity)
        elif name in ("sys.path.insert", "sys.path.append", "site.addsitedir"):
            self._judge_path(node, line)
        elif name.endswith("__code__.replace") and where != MAIN:
            self._add(
                "TW-MODEL-CODE-DISGUISED", "writes the code of a function", line, Severity.CRITICAL
            )
        elif name.endswith("spec_from_file_location"):
            self._judge_spec(arguments, line)
        elif name in ("shutil.rmtree", "os.removedirs"):
            self._judge_removal(name, arguments, where, line)
        elif name == "open" or name.endswith((".write_text", ".write_bytes", "Path", ".rename")):
            self._judge_open(arguments, line)

    def _judge_secret_call(self, node: ast.Call, name: str, where: str) -> None:
        """Report a call whose function is not known and whose arguments say what it does."""
        method = self._constant(node.args[0]) if node.args else None
        if name.endswith("methodcaller") and method in DANGEROUS_KEYS:
            self._add(
                "TW-MODEL-CODE-DISGUISED",
                f"calls {method!r} by its name",
                node.lineno,
                Severity.CRITICAL,
            )
        if module := self._names.unknown_of(node.func):
            self._add(
                "TW-MODEL-CODE-DISGUISED",
                f"calls what it looks up in {module} by a hidden name",
                node.lineno,
                Severity.CRITICAL if where != MAIN else Severity.HIGH,
            )
        named = isinstance(node.func, ast.Name | ast.Attribute) and self._is_known(node.func)
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
        command = self._command(node)
        if PIPED.search(command):
            self._add(
                "TW-MODEL-CODE-DISGUISED",
                f"gives what it does not name a command: {command[:80]!r}",
                node.lineno,
                Severity.CRITICAL,
            )

    def _is_known(self, node: ast.AST) -> bool:
        """Say whether a function belongs to what the module imports, assigns or is given."""
        while isinstance(node, ast.Attribute):
            node = node.value
        if isinstance(node, ast.Name):
            root = node.id
            return (
                root in self._names.assigned
                or root in self._names.aliases
                or hasattr(builtins, root)
            )
        return not (isinstance(node, ast.Call) and isinstance(node.func, ast.Call | ast.Subscript))

    def _judge_path(self, node: ast.Call, line: int) -> None:
        """Report a folder that anyone may write to and that modules are then taken from."""
        for argument in node.args:
            path = self._constant(argument)
            if isinstance(path, str) and OPEN_FOLDER.match(path):
                self._add(
                    "TW-MODEL-CODE-HOOKS", f"imports from {path[:60]!r}", line, Severity.CRITICAL
                )

    def _judge_loader(self, name: str, arguments: list[ast.expr], where: str, line: int) -> None:
        decoded = any(self._is_tainted(argument) for argument in arguments)
        constant = self._constant(arguments[0]) if arguments else None
        if isinstance(constant, bytes) and not decoded:
            self._add(
                "TW-MODEL-CODE-LOADS", f"calls {name} {where}", line, Severity.MEDIUM, constant
            )
        elif constant is not None and "!!python/" in str(constant):
            self._add(
                "TW-MODEL-CODE-DISGUISED",
                f"gives {name} a text that constructs objects",
                line,
                Severity.CRITICAL,
            )
        elif decoded and not name.startswith(("torch", "numpy", "keras")):
            self._add(
                "TW-MODEL-CODE-DISGUISED",
                f"gives {name} what it decoded or fetched",
                line,
                Severity.CRITICAL,
            )
        elif (
            name.split(".", maxsplit=1)[0].lower().endswith(("pickle", "dill"))
            and where == IMPORTED
        ):
            self._add("TW-MODEL-CODE-LOADS", f"calls {name} {where}", line, Severity.MEDIUM)

    def _judge_spec(self, arguments: list[ast.expr], line: int) -> None:
        for argument in arguments:
            path = self._constant(argument)
            if isinstance(path, str) and NATIVE_FILE.search(path):
                self._add("TW-MODEL-CODE-NATIVE", f"imports {path[:80]!r}", line, Severity.CRITICAL)

    def _judge_removal(self, name: str, arguments: list[ast.expr], where: str, line: int) -> None:
        for argument in arguments[:1]:
            for inner in itertools.islice(ast.walk(argument), MAX_VALUE):
                text = self._constant(inner)
                home = isinstance(inner, ast.Call) and self._dotted(inner.func).endswith(".home")
                if home or text in ("/", "~", "~/", "/home", "/root", "C:\\"):
                    severity = Severity.CRITICAL if where != MAIN else Severity.HIGH
                    self._add("TW-MODEL-CODE-SPAWN", f"calls {name} on a home", line, severity)

    def _command(self, node: ast.Call) -> str:
        """Return the command that a call is given, with unknown parts left out."""
        words: list[str] = []
        for argument in node.args[:6]:
            items = argument.elts if isinstance(argument, ast.List | ast.Tuple) else [argument]
            for item in items[:40]:
                part = self._constant(item)
                if part is not None:
                    words.append(part if isinstance(part, str) else part.decode("latin-1"))
                elif isinstance(item, ast.Attribute) and self._dotted(item) == "sys.executable":
                    words.append("python")
        for keyword in node.keywords:
            if keyword.arg in ("args", "cmd", "command"):
                part = self._constant(keyword.value)
                words.append(part if isinstance(part, str) else "")
        return " ".join(words)

    def _judge_spawn(
        self, name: str, command: str, arguments: list[ast.expr], where: str, line: int
    ) -> None:
        shown = f": {command[:80]!r}" if command else ""
        if any(self._is_tainted(argument) for argument in arguments):
            severity = Severity.CRITICAL
        elif is_hostile_command(command) or is_private_path(command):
            severity = Severity.CRITICAL if where != MAIN else Severity.HIGH
        elif is_harmless_command(command):
            severity = Severity.LOW
        elif is_installer_command(command):
            severity = Severity.LOW if where == MAIN else Severity.MEDIUM
        elif where == MAIN:
            severity = Severity.LOW
        elif where == FUNCTION:
            severity = Severity.MEDIUM
        else:
            severity = Severity.CRITICAL
        self._add("TW-MODEL-CODE-SPAWN", f"calls {name} {where}{shown}", line, severity)

    def _judge_eval(self, name: str, arguments: list[ast.expr], where: str, line: int) -> None:
        first = arguments[0] if arguments else None
        constant = self._constant(first)
        built = first is not None and self._is_assembled(first)
        if first is not None and (self._is_tainted(first) or built):
            self._add(
                "TW-MODEL-CODE-DISGUISED",
                f"gives {name} what it decoded or fetched",
                line,
                Severity.CRITICAL,
            )
        elif first is not None and any(
            isinstance(inner, ast.Attribute) and inner.attr == "__doc__"
            for inner in ast.walk(first)
        ):
            self._add("TW-MODEL-CODE-DISGUISED", f"gives {name} a comment", line, Severity.CRITICAL)
        elif constant is not None and self._layer < MAX_LAYERS:
            self._inner(constant, line, where)
        elif constant is None and name != "compile":
            severity = {
                IMPORTED: Severity.HIGH,
                METHOD: Severity.LOW,
                FUNCTION: Severity.LOW,
            }.get(where, Severity.LOW)
            self._add("TW-MODEL-CODE-EVAL", f"calls {name} {where}", line, severity)

    def _is_assembled(self, node: ast.AST) -> bool:
        return any(
            isinstance(inner, ast.Call)
            and self._dotted(inner.func) in ("chr", "getattr", "map", "bytes", "open.read", "ord")
            for inner in ast.walk(node)
        ) and not any(
            isinstance(inner, ast.Constant) and VERSIONS.search(str(inner.value))
            for inner in ast.walk(node)
        )

    def _inner(
        self,
        constant: str | bytes,
        line: int,
        where: str,
        lowest: Severity = Severity.INFORMATIONAL,
    ) -> None:
        """Judge the source that a constant holds, as if it stood here."""
        text = constant if isinstance(constant, str) else constant.decode("utf-8", "replace")
        try:
            faults = python_faults(text.strip(), self._layer + 1)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        for fault in faults:
            severity = fault.severity
            if severity.rank < lowest.rank:
                continue
            if severity.rank >= Severity.MEDIUM.rank and where != MAIN:
                severity = Severity.CRITICAL
            self._add(fault.rule_id, f"evaluates text: {fault.what}", line, severity)

    def _judge_network(self, name: str, arguments: list[ast.expr], where: str, line: int) -> None:
        takes_secrets = any(
            (dotted := self._dotted(inner))
            and (SECRETS.match(dotted) or (where == IMPORTED and HOST.match(dotted)))
            for argument in arguments
            for inner in ast.walk(argument)
            if isinstance(inner, ast.Attribute | ast.Call | ast.Name)
        )
        if takes_secrets and (where in (IMPORTED, METHOD) or SENDS.search(name)):
            severity = Severity.HIGH if where in (FUNCTION, MAIN) else Severity.CRITICAL
            self._add("TW-MODEL-CODE-EXFILTRATES", f"gives {name} secrets", line, severity)
        elif where == IMPORTED:
            sends = SENDS.search(name) and not name.endswith("urlopen")
            severity = Severity.CRITICAL if sends else Severity.HIGH
            self._add("TW-MODEL-CODE-NETWORK", f"calls {name} {where}", line, severity)
        else:
            self._add("TW-MODEL-CODE-NETWORK", f"calls {name} {where}", line, Severity.LOW)

    def _judge_native(self, name: str, arguments: list[ast.expr], where: str, line: int) -> None:
        path = self._constant(arguments[0]) if arguments else None
        own = isinstance(path, str) and path != "" and not SYSTEM_LIBRARY.match(path)
        own = own or any(map(self._is_beside, arguments[:1]))
        if re.search(r"VirtualAlloc|CreateThread|RtlMove|mprotect", name):
            severity = Severity.CRITICAL if where != MAIN else Severity.HIGH
        elif own and where == IMPORTED and not name.endswith(("find_library", "CFUNCTYPE")):
            severity = Severity.CRITICAL
        elif where == IMPORTED and not name.endswith(("find_library", "CFUNCTYPE")):
            severity = Severity.HIGH
        else:
            severity = Severity.LOW
        self._add("TW-MODEL-CODE-NATIVE", f"calls {name} {where}", line, severity)

    def _judge_open(self, arguments: list[ast.expr], line: int) -> None:
        for argument in arguments[:2]:
            for inner in ast.walk(argument):
                path = self._constant(inner)
                if isinstance(path, str) and is_private_path(path):
                    self._add(
                        "TW-MODEL-CODE-EXFILTRATES",
                        f"opens {path[:80]!r}",
                        line,
                        Severity.CRITICAL,
                    )
                elif isinstance(inner, ast.Call) and STARTUP.match(self._dotted(inner.func)):
                    self._add(
                        "TW-MODEL-CODE-HOOKS",
                        "opens a file where Python starts from",
                        line,
                        Severity.CRITICAL,
                    )

    def _judge_string(self, node: ast.Constant, where: str) -> None:
        text = str(node.value)
        if "/dev/tcp/" in text and where != MAIN:
            self._add(
                "TW-MODEL-CODE-SPAWN", "holds a reverse shell", node.lineno, Severity.CRITICAL
            )
        elif self._evaluates and self._layer < MAX_LAYERS and RAW.search(text):
            self._inner(text, node.lineno, where, lowest=Severity.CRITICAL)

    def _judge_assignment(self, node: ast.Assign | ast.AugAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Attribute) and self._dotted(target) in (
                "sys.meta_path",
                "sys.path_hooks",
                "pickle.Unpickler",
            ):
                self._add(
                    "TW-MODEL-CODE-HOOKS", "changes how modules load", node.lineno, Severity.HIGH
                )
            elif isinstance(target, ast.Attribute) and target.attr in ("__code__", "func_code"):
                self._add(
                    "TW-MODEL-CODE-DISGUISED",
                    "writes the code of a function",
                    node.lineno,
                    Severity.CRITICAL,
                )

    def _judge_reduction(self, value: ast.Tuple) -> None:
        """Report a tuple that `__reduce__` returns: what a pickle of it would call."""
        called = self._dotted(value.elts[0]) if value.elts else ""
        if SPAWN.match(called) or called in ("exec", "eval", "__import__"):
            self._add(
                "TW-MODEL-CODE-SPAWN",
                f"returns {called} to be called",
                value.lineno,
                Severity.CRITICAL,
            )

    def _reverse_shell(self) -> bool:
        sockets = any(name.startswith("socket.") for name in self._uses)
        return sockets and (
            any(name in ("os.dup2", "pty.spawn") for name in self._uses)
            or (
                any(SPAWN.match(name) for name in self._uses)
                and any(name.endswith((".recv", ".connect")) for name in self._uses)
            )
        )
