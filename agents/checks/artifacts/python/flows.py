"""Follows values through a module: secrets, sockets, fetched files, places of the file system.

A value is looked up only when a judgement asks for it; what each name was given is collected once.
Over 500 lines, since kinds and paths of values are found by the same names.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import Any, Final, cast

from agents.checks.artifacts.dangerous_names import modules
from agents.checks.artifacts.python.calls import STARTUP
from agents.checks.artifacts.python.module_facts import MAX_VALUE, ModuleFacts
from agents.checks.artifacts.python.shell_commands import holds_credentials
from agents.checks.artifacts.python.tree import ModuleTree
from agents.domain.late_pattern import late_pattern

MAX_STEPS: Final = 24
"""Names that are followed one after the other."""
MAX_CONSTANT: Final = 200
"""Characters of a text that may be a name or a path."""
MAX_GIVEN: Final = 64
"""Values of one name."""
MAX_PATH: Final = 100
"""Parts of a path."""

ENVIRONMENT: Final = 1
"""All variables of the environment, or those with the names of secrets."""
CREDENTIAL: Final = 2
"""A file of keys, or its path."""
ACCOUNT: Final = 4
"""The token of a known service, which its clients send to it."""
SECRET_NAME: Final = 8
"""The name of a variable that holds such a token."""
METADATA: Final = 16
"""What the metadata service of a cloud answers, or its address."""
HOME: Final = 32
"""The home of a user, or of all."""
HOME_FILES: Final = 64
"""Files that were found by going through a home."""
CLIENT: Final = 128
"""What talks to another host."""
SOCKET: Final = 256
RECEIVED: Final = 512
"""Bytes that a socket received."""
OBSERVED: Final = 1024
"""Keys, screens and clipboards of a person."""
ENCRYPTED: Final = 2048
_OBJECTS: Final = CLIENT | SOCKET

_SECRET_NAME: Final = late_pattern(
    r"^(?:AWS_(?:ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)|HF_TOKEN"
    r"|HUGGING_?FACE(?:HUB)?_\w*TOKEN"
    r"|HUGGING_FACE_HUB_TOKEN|(?:GITHUB|GH|GITLAB|NPM|PYPI|CI_JOB|SLACK_BOT|VAULT|DO"
    r"|DIGITALOCEAN)_TOKEN"
    r"|ACTIONS_RUNTIME_TOKEN|ACTIONS_ID_TOKEN_REQUEST_TOKEN|TWINE_PASSWORD|(?:OPENAI"
    r"|ANTHROPIC|WANDB"
    r"|COHERE|GOOGLE|GEMINI|MISTRAL|REPLICATE|AZURE|AZURE_OPENAI)_(?:API_)?KEY|AZURE_CLIENT_SECRET"
    r"|GOOGLE_APPLICATION_CREDENTIALS|KAGGLE_KEY|DATABASE_URL)$"
)
_SECRET_WORD: Final = late_pattern(
    r"(?i)key|token|secret|pass|pwd|aws|cred|auth|api|hf_|hugging|github|private"
)
_ACCOUNT_FILE: Final = late_pattern(
    r"huggingface/token|serviceaccount/token|^\.?netrc$|/\.netrc$|\.config/gh/hosts|\.kaggle/"
)
_KEY_FILE: Final = late_pattern(
    r"(?i)wallet\.dat|Login Data$|\.git/config$"
    r"|application_default_credentials|\.config/gcloud"
    r"|key4\.db|logins\.json|Local Storage[/\\]leveldb|\.mozilla[/\\]|\.bash_history"
    r"|(?:^|[/\\])\.env$"
    r"|^\*?\.(?:pem|ppk|kdbx)$|\.electrum|\.config/solana|\.ethereum|\.bitcoin"
)
METADATA_HOST: Final = late_pattern(
    r"\b169\.254\.(?:169\.254|170\.2)\b|metadata\.google\.internal|\b100\.100\.100\.200\b"
)
_HOME: Final = late_pattern(r"^(?:~[/\\]?|/(?:home|root|Users)/?|[Cc]:\\Users\\?|/)$")
_SPACED: Final = late_pattern(r"\s")
_ENVIRONMENTS: Final = frozenset(("os.environ", "os.environb"))
_SINGLE: Final = frozenset(("os.getenv", "os.getenvb"))
_ONE: Final = frozenset(("get", "pop", "__getitem__", "setdefault", "update", "keys", "clear"))
_WALKS: Final = frozenset((
    "walk", "listdir", "scandir", "glob", "rglob", "iglob", "iterdir", "fwalk",
))  # fmt: skip
_EMPTY_HANDED: Final = frozenset((
    "len", "bool", "isinstance", "issubclass", "hasattr", "type", "id", "hash", "print", "callable",
    "os.path.exists", "os.path.isfile", "os.path.isdir", "os.path.getsize", "os.makedirs",
    "any", "all", "super",
))  # fmt: skip
"""Functions whose results tell next to nothing of their arguments."""
_CARRIES: Final = frozenset((
    "dumps", "dump", "safe_dump", "str", "repr", "dict", "list", "tuple", "set", "sorted", "bytes",
    "bytearray", "encode", "decode", "b64encode", "b32encode", "b85encode", "urlsafe_b64encode",
    "hexlify", "hex", "urlencode", "quote", "quote_plus", "join", "compress", "format", "pformat",
    "BytesIO", "StringIO", "Request", "copy", "deepcopy", "items", "values", "replace", "map",
    "filter", "encrypt", "tobytes", "read", "strip", "splitlines", "reversed", "OrderedDict",
    "File",
))  # fmt: skip
"""Functions whose results hold all that their arguments do."""
_ACCOUNTS: Final = frozenset((
    "huggingface_hub.get_token", "huggingface_hub.HfFolder.get_token",
    "huggingface_hub.utils.get_token", "huggingface_hub.hf_api.HfFolder.get_token",
))  # fmt: skip
_KEYS: Final = late_pattern(r"^(?:.*\.get_frozen_credentials|boto(?:3|core)\..*\.get_credentials)$")
_OBSERVES: Final = late_pattern(
    r"^(?:PIL\.ImageGrab\.grab\w*|pyautogui\.screenshot|pyscreenshot\.grab"
    r"|mss\.mss.*\.(?:grab|shot)"
    r"|pyperclip\.paste|win32clipboard\.GetClipboardData|keyboard\.(?:read_\w+|record)"
    r"|cv2\.VideoCapture.*\.read|sounddevice\.rec)$"
)
_LISTENS: Final = late_pattern(
    r"^(?:pynput\.(?:keyboard|mouse)\.Listener|keyboard\.(?:hook|on_press|on_release))$"
)
_MUTATES: Final = frozenset((
    "append", "extend", "update", "add", "insert", "write", "writelines", "put", "setdefault",
    "appendleft", "writestr",
))  # fmt: skip
_RUNS_LATER: Final = frozenset(("args", "kwargs"))
_NAMED: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS: Final = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class _Scope:
    """The names of a function, a class or the module."""

    __slots__ = ("class_name", "module_wide", "names", "parent")

    def __init__(self, parent: _Scope | None, class_name: str = "") -> None:
        self.parent = parent
        self.class_name = class_name
        """Of a class, its name."""
        self.names: dict[str, list[ast.AST]] = {}
        self.module_wide: set[str] = set()

    def holder(self, name: str) -> _Scope | None:
        """Return the scope that gives a name its meaning here."""
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names and (scope is self or not scope.class_name):
                return scope
            scope = scope.parent
        return None

    def owner(self) -> str:
        """Return the name of the class around."""
        scope: _Scope | None = self
        while scope is not None and not scope.class_name:
            scope = scope.parent
        return "" if scope is None else scope.class_name


class Flows:
    """Where the values of a module come from."""

    def __init__(self, tree: ModuleTree, facts: ModuleFacts) -> None:
        """Collect what each name is given.

        Args:
            tree: The module.
            facts: What its names mean.
        """
        self._facts = facts
        self._dotted = facts.names.dotted
        self._module = _Scope(None)
        self._scopes: dict[ast.AST, _Scope] = {}
        """Of each name, where it stands."""
        self._inner: dict[ast.AST, _Scope] = {}
        """Of each function, its names."""
        self._returned: defaultdict[str, list[ast.AST]] = defaultdict(list)
        self._functions: defaultdict[str, list[Any]] = defaultdict(list)
        self._attributes: defaultdict[tuple[str, str], list[ast.AST]] = defaultdict(list)
        self._changes: list[tuple[ast.Name, ast.AST]] = []
        self._callbacks: set[str] = set()
        self._known: dict[tuple[_Scope, str], int] = {}
        self._of_attribute: dict[tuple[str, str], int] = {}
        self._of_result: dict[str, int] = {}
        self._kinds: dict[ast.AST, int] = {}
        self._texts: dict[ast.AST, str] = {}
        self._left = MAX_PATH
        self._classes: set[str] = set()
        self._clients = modules("client")
        for function in tree.functions:
            self._functions[function.name].append(function)
        calls = self._collect(tree)
        for name, value in self._changes:
            holder = self._scopes[name].holder(name.id)
            if holder is not None:
                holder.names[name.id].append(value)
        self._classes = {scope.owner() for scope in self._inner.values()} - {""}
        for call in calls:
            self._pass_arguments(call)

    # what names are given

    def _collect(self, tree: ModuleTree) -> list[ast.Call]:
        calls: list[ast.Call] = []
        stack: list[tuple[ast.AST, _Scope, str]] = [(tree.root, self._module, "")]
        children = tree.children
        while stack:
            node, scope, function = stack.pop()
            kind = type(node)
            if kind is ast.Name:
                self._scopes[node] = scope
                continue
            if kind is ast.Constant:
                continue
            if isinstance(node, _NAMED):
                inner = self._enter(node, scope)
                outside = [*node.decorator_list, *node.args.defaults]
                outside += [given for given in node.args.kw_defaults if given is not None]
                stack += [(part, scope, function) for part in outside]
                stack += [(part, inner, node.name) for part in node.body]
                continue
            if kind is ast.ClassDef:
                defined = cast("ast.ClassDef", node)
                inner = _Scope(scope, defined.name)
                scope.names.setdefault(defined.name, [])
                outside = [*defined.decorator_list, *defined.bases]
                outside += [word.value for word in defined.keywords]
                stack += [(part, scope, function) for part in outside]
                stack += [(part, inner, function) for part in defined.body]
                continue
            if kind is ast.Call:
                calls.append(cast("ast.Call", node))
            self._learn(node, scope, function)
            stack += [(part, scope, function) for part in children(node)]
        return calls

    def _enter(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: _Scope) -> _Scope:
        inner = self._inner[node] = _Scope(scope)
        for statement in node.body:
            if isinstance(statement, ast.Global):
                inner.module_wide.update(statement.names)
        given = node.args
        for parameter in (*given.posonlyargs, *given.args, *given.kwonlyargs):
            inner.names[parameter.arg] = []
        for extra in (given.vararg, given.kwarg):
            if extra is not None:
                inner.names[extra.arg] = []
        return inner

    def _learn(self, node: ast.AST, scope: _Scope, function: str) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._give(target, node.value, scope)
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
            if node.value is not None:
                self._give(node.target, node.value, scope)
        elif isinstance(node, ast.For | ast.AsyncFor):
            if not self._is_chosen(node):
                self._give(node.target, node.iter, scope)
        elif isinstance(node, ast.withitem):
            if node.optional_vars is not None:
                self._give(node.optional_vars, node.context_expr, scope)
        elif isinstance(node, ast.comprehension):
            if not self._is_filtered(node.ifs):
                self._give(node.target, node.iter, scope)
        elif isinstance(node, ast.Return | ast.Yield):
            if node.value is not None and function:
                self._returned[function].append(node.value)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in _MUTATES
        ):
            owner = node.func.value
            if isinstance(owner, ast.Name):
                self._changes += [(owner, argument) for argument in node.args]
            elif isinstance(owner, ast.Attribute):
                for argument in node.args:
                    self._give(owner, argument, scope)

    def _give(self, target: ast.AST, value: ast.AST, scope: _Scope) -> None:
        if isinstance(target, ast.Name):
            holder = self._module if target.id in scope.module_wide else scope
            given = holder.names.setdefault(target.id, [])
            if len(given) < MAX_GIVEN:
                given.append(value)
        elif isinstance(target, ast.Tuple | ast.List):
            pairs = (
                zip(target.elts, value.elts, strict=False)
                if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
                else ((part, value) for part in target.elts)
            )
            for part, given_value in pairs:
                self._give(part, given_value, scope)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            owner = scope.owner() if target.value.id in ("self", "cls") else target.value.id
            given = self._attributes[owner, target.attr]
            if len(given) < MAX_GIVEN:
                given.append(value)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            self._changes.append((target.value, value))

    def _is_chosen(self, node: ast.For | ast.AsyncFor) -> bool:
        """Return whether a loop passes over all variables but some that hold no secrets."""
        only = node.body[0]
        return len(node.body) == 1 and isinstance(only, ast.If) and self._is_filtered([only.test])

    def _is_filtered(self, tests: list[ast.expr]) -> bool:
        """Return whether conditions let through names by a word that no secret has."""
        words = [
            part.value
            for test in tests
            for part in ast.walk(test)
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
        ]
        negated = any(
            isinstance(part, ast.Not | ast.NotIn | ast.NotEq)
            for test in tests
            for part in ast.walk(test)
        )
        return bool(words) and not negated and not any(map(_SECRET_WORD.search, words))

    def _pass_arguments(self, call: ast.Call) -> None:
        """Let the parameters of the module's functions have what calls give them."""
        function = call.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name in self._functions and self._dotted(function).rpartition(".")[0] not in (
            self._clients
        ):
            for defined in self._functions[name]:
                self._bind(defined, call)
        elif name in self._classes:
            for defined in self._functions.get("__init__", ()):
                if self._inner[defined].parent is not None and (
                    self._inner[defined].owner() == name
                ):
                    self._bind(defined, call)
        arguments = [*call.args, *(word.value for word in call.keywords)]
        listens = _LISTENS.match(self._dotted(function)) is not None
        for argument in arguments:
            if isinstance(argument, ast.Name | ast.Attribute):
                handed = argument.id if isinstance(argument, ast.Name) else argument.attr
                for defined in self._functions.get(handed, ()):
                    others = [other for other in arguments if other is not argument]
                    for values in self._inner[defined].names.values():
                        if len(values) < MAX_GIVEN:
                            values.extend(others[:4])
                    if listens:
                        self._callbacks.add(handed)

    def _bind(self, defined: ast.FunctionDef | ast.AsyncFunctionDef, call: ast.Call) -> None:
        names = self._inner[defined].names
        given = defined.args
        parameters = [part.arg for part in (*given.posonlyargs, *given.args)]
        if parameters[:1] in (["self"], ["cls"]):
            parameters = parameters[1:]
        for parameter, argument in zip(parameters, call.args, strict=False):
            if len(names[parameter]) < MAX_GIVEN:
                names[parameter].append(argument)
        for word in call.keywords:
            if word.arg in names and len(names[word.arg]) < MAX_GIVEN:
                names[word.arg].append(word.value)

    # kinds of values

    def kinds(self, node: ast.AST, steps: int = 0) -> int:
        """Return what a value may be or hold, as a union of the kinds above.

        Args:
            node: An expression.
            steps: Names that led to it.
        """
        known = self._kinds.get(node)
        if known is None:
            known = self._find(node, steps) if steps < MAX_STEPS else 0
            self._kinds[node] = known
        return known

    def _find(self, node: ast.AST, steps: int) -> int:
        found = 0
        waiting: list[ast.AST] = [node]
        for _ in range(MAX_VALUE):
            if not waiting:
                break
            part = waiting.pop()
            kind = type(part)
            if kind is ast.Name:
                found |= self._of_name(cast("ast.Name", part), steps)
            elif kind is ast.Constant:
                found |= _of_constant(cast("ast.Constant", part).value)
            elif kind is ast.Attribute:
                found |= self._of_reference(cast("ast.Attribute", part), steps)
            elif kind is ast.Call:
                found |= self._of_call(cast("ast.Call", part), waiting, steps)
            elif isinstance(part, ast.Subscript):
                found |= self._of_item(part, steps)
            elif isinstance(part, ast.IfExp):
                waiting += (part.body, part.orelse)
            elif isinstance(part, _COMPREHENSIONS):
                waiting += [part.key, part.value] if isinstance(part, ast.DictComp) else [part.elt]
            elif not isinstance(part, ast.Compare | ast.Lambda):
                waiting += ast.iter_child_nodes(part)
        return found

    def _of_name(self, node: ast.Name, steps: int) -> int:
        if self._dotted(node) in _ENVIRONMENTS:
            return ENVIRONMENT
        scope = self._scopes.get(node)
        holder = scope.holder(node.id) if scope is not None else None
        if holder is None or steps >= MAX_STEPS:
            return 0
        key = (holder, node.id)
        if key not in self._known:
            self._known[key] = 0  # until it is known, for values that are made from themselves
            found = 0
            for value in holder.names[node.id]:
                found |= self.kinds(value, steps + 1)
            if self._callbacks and any(
                self._inner[defined] is holder and node.id in _parameters(defined)
                for name in self._callbacks
                for defined in self._functions[name]
            ):
                found |= OBSERVED
            self._known[key] = found
        return self._known[key]

    def _of_reference(self, node: ast.Attribute, steps: int) -> int:
        if self._dotted(node) in _ENVIRONMENTS:
            return ENVIRONMENT
        owner = node.value
        if isinstance(owner, ast.Name) and owner in self._scopes and steps < MAX_STEPS:
            of = self._scopes[owner].owner() if owner.id in ("self", "cls") else owner.id
            key = (of, node.attr)
            given = self._attributes.get(key)
            if given is not None:
                if key not in self._of_attribute:
                    self._of_attribute[key] = 0
                    found = 0
                    for value in given:
                        found |= self.kinds(value, steps + 1)
                    self._of_attribute[key] = found
                return self._of_attribute[key]
        return self.kinds(owner, steps + 1) & ~ENVIRONMENT

    def _of_item(self, node: ast.Subscript, steps: int) -> int:
        if self._dotted(node.value) in _ENVIRONMENTS:
            return self._of_variable(node.slice, steps)
        held = self.kinds(node.value, steps + 1)
        if held & ENVIRONMENT and not isinstance(node.slice, ast.Slice):
            return held & ~ENVIRONMENT | self._of_variable(node.slice, steps)
        return held

    def _of_variable(self, name: ast.AST, steps: int) -> int:
        """Return the kinds of the variable of the environment that has a name."""
        return ACCOUNT if self.kinds(name, steps + 1) & SECRET_NAME else 0

    def _of_call(self, node: ast.Call, waiting: list[ast.AST], steps: int) -> int:
        name = self._dotted(node.func)
        if name in _EMPTY_HANDED:
            return 0
        function = node.func
        arguments: list[ast.AST] = [*node.args, *(word.value for word in node.keywords)]
        if name in _SINGLE:
            return self._of_variable(node.args[0], steps) if node.args else 0
        attribute = function.attr if isinstance(function, ast.Attribute) else ""
        if isinstance(function, ast.Attribute):
            if self._dotted(function.value) in _ENVIRONMENTS:
                if attribute in _ONE:
                    return self._of_variable(node.args[0], steps) if node.args else 0
                return ENVIRONMENT
            if attribute.startswith("recv"):
                held = self.kinds(function.value, steps + 1)
                return RECEIVED if held & _OBJECTS else held
        if name in _ACCOUNTS:
            return ACCOUNT
        if _KEYS.match(name):
            return CREDENTIAL
        last = attribute or name.rpartition(".")[2]
        found = 0
        if attribute:
            arguments.append(cast("ast.Attribute", function).value)
        if last in _CARRIES:
            waiting += arguments
        else:
            for argument in arguments:
                found |= self.kinds(argument, steps + 1)
            if found & ENVIRONMENT and attribute in _ONE and node.args:
                found |= self._of_variable(node.args[0], steps)
            found &= ~ENVIRONMENT
        if name.partition(".")[0] in self._clients:
            found |= CLIENT
            if name in ("socket.socket", "socket.create_connection", "socket.fromfd"):
                return SOCKET | CLIENT
        if name.endswith(".home") or (
            name.endswith("expanduser") and self.path(node) in ("~", "~/")
        ):
            found |= HOME
        if last in _WALKS and any(
            self.kinds(part, steps + 1) & HOME and _HOME.match(self.path(part))
            for part in (*node.args[:1], *arguments[-1:])
        ):
            found |= HOME_FILES
        if _OBSERVES.match(name):
            found |= OBSERVED
        if attribute == "encrypt" or name.endswith("encrypt_and_digest"):
            found |= ENCRYPTED
        if last in ("check_output", "getoutput", "run", "popen", "Popen"):
            command = self._facts.command(node).strip()
            if command in ("env", "printenv", "set", "export -p"):
                found |= ENVIRONMENT
        defined = last if last in self._functions else ""
        if defined and steps < MAX_STEPS:
            if defined not in self._of_result:
                self._of_result[defined] = 0
                result = 0
                for value in self._returned[defined]:
                    result |= self.kinds(value, steps + 1)
                self._of_result[defined] = result
            found |= self._of_result[defined]
        return found

    def sources(self, node: ast.AST) -> set[str]:
        """Return marks of what a value is made from: names and calls, each of this module.

        Args:
            node: An expression.
        """
        found: set[str] = set()
        waiting, seen = [node], 0
        while waiting and seen < MAX_PATH:
            seen += 1
            part = waiting.pop()
            if isinstance(part, ast.Name):
                scope = self._scopes.get(part)
                holder = scope.holder(part.id) if scope is not None else None
                if holder is None:
                    continue
                mark = f"{id(holder)}.{part.id}"
                if mark not in found:
                    found.add(mark)
                    waiting += holder.names[part.id][:4]
            elif isinstance(part, ast.Call):
                found.add(f"<{id(part)}>")
                waiting += part.args[:2]
                if isinstance(part.func, ast.Attribute):
                    waiting.append(part.func.value)
            elif isinstance(part, ast.Attribute | ast.Subscript | ast.Starred):
                waiting.append(part.value)
            elif isinstance(part, ast.Tuple | ast.List):
                waiting += part.elts[:8]
            elif isinstance(part, ast.JoinedStr):
                waiting += [
                    inner.value for inner in part.values if isinstance(inner, ast.FormattedValue)
                ]
        return found

    # places of the file system

    def path(self, node: ast.AST, steps: int = 0) -> str:
        """Return the path that an expression makes, without the parts that are not known.

        Args:
            node: The expression.
            steps: Expressions and names that led to it.
        """
        if steps == 0:
            if node in self._texts:
                return self._texts[node]
            self._left = MAX_PATH
        text = _joined(self._parts(node, steps))
        if steps == 0:
            self._texts[node] = text
        return text

    def _parts(self, node: ast.AST, steps: int) -> list[str]:
        self._left -= 1
        if steps > MAX_STEPS or self._left < 0:
            return []
        constant = self._facts.constant(node) if isinstance(node, ast.expr) else None
        if constant is not None:
            text = constant if isinstance(constant, str) else constant.decode("latin-1")
            return [text.replace("\x00", "*")]
        if isinstance(node, ast.BinOp):
            left, right = self._parts(node.left, steps + 1), self._parts(node.right, steps + 1)
            if isinstance(node.op, ast.Div):
                return [*left, *right][:MAX_PATH]
            return [_joined(left) + _joined(right)]
        if isinstance(node, ast.Name):
            scope = self._scopes.get(node)
            holder = scope.holder(node.id) if scope is not None else None
            values = holder.names[node.id] if holder is not None else []
            return self._parts(values[0], steps + 1) if values else []
        if isinstance(node, ast.Call):
            return self._parts_of_call(node, steps)
        if isinstance(node, ast.Attribute):
            if node.attr == "__file__":
                return [
                    "__file__" if self._dotted(node) == "__file__" else "site-packages/__file__"
                ]
            return self._parts(node.value, steps + 1)
        if isinstance(node, ast.Subscript):
            found = self._facts.constant(node.slice)
            if self._dotted(node.value) in _ENVIRONMENTS and found in ("HOME", "USERPROFILE"):
                return ["~"]
            return self._parts(node.value, steps + 1)
        if isinstance(node, ast.JoinedStr):
            return [
                "".join(
                    str(part.value)
                    if isinstance(part, ast.Constant)
                    else _joined(self._parts(part.value, steps + 1)) or "*"
                    for part in node.values[:MAX_PATH]
                    if isinstance(part, ast.Constant | ast.FormattedValue)
                )
            ]
        return []

    def _parts_of_call(self, node: ast.Call, steps: int) -> list[str]:
        name = self._dotted(node.func)
        if name.endswith(".home"):
            return ["~"]
        if STARTUP.match(name):
            return ["site-packages"]
        if name.endswith(("environ.get", "os.getenv")):
            of = self._facts.constant(node.args[0]) if node.args else None
            return ["~"] if of in ("HOME", "USERPROFILE") else []
        parts: list[str] = []
        if isinstance(node.func, ast.Attribute) and not name.startswith(("os.", "pathlib.")):
            parts += self._parts(node.func.value, steps + 1)
        for argument in node.args[:8]:
            parts += self._parts(argument, steps + 1)
        return parts[:MAX_PATH]


def is_secret_name(text: str) -> bool:
    """Return whether a variable of this name holds the token of a known service."""
    return _SECRET_NAME.match(text) is not None


def _parameters(defined: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [part.arg for part in (*defined.args.posonlyargs, *defined.args.args)]


def _joined(parts: list[str]) -> str:
    return "/".join(part.rstrip("/") or "/" for part in parts if part)[:500]


def _of_constant(value: object) -> int:
    """Return the kinds of a text that is written out."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_CONSTANT:
        return 0
    if _SECRET_NAME.match(value):
        return SECRET_NAME
    if METADATA_HOST.search(value):
        return METADATA
    if _HOME.match(value):
        return HOME
    if _ACCOUNT_FILE.search(value):
        return ACCOUNT
    if _KEY_FILE.search(value):
        return CREDENTIAL
    if "://" not in value and not _SPACED.search(value) and holds_credentials(value):
        return CREDENTIAL
    return 0
