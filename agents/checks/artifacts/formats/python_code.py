"""Judges Python source by its syntax tree: what runs on import, on use, and what is disguised."""
# ruff: noqa: PLR2004 -- sizes and offsets of the format stand where it is read

from __future__ import annotations

import ast
import base64
import binascii
import codecs
import itertools
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from agents.checks.artifacts.formats.commands import (
    is_harmless_command,
    is_hostile_command,
    is_installer_command,
    is_private_path,
)
from agents.checks.artifacts.formats.window import decode_text, read_document
from agents.checks.artifacts.scanning import Scan, Source
from schemas.severity import Severity

MAX_SOURCE: Final = 4 << 20
"""Bytes of one source file that are parsed."""
MAX_LAYERS: Final = 6
"""Sources within sources: `exec` of a constant, of a decoded constant ..."""
MAX_FOLDED: Final = 1 << 20
MAX_ROUNDS: Final = 4
MAX_VALUE: Final = 1000
"""Nodes of one value that are looked at, the outer ones first."""

IMPORTED, METHOD, FUNCTION, MAIN = "on import", "in a method", "in a function", "as a script"

_SPAWN: Final = re.compile(
    r"^(os\.(system|popen[234]?|exec[lv]p?e?|spawn[lv]p?e?|posix_spawnp?|startfile|fork(pty)?)"
    r"|(posix|nt)\.(system|popen|execve?|posix_spawn)|pty\.(spawn|fork)|platform\.popen"
    r"|subprocess\.(run|call|Popen|check_call|check_output|getoutput|getstatusoutput)"
    r"|commands\.get\w+|asyncio\.(create_)?subprocess\w*|_posixsubprocess\.fork_exec"
    r"|ctypes\..*\.(system|popen|execv\w*|WinExec|ShellExecute\w*)|pip\.(main|_internal\..*main)"
    r"|sh\.\w+|pexpect\.(spawn|run)|distutils\.spawn\.spawn|torch\.utils\.cpp_extension\.load\w*"
    r"|IPython\.get_ipython\.\w*system\w*)$"
)
_EVAL: Final = re.compile(
    r"^(builtins\.)?(exec|eval|execfile)$|^runpy\.run_(path|module)$|^code\.Interactive\w+"
    r"|^(torch\.)?_dynamo\.eval|^pandas\.eval$|^numexpr\.evaluate$|^types\.(FunctionType|CodeType)$"
    r"|^imp\.load_\w+$|^importlib\.util\.module_from_spec$|^timeit\.timeit$"
)
_DECODE: Final = re.compile(
    r"^(base64\.\w*decode\w*|base64\.decodebytes|binascii\.(unhexlify|a2b_\w+)|codecs\.decode"
    r"|(builtins\.)?(bytes|bytearray)\.fromhex|zlib\.decompress\w*|bz2\.decompress|lzma\.decompress"
    r"|gzip\.decompress|marshal\.loads?|cryptography\.fernet\.Fernet.*|Crypto\..*|.*\.decrypt)$"
)
_NETWORK: Final = re.compile(
    r"^(requests\.(get|post|put|request|Session.*|patch|head)|urllib\.request\.\w+|urllib2?\.\w*open"
    r"|http\.client\.\w+|httpx\.\w+|aiohttp\.\w+|socket\.(socket|create_connection|gethostbyname"
    r"|getaddrinfo)|ftplib\.\w+|smtplib\.\w+|paramiko\.\w+|telnetlib\.\w+|websockets?\.\w+"
    r"|urllib3\.\w+|pycurl\.\w+|xmlrpc\.client\.\w+|dns\.resolver\.\w+)$"
)
_SENDS: Final = re.compile(r"(post|put|patch|sendall|sendto|send|urlopen|request)$")
_LOADERS: Final = re.compile(
    r"^(_?c?[Pp]ickle\.(loads?|Unpickler)|dill\.loads?|cloudpickle\.loads?|joblib\.load|shelve\.open"
    r"|pandas\.read_pickle|jsonpickle\.decode|yaml\.(unsafe_load|load|full_load)|torch\.load"
    r"|numpy\.load|keras\.models\.load_model|torch\.hub\.load)$"
)
_NATIVE: Final = re.compile(
    r"^ctypes\.(CDLL|PyDLL|WinDLL|windll.*|cdll.*|util\.find_library|CFUNCTYPE|memmove|string_at"
    r"|pythonapi.*)$|^cffi\.FFI|^torch\.ops\.load_library$|^torch\.classes\.load_library$"
    r"|^tensorflow\.load_(op_)?library$|^mmap\.mmap$"
)
_SECRETS: Final = re.compile(r"^os\.(environ(\.\w+)?|getenv|environb)$|^getpass\.\w+|^keyring\.\w+")
_HOOKS: Final = re.compile(r"^(atexit\.register|sys\.(settrace|setprofile|addaudithook))$")
_RAW: Final = re.compile(
    r"os\.system\s*\(|subprocess\.\w+\s*\(|\bexec\s*\(|\beval\s*\(|__import__\s*\(|b64decode|"
    r"marshal\.loads|socket\.socket|/dev/tcp/",
)
_CODING: Final = re.compile(rb"(?:[ \t\f]*#[^\n]*\n)?[ \t\f]*#[^\n]*?coding[:=][ \t]*([-\w.]+)")
"""The declaration of PEP 263, in one of the first two lines."""
_USUAL_CODINGS: Final = re.compile(
    rb"(?i)^(utf[-_]?8([-_]sig)?|(us[-_])?ascii|latin[-_]?1|iso[-_]?8859[-_]\d+|cp\d+|windows[-_]\d+"
    rb"|gbk|gb2312|gb18030|big5|euc[-_]\w+|shift[-_]?jis|koi8[-_]\w)(-(unix|dos|mac))?$"
)
_BUILTINS: Final = frozenset(("builtins", "__builtins__", "__builtin__"))


class CodeFault(msgspec.Struct, frozen=True):
    """What a source does, where, and how bad it is."""

    rule_id: str
    what: str
    line: int
    severity: Severity


def matches(name: str, head: bytes, source: Source) -> bool:  # noqa: ARG001 -- the contract
    """Say whether a file is Python source, by its name or its first line."""
    if "code/__torch__" in name:
        return False  # TorchScript, which its own container judges
    return name.lower().endswith((".py", ".pyw", ".pyi")) or (
        head.startswith(b"#!") and b"python" in head.split(b"\n", 1)[0]
    )


def parse(scan: Scan, name: str, source: Source) -> None:  # noqa: ARG001 -- the contract
    """Report what a Python file does on import and on use."""
    raw = read_document(scan, source)
    declared = _CODING.match(raw)
    if declared and not _USUAL_CODINGS.match(declared.group(1)):
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
        if match := _RAW.search(text):
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
        self._aliases: dict[str, str] = {}
        self._constants: dict[str, str | bytes] = {}
        self._tainted: set[str] = set()
        self._functions: dict[str, ast.AST] = {}
        self._called_on_import: set[str] = set()
        self._uses: set[str] = set()
        self._learnt = False
        self._names: dict[int, str] = {}

    def faults(self) -> list[CodeFault]:
        everything = list(ast.walk(self._tree))
        for node in everything:
            self._learn_import(node)
        for _ in range(2):
            for node in everything:
                self._learn_value(node)
        self._learnt = True  # from here on a node means the same for good
        placed = self._relevant()
        for _ in range(MAX_ROUNDS):  # functions that functions called on import call
            called = {
                self._dotted(node.func)
                for node, where in placed
                if isinstance(node, ast.Call) and where == IMPORTED
            } & self._functions.keys()
            if called <= self._called_on_import:
                break
            self._called_on_import |= called
            placed = self._relevant()
        self._uses = {self._dotted(node.func) for node, _ in placed if isinstance(node, ast.Call)}
        for node, where in placed:
            if isinstance(node, ast.Call):
                self._judge_call(node, where)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._judge_string(node, where)
            elif isinstance(node, ast.Assign | ast.AugAssign):
                self._judge_assignment(node)
            elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                self._judge_reduction(node.value)
        if self._reverse_shell():
            self._add(
                "TW-MODEL-CODE-SPAWN",
                "connects a socket to a shell",
                1,
                Severity.CRITICAL,
            )
        return list(self._found.values())

    def _relevant(self) -> list[tuple[ast.AST, str]]:
        kinds = ast.Call | ast.Constant | ast.Assign | ast.AugAssign | ast.Return
        return [(node, where) for node, where in self._placed() if isinstance(node, kinds)]

    def _add(self, rule_id: str, what: str, line: int, severity: Severity) -> None:
        known = self._found.get((rule_id, line))
        if known is None or known.severity.rank < severity.rank:
            self._found[rule_id, line] = CodeFault(rule_id, f"the code {what}", line, severity)

    # what names mean

    def _learn_import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    self._aliases[alias.asname] = alias.name
                else:
                    top = alias.name.split(".", 1)[0]
                    self._aliases.setdefault(top, top)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if alias.name == "*":
                    for name in ("system", "popen", "run", "Popen", "urlopen", "b64decode"):
                        self._aliases.setdefault(name, f"{node.module}.{name}")
                else:
                    self._aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self._functions[node.name] = node

    def _learn_value(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            value = node.value
        elif isinstance(node, ast.withitem) and node.optional_vars:
            targets, value = [node.optional_vars], node.context_expr
        elif isinstance(node, ast.For):
            targets, value = [node.target], node.iter
        else:
            return
        if value is None:
            return
        for target in targets:
            if not isinstance(target, ast.Name):
                continue
            constant = self._constant(value)
            if constant is not None:
                self._constants[target.id] = constant
            dotted = self._dotted(value)
            refers = isinstance(value, ast.Attribute | ast.Name) or (
                isinstance(value, ast.Call) and self._is_lookup(value)
            )
            if refers and dotted not in ("", target.id) and target.id not in self._functions:
                self._aliases.setdefault(target.id, dotted)
            if self._is_tainted(value):
                self._tainted.add(target.id)

    def _is_lookup(self, call: ast.Call) -> bool:
        called = call.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        return name in ("getattr", "__import__", "import_module")

    def _dotted(self, node: ast.AST, depth: int = 0) -> str:
        """Return the full name of what is referred to, as far as it is constant."""
        if not self._learnt:
            return self._resolve(node, depth)
        known = self._names.get(id(node))
        if known is None:
            known = self._names[id(node)] = self._resolve(node, depth)
        return known

    def _resolve(self, node: ast.AST, depth: int) -> str:
        parts: list[str] = []
        while depth < MAX_FOLDED:
            depth += 1
            if isinstance(node, ast.Attribute):
                parts.append(node.attr)
                node = node.value
            elif isinstance(node, ast.Subscript):
                key = self._constant(node.slice)
                if not isinstance(key, str):
                    return ""
                if key in _BUILTINS:
                    parts.append("builtins")
                    break
                parts.append(key)
                node = node.value
                if isinstance(node, ast.Attribute) and node.attr in ("__dict__", "modules"):
                    node = node.value if node.attr == "__dict__" else ast.Name("")
                elif (
                    isinstance(node, ast.Call)
                    and node.args
                    and isinstance(node.func, ast.Name)
                    and node.func.id == "vars"
                ):
                    node = node.args[0]
            elif isinstance(node, ast.NamedExpr):
                node = node.value
            elif isinstance(node, ast.Name):
                parts.append(self._aliases.get(node.id, node.id))
                break
            elif isinstance(node, ast.Call):
                found = self._looked_up(node)
                if not found:
                    inner = self._dotted(node.func) if depth < 100 else ""
                    if not inner:
                        return ""
                    parts.append(inner)
                else:
                    parts.append(found)
                break
            else:
                return ""
        dotted = ".".join(part for part in reversed(parts) if part)
        for prefix in ("builtins.", "__builtins__.", "__builtin__."):
            dotted = dotted.removeprefix(prefix)
        if dotted.startswith("__import__."):
            dotted = dotted.removeprefix("__import__.")
        head, _, rest = dotted.partition(".")
        if head in ("np", "numpy"):
            head = "numpy"
        return f"{head}.{rest}" if rest else head

    def _looked_up(self, node: ast.Call) -> str:
        """Return what `__import__`, `import_module` or `getattr` with constants yields."""
        function = node.func
        name = ""
        if isinstance(function, ast.Name):
            name = self._aliases.get(function.id, function.id)
        elif isinstance(function, ast.Attribute):
            name = function.attr
        if name.endswith("import_module") or name == "__import__":
            module = self._constant(node.args[0]) if node.args else None
            return module if isinstance(module, str) else ""
        if name in ("getattr", "__getattribute__", "builtins.getattr") and node.args:
            owner = node.args[0] if name.endswith("getattr") else None
            if isinstance(function, ast.Attribute):
                owner = function.value
            attribute = (
                self._constant(node.args[-1 if owner is not node.args[0] else 1])
                if (len(node.args) > 1 or owner is not node.args[0])
                else None
            )
            if isinstance(attribute, str) and owner is not None:
                return f"{self._dotted(owner)}.{attribute}"
        return ""

    def _constant(self, node: ast.AST | None, depth: int = 0) -> str | bytes | None:
        """Return the text that an expression of constants makes, or none."""
        if node is None or depth > 60:
            return None
        value: str | bytes | None = None
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            value = node.value
        elif isinstance(node, ast.Name):
            value = self._constants.get(node.id)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = (
                self._constant(node.left, depth + 1),
                self._constant(node.right, depth + 1),
            )
            if isinstance(left, str) and isinstance(right, str):
                value = left + right
            if isinstance(left, bytes) and isinstance(right, bytes):
                value = left + right
        elif isinstance(node, ast.JoinedStr):
            parts = [
                self._constant(
                    part.value if isinstance(part, ast.FormattedValue) else part, depth + 1
                )
                for part in node.values
            ]
            value = "".join(part if isinstance(part, str) else "\x00" for part in parts)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            whole = self._constant(node.value, depth + 1)
            step = node.slice.step
            if whole is not None and isinstance(step, ast.UnaryOp) and node.slice.lower is None:
                value = whole[::-1]
        elif isinstance(node, ast.Call):
            value = self._called_constant(node, depth + 1)
        return value if value is None or len(value) <= MAX_FOLDED else None

    def _called_constant(self, node: ast.Call, depth: int) -> str | bytes | None:
        function = node.func
        if isinstance(function, ast.Name) and function.id == "chr" and node.args:
            code = node.args[0]
            if isinstance(code, ast.Constant) and isinstance(code.value, int):
                return chr(code.value) if 0 <= code.value < 0x110000 else None
        if isinstance(function, ast.Attribute):
            if function.attr == "join" and node.args:
                return self._joined(function, node.args[0], depth)
            inner = self._constant(function.value, depth)
            if function.attr in ("decode", "encode") and inner is not None and len(node.args) < 2:
                codec = self._constant(node.args[0]) if node.args else "utf-8"
                return _recode(inner, str(codec))
            if function.attr in ("strip", "lower", "upper") and inner is not None:
                return getattr(inner, function.attr)()  # type: ignore[no-any-return]
            if function.attr == "replace" and isinstance(inner, str) and len(node.args) > 1:
                old, new = (self._constant(argument, depth) for argument in node.args[:2])
                if isinstance(old, str) and isinstance(new, str) and len(inner) < 1 << 16:
                    return inner.replace(old, new) if len(new) < 1 << 8 else None
        name = self._dotted(function)
        argument = self._constant(node.args[0], depth) if node.args else None
        if argument is not None and _DECODE.match(name):
            return _decoded(name, argument)
        return None

    def _joined(self, function: ast.Attribute, items: ast.AST, depth: int) -> str | None:
        separator = self._constant(function.value, depth)
        parts: Iterable[str | bytes | None] = ()
        if isinstance(items, ast.List | ast.Tuple):
            parts = [self._constant(item, depth) for item in items.elts[:10_000]]
        elif isinstance(items, ast.GeneratorExp | ast.ListComp | ast.Call):
            sequences = [n for n in ast.walk(items) if isinstance(n, ast.List | ast.Tuple)]
            calls = {n.id for n in ast.walk(items) if isinstance(n, ast.Name)}
            if "chr" in calls and sequences:
                parts = [
                    chr(e.value)
                    for e in sequences[0].elts
                    if isinstance(e, ast.Constant)
                    and isinstance(e.value, int)
                    and 0 <= e.value < 0x110000
                ]
        if not isinstance(separator, str) or not parts:
            return None
        return separator.join(part for part in parts if isinstance(part, str))

    def _is_tainted(self, node: ast.AST) -> bool:
        """Say whether a value was decoded or fetched."""
        for inner in itertools.islice(ast.walk(node), MAX_VALUE):
            if isinstance(inner, ast.Name) and inner.id in self._tainted:
                return True
            if isinstance(inner, ast.Call):
                name = self._dotted(inner.func)
                if _DECODE.match(name) or _NETWORK.match(name) or name.endswith(".recv"):
                    return True
                head = name.split(".", 1)[0]
                if head in self._tainted:
                    return True
        return False

    # where code runs

    def _placed(self) -> Iterator[tuple[ast.AST, str]]:
        """Yield every node with when it runs."""
        stack: list[tuple[ast.AST, str, bool]] = [(self._tree, IMPORTED, False)]
        while stack:
            node, where, in_class = stack.pop()
            yield node, where
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                name = getattr(node, "name", "")
                inner = METHOD if in_class else FUNCTION
                if isinstance(node, ast.Lambda):
                    inner = where
                if where == MAIN:
                    inner = MAIN
                elif name in self._called_on_import:
                    inner = IMPORTED
                elif where == METHOD:
                    inner = METHOD
                outer = [
                    *getattr(node, "decorator_list", []),
                    *node.args.defaults,
                    *(default for default in node.args.kw_defaults if default is not None),
                ]
                stack.extend((child, where, False) for child in outer)
                body = [node.body] if isinstance(node, ast.Lambda) else node.body
                stack.extend((child, inner, False) for child in body)
                continue
            if isinstance(node, ast.If) and _is_main_guard(node.test):
                stack.extend((child, MAIN, False) for child in node.body)
                stack.extend((child, where, in_class) for child in node.orelse)
                continue
            is_class = isinstance(node, ast.ClassDef)
            stack.extend((child, where, is_class) for child in ast.iter_child_nodes(node))

    # what is wrong

    def _judge_call(self, node: ast.Call, where: str) -> None:
        name = self._dotted(node.func)
        line = node.lineno
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        for argument in arguments:
            if isinstance(argument, ast.Attribute | ast.Name | ast.Lambda):
                given = self._dotted(argument)
                if _SPAWN.match(given) or given in ("exec", "eval"):
                    self._judge_spawn(given, self._command(node), [], where, line)
        if not name:
            if isinstance(node.func, ast.Call) and self._is_tainted(node):
                self._add(
                    "TW-MODEL-CODE-DISGUISED", "calls what it decoded", line, Severity.CRITICAL
                )
            return
        if _SPAWN.match(name):
            self._judge_spawn(name, self._command(node), arguments, where, line)
        elif _EVAL.match(name) or name in ("compile", "exec", "eval"):
            self._judge_eval(name, arguments, where, line)
        elif _NETWORK.match(name):
            self._judge_network(name, arguments, where, line)
        elif name.startswith(("marshal.load", "types.CodeType", "types.FunctionType")):
            self._add("TW-MODEL-CODE-DISGUISED", f"calls {name}", line, Severity.CRITICAL)
        elif _LOADERS.match(name):
            decoded = any(self._is_tainted(argument) for argument in arguments)
            if decoded and not name.startswith(("torch", "numpy", "keras")):
                self._add(
                    "TW-MODEL-CODE-DISGUISED",
                    f"gives {name} what it decoded or fetched",
                    line,
                    Severity.CRITICAL,
                )
            elif name.split(".")[0].lower().endswith(("pickle", "dill")) and where == IMPORTED:
                self._add("TW-MODEL-CODE-LOADS", f"calls {name} {where}", line, Severity.MEDIUM)
        elif _NATIVE.match(name):
            self._judge_native(name, where, line)
        elif _HOOKS.match(name) and where != MAIN:
            self._add("TW-MODEL-CODE-HOOKS", f"calls {name}", line, Severity.LOW)
        elif name == "__import__" and node.args and self._constant(node.args[0]) is None:
            severity = Severity.LOW if where == FUNCTION else Severity.MEDIUM
            self._add("TW-MODEL-CODE-EVAL", "imports a computed name", line, severity)
        elif name == "open" or name.endswith((".write_text", ".write_bytes", "Path", ".rename")):
            self._judge_open(arguments, line)

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
        )

    def _inner(self, constant: str | bytes, line: int, where: str) -> None:
        """Judge the source that a constant holds, as if it stood here."""
        text = constant if isinstance(constant, str) else constant.decode("utf-8", "replace")
        try:
            faults = python_faults(text.strip(), self._layer + 1)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        for fault in faults:
            severity = fault.severity
            if severity.rank >= Severity.MEDIUM.rank and where != MAIN:
                severity = Severity.CRITICAL
            self._add(fault.rule_id, f"evaluates text: {fault.what}", line, severity)

    def _judge_network(self, name: str, arguments: list[ast.expr], where: str, line: int) -> None:
        takes_secrets = any(
            (dotted := self._dotted(inner)) and _SECRETS.match(dotted)
            for argument in arguments
            for inner in ast.walk(argument)
            if isinstance(inner, ast.Attribute | ast.Call | ast.Name)
        )
        if takes_secrets and (where in (IMPORTED, METHOD) or _SENDS.search(name)):
            severity = Severity.HIGH if where in (FUNCTION, MAIN) else Severity.CRITICAL
            self._add("TW-MODEL-CODE-EXFILTRATES", f"gives {name} secrets", line, severity)
        elif where == IMPORTED:
            sends = _SENDS.search(name) and not name.endswith("urlopen")
            severity = Severity.CRITICAL if sends else Severity.HIGH
            self._add("TW-MODEL-CODE-NETWORK", f"calls {name} {where}", line, severity)
        else:
            self._add("TW-MODEL-CODE-NETWORK", f"calls {name} {where}", line, Severity.LOW)

    def _judge_native(self, name: str, where: str, line: int) -> None:
        if re.search(r"VirtualAlloc|CreateThread|RtlMove|mprotect", name):
            severity = Severity.CRITICAL if where != MAIN else Severity.HIGH
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

    def _judge_string(self, node: ast.Constant, where: str) -> None:
        text = str(node.value)
        if "/dev/tcp/" in text and where != MAIN:
            self._add(
                "TW-MODEL-CODE-SPAWN", "holds a reverse shell", node.lineno, Severity.CRITICAL
            )

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

    def _judge_reduction(self, value: ast.Tuple) -> None:
        """Report a tuple that `__reduce__` returns: what a pickle of it would call."""
        called = self._dotted(value.elts[0]) if value.elts else ""
        if _SPAWN.match(called) or called in ("exec", "eval", "__import__"):
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
                any(_SPAWN.match(name) for name in self._uses)
                and any(name.endswith((".recv", ".connect")) for name in self._uses)
            )
        )


def _is_main_guard(test: ast.expr) -> bool:
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and isinstance(test.ops[0], ast.Eq)
    )


def _recode(value: str | bytes, codec: str) -> str | bytes | None:
    try:
        if isinstance(value, bytes):
            return (
                codecs.decode(value, codec) if codec in ("hex", "base64") else value.decode(codec)
            )
        return codecs.encode(value, codec) if "rot" in codec else value.encode(codec)
    except (ValueError, LookupError, TypeError, binascii.Error):
        return None


def _decoded(name: str, value: str | bytes) -> str | bytes | None:
    raw = value if isinstance(value, bytes) else value.encode("utf-8", "replace")
    try:
        if "fromhex" in name or "unhexlify" in name:
            return bytes.fromhex(raw.decode("ascii"))
        if name.startswith(("base64.b64", "base64.standard", "base64.decode", "binascii.a2b_base")):
            return base64.b64decode(raw)
        if name.startswith("base64.urlsafe"):
            return base64.urlsafe_b64decode(raw)
        if name.startswith("base64.b32"):
            return base64.b32decode(raw)
        if name.startswith("base64.b85"):
            return base64.b85decode(raw)
        if name.startswith("zlib.decompress"):
            return zlib.decompressobj().decompress(raw, MAX_FOLDED)
        if name == "codecs.decode" and isinstance(value, str):
            return codecs.encode(value, "rot13")
    except (ValueError, zlib.error, binascii.Error):
        return None
    return None
