"""Resolves what the names of Python source refer to: imports, aliases, tables, computed lookups.

Over 500 lines, since each kind of name may lead to any other.
"""

from __future__ import annotations

import ast
import re
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from agents.checks.artifacts.dangerous_names import functions, modules, table
from agents.checks.artifacts.python.spellings import ANY, spellings
from agents.checks.artifacts.python.tree import ModuleTree
from agents.checks.artifacts.python.values import UNKNOWN, Function, Values

MAX_DEPTH: Final = 100
MAX_KEPT: Final = 100
"""Characters of a full name that is kept for other modules."""
MAX_COMPUTED: Final = 100
"""Keys of one table that are computed; the rest is left out."""
SPAWN: Final = functions("spawn")
"""Functions that start other programs."""
EVALUATORS: Final = frozenset(("exec", "eval", "execfile"))
_LOADERS: Final = frozenset(("__import__", "import_module", "_gcd_import", "load_module"))
_RESOLVING: Final = frozenset(("resolve_name", "locate", "eval"))
_GETTING: Final = frozenset(("getattr", "__getattribute__", "getattr_static"))
_TAKING: Final = frozenset(("get", "pop", "__getitem__", "setdefault"))
_GETTERS: Final = frozenset(("attrgetter", "itemgetter"))
_LOOKUPS: Final = _LOADERS | _RESOLVING | _GETTING | _TAKING | _GETTERS | {"partial"}
"""Last parts of the names of functions that look a name up."""
_PARAMETERS: Final = ("object", "obj", "name", "fullname", "path", "attr", "key")
"""Parameters of lookups, in the order of their signatures."""
_NAMESPACES: Final = frozenset(("globals", "locals", "vars", "dir"))
_BUILTINS: Final = frozenset(("builtins", "__builtins__", "__builtin__"))
_ROOTS: Final = modules("code-path")
"""Modules that code reaches through those that imported them."""
_GUARDED: Final = modules("hidden-lookup")
"""Modules in which model code never looks up a computed name."""
_PASSED: Final = frozenset(("__call__", "__func__", "__wrapped__"))
"""Attributes by which a function leads to itself."""
_STARRED: Final = (
    "system",
    "popen",
    "run",
    "call",
    "Popen",
    "check_output",
    "urlopen",
    "b64decode",
)
_DOTTED: Final = re.compile(r"[A-Za-z_]\w*([.:][A-Za-z_]\w*)*")
_FOLLOWED: Final = (ast.AugAssign, ast.For, ast.While)
_TARGETED: Final = (ast.Assign, ast.AnnAssign, ast.NamedExpr)
_GIVING: Final = (*_FOLLOWED, *_TARGETED, ast.With)
"""Statements and expressions that bind names."""
_TABLES: Final = (ast.Dict, ast.List, ast.Tuple)
_REFERRING: Final = frozenset((ast.Attribute, ast.Name, ast.Subscript, ast.NamedExpr))
_NAME: Final = ast.Name
_ATTRIBUTE: Final = ast.Attribute
_PASSING: Final = frozenset((ast.NamedExpr, ast.Await))
"""Expressions that refer to what their value refers to."""
_KEYS: Final = (str, bytes, int)
_OWNERS: Final = (ast.Name, ast.Attribute)
_SPREAD: Final = (ast.List, ast.Tuple)
_PLAIN: Final = (str, bytes, int, list, dict, bytearray)
_INSTANCES: Final = re.compile(r"^(ctypes|cffi|IPython)\.")
"""Modules whose results are followed by name."""


class _Entries(NamedTuple):
    """The values of a table, by constant keys and by keys that must be computed."""

    constant: dict[Any, ast.AST]
    computed: list[tuple[ast.expr, ast.AST]]


class Names:
    """The names of one module; after learning, the meaning of a node does not change."""

    def __init__(self) -> None:
        """Start empty."""
        self.aliases: dict[str, str] = {}
        self.values = Values(self.dotted)
        self.functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        self.assigned: set[str] = set()
        """Every name that the module itself gives a meaning."""
        self._imported: set[str] = set()
        self._tables: dict[str, ast.expr] = {}
        self._entries: dict[ast.Dict, _Entries] = {}
        self._asked: set[str] = set()
        """Names whose aliases were asked for."""
        self._asked_tables: set[str] = set()
        self._settled = False
        """Whether nothing was learnt that an earlier answer would have been another with."""
        self._known: dict[ast.AST, str] = {}
        """What nodes refer to. They are found by identity, as `id` gives it: a process with a hook
        for audits calls that at each `id`."""
        self._learnt = False

    def learn(self, tree: ModuleTree) -> None:
        """Learn imports, then assignments, in the order of the lines.

        Assignments are gone through once more if what they gave names changes what an earlier one
        means.

        Args:
            tree: The module's tree.
        """
        for function in tree.functions:
            self.functions[function.name] = function
        for imported in tree.imports:
            self._learn_import(imported)
        giving: list[Any] = [node for kind in _GIVING for node in tree.of(kind)]
        names, arguments = tree.of(ast.Name), tree.of(ast.arg)
        classes = tree.of(ast.ClassDef)
        self.assigned = {
            *(name.id for name in names if type(name.ctx) is ast.Store),
            *(argument.arg for argument in arguments),
            *self.functions,
            *(defined.name for defined in classes),
        }
        functions: dict[str, Function] = {**self.functions}
        self.values.functions = functions
        giving.sort(key=lambda node: (node.lineno, node.col_offset))
        for _ in range(2):  # a name may be used before the line that gives it
            self.values.constants.clear()
            self._settled = True
            for node in giving:
                self._learn_value(node)
            if self._is_settled():
                break
        for node in classes:
            self._learn_class(node)
        self._known.clear()
        self._learnt = True

    def _is_settled(self) -> bool:
        """Return whether to go through the assignments once more would teach the same."""
        return self._settled

    def _ask(self, name: str) -> str:
        """Return what a plain name refers to."""
        self._asked.add(name)
        return self.aliases.get(name, name)

    def _give(self, name: str, dotted: str) -> None:
        """Let a plain name refer to something from here on."""
        if name in self._asked and self.aliases.get(name) != dotted:
            self._settled = False
        self.aliases[name] = dotted

    def release(self) -> None:
        """Leave the circle of names and values; neither can be asked afterwards."""
        del self.values

    def _learn_import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    self.aliases[alias.asname] = alias.name
                    self._imported.add(alias.asname)
                else:
                    top = alias.name.split(".", 1)[0]
                    self.aliases.setdefault(top, top)
                    self._imported.add(top)
        elif node.module and not node.level:
            for alias in node.names:
                if alias.name == "*":
                    for name in _STARRED:
                        self.aliases.setdefault(name, f"{node.module}.{name}")
                else:
                    self.aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                    self._imported.add(alias.asname or alias.name)

    def _learn_value(self, node: ast.AST) -> None:
        if isinstance(node, _FOLLOWED):
            self.values.follow(node)
        if isinstance(node, _TARGETED):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            value = node.value
        elif isinstance(node, ast.With) and node.items[0].optional_vars:
            targets, value = [node.items[0].optional_vars], node.items[0].context_expr
        else:
            return
        if value is None:
            return
        values = self.values
        for target in targets:
            key = target_name(target)
            if not key:
                continue
            constant = values.value(value)
            if constant is not UNKNOWN and isinstance(constant, _PLAIN):
                values.constants[key] = constant
            if isinstance(value, _TABLES):
                if key in self._asked_tables and self._tables.get(key) is not value:
                    self._settled = False
                self._tables[key] = value
            if isinstance(value, ast.Lambda) and isinstance(target, ast.Name):
                self._settled &= values.functions.get(key) is value
                values.functions[key] = value
            if isinstance(target, ast.Name):
                self._learn_alias(target.id, value)

    def _learn_alias(self, name: str, value: ast.expr) -> None:
        refers = type(value) in _REFERRING
        if not (refers or isinstance(value, ast.Call)):
            return
        dotted = self.dotted(value)
        if isinstance(value, ast.Call):
            refers = self._looked_up(value) != "" or bool(_INSTANCES.match(dotted))
        if not refers or dotted in ("", name) or name in self.functions:
            return
        if name not in self.aliases or (self.runs(dotted) and name not in self._imported):
            self._give(name, dotted)  # what runs things regardless of its earlier value

    def _learn_class(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                constant = self.values.value(statement.value)
                if isinstance(constant, _KEYS):
                    for owner in (node.name, "self", "cls"):
                        self.values.constants[f"{owner}.{statement.targets[0].id}"] = constant

    def runs(self, dotted: str) -> bool:
        """Return whether a function of this full name starts a program or evaluates text."""
        if dotted.startswith("sh.") and "sh" not in self._imported:
            return False  # a variable of that name
        if dotted in self.functions:
            return False
        return _runs(dotted) if len(dotted) < MAX_KEPT else _runs.__wrapped__(dotted)

    def may_run(self, node: Any) -> bool:  # noqa: ANN401 -- a node of any kind
        """Return whether a reference may name something that `runs` knows, by its last part.

        Args:
            node: The reference.
        """
        kind = type(node)
        if kind is _NAME:
            return node.id in self.aliases or _may_end_what_runs(node.id)
        if kind is _ATTRIBUTE:
            return "sh" in self._imported or _may_end_what_runs(node.attr)
        return True

    def dotted(self, node: ast.AST, depth: int = 0) -> str:
        """Return the full name of a reference, as far as it is constant."""
        if not self._learnt and depth == 0:
            self._known.clear()  # a name that is learnt next may be of its parts
        known = self._known.get(node)
        if known is None:
            known = self._known[node] = self._resolve(node, depth)
        return known

    def unknown_of(self, node: ast.AST) -> str:
        """Return the module in which an unknown name is looked up, empty if none."""
        owner: ast.AST | None = None
        if (
            isinstance(node, ast.Call)
            and len(node.args) > 1
            and self.dotted(node.func) == "getattr"
        ):
            owner, key = node.args[0], node.args[1]
        elif isinstance(node, ast.Subscript):
            held = node.value
            key = node.slice
            if isinstance(held, ast.Attribute) and held.attr == "__dict__":
                owner = held.value
            elif isinstance(held, ast.Call) and held.args and self.dotted(held.func) == "vars":
                owner = held.args[0]
        if owner is None or isinstance(self.values.value(key), str):
            return ""
        found = self.dotted(owner)
        return found if found in _GUARDED else ""

    def is_computed(self, node: ast.AST) -> bool:
        """Return whether a reference is looked up by a text where a plain name would do."""
        while True:
            if isinstance(node, ast.Attribute):
                node = node.value
            elif isinstance(node, ast.Subscript):
                return isinstance(self.values.value(node.slice), str)
            elif isinstance(node, ast.Call):
                return bool(self._looked_up(node)) and self.dotted(node.func) != "__import__"
            else:
                return False

    def _resolve(self, node: Any, depth: int) -> str:  # noqa: ANN401 -- a node of any kind
        parts: list[str] = []
        while depth < MAX_DEPTH:
            depth += 1
            kind = type(node)
            if kind is _NAME:  # most
                parts.append(self._ask(node.id))
                break
            if kind is _ATTRIBUTE:
                if node.attr not in _PASSED:
                    parts.append(node.attr)
                node = node.value
            elif kind is ast.Subscript:
                following = self._looked_into(node)
                if following is None:
                    return ""
                part, node = following
                if part:
                    parts.append(part)
                if part == "builtins":
                    break
            elif kind in _PASSING:
                node = node.value
            elif kind is ast.IfExp:
                node = node.body
            elif kind is ast.BoolOp:
                node = node.values[-1 if isinstance(node.op, ast.And) else 0]
                if isinstance(node, ast.Constant):
                    return ""
            elif kind is ast.Call:
                found = self._looked_up(node, depth)
                if not found:
                    found = self.dotted(node.func, depth) if depth < MAX_DEPTH else ""
                if not found:
                    return ""
                parts.append(found)
                break
            else:
                return ""
        if len(parts) == 1:
            dotted = parts[0]
        else:
            parts.reverse()
            dotted = ".".join(filter(None, parts))
        return _flat(dotted) if len(dotted) < MAX_KEPT else _flat.__wrapped__(dotted)

    def _looked_into(self, node: ast.Subscript) -> tuple[str, ast.AST] | None:
        """Return the name that a subscript adds and what it is looked up in; none when unknown."""
        key = self.values.value(node.slice)
        table: ast.AST | None = node.value
        if isinstance(table, _OWNERS):
            name = target_name(table)
            self._asked_tables.add(name)
            table = self._tables.get(name, table)
        if isinstance(table, ast.Dict):
            entry = self._entry(table, key)
            return None if entry is None else ("", entry)
        if isinstance(table, _SPREAD):
            if isinstance(key, int) and -len(table.elts) <= key < len(table.elts):
                return "", table.elts[key]
            return None
        if not isinstance(key, str):
            return None
        if key in _BUILTINS:
            return "builtins", node
        owner = node.value
        if isinstance(owner, ast.Attribute) and owner.attr in ("__dict__", "modules"):
            return key, owner.value if owner.attr == "__dict__" else ast.Name("")
        if (
            isinstance(owner, ast.Call)
            and isinstance(owner.func, ast.Name)
            and owner.func.id in _NAMESPACES
        ):
            return ("", ast.Name(key)) if not owner.args else (key, owner.args[0])
        return key, owner

    def _entry(self, table: ast.Dict, key: object) -> ast.AST | None:
        """Return what a table holds under a key; its constant keys are gone through once."""
        known = self._entries.get(table)
        if known is None:
            known = self._entries[table] = _Entries({}, [])
            for name, value in zip(table.keys, table.values, strict=True):
                if isinstance(name, ast.Constant):
                    known.constant.setdefault(name.value, value)
                elif name is not None and len(known.computed) < MAX_COMPUTED:
                    known.computed.append((name, value))
        if isinstance(key, _KEYS) and key in known.constant:
            return known.constant[key]
        for computed, held in known.computed:
            if self.values.value(computed) == key:
                return held
        return None

    def _looked_up(self, node: ast.Call, depth: int = 0) -> str:
        """Return what a call yields that looks a name up: `getattr`, `__import__` and their kin."""
        function = node.func
        if depth >= MAX_DEPTH:
            return ""
        if isinstance(function, ast.Attribute):
            tail = function.attr
        elif isinstance(function, ast.Name):
            tail = self._ask(function.id).rsplit(".", 1)[-1]
        else:
            tail = self.dotted(function, depth + 1).rsplit(".", 1)[-1]
        if tail not in _LOOKUPS or not (arguments := lookup_arguments(node)):
            return ""
        if tail in _LOADERS:
            module = self.values.text(arguments[0])
            return module if isinstance(module, str) and not module.startswith(".") else ""
        if tail in _RESOLVING:
            named = self.values.text(arguments[0])
            if isinstance(named, str) and _DOTTED.fullmatch(named.strip()):
                head, _, rest = named.strip().replace(":", ".").partition(".")
                return ".".join(part for part in (self._ask(head), rest) if part)
            return ""
        if tail in _GETTING:
            owner: ast.AST = arguments[0]
            name = arguments[1] if len(arguments) > 1 else None
            if name is None and isinstance(function, ast.Attribute):
                owner, name = function.value, arguments[0]
            attribute = self.values.text(name)
            if isinstance(attribute, str):
                return f"{self.dotted(owner, depth + 1)}.{attribute}"
            return ""
        if tail in _TAKING and isinstance(function, ast.Attribute):
            return self._taken(function.value, arguments[0], depth)
        if tail == "partial":
            return self.dotted(arguments[0], depth + 1)
        if isinstance(function, ast.Call) and function.args and tail in _GETTERS:
            attribute = self.values.text(function.args[0])
            if isinstance(attribute, str):
                return f"{self.dotted(arguments[0], depth + 1)}.{attribute}".replace(
                    ".__dict__.", "."
                )
        return ""

    def _taken(self, owner: ast.expr, key: ast.expr, depth: int) -> str:
        """Return the value taken from a namespace or a table by its key."""
        if isinstance(owner, ast.Name):
            self._asked_tables.add(owner.id)
        namespace = (
            (isinstance(owner, ast.Attribute) and owner.attr in ("__dict__", "modules"))
            or (
                isinstance(owner, ast.Call)
                and isinstance(owner.func, ast.Name)
                and owner.func.id in _NAMESPACES
            )
            or (isinstance(owner, ast.Name) and owner.id in self._tables)
            or isinstance(owner, ast.Dict)
        )
        if not namespace:
            return ""
        return self.dotted(ast.Subscript(owner, key), depth + 1)


def lookup_arguments(node: ast.Call) -> list[ast.expr]:
    """Return the arguments of a call, those first that a lookup's signature has first.

    Args:
        node: The call; literal lists that are spread with a star count as their items.
    """
    arguments: list[ast.expr] = []
    for argument in node.args:
        spread = argument.value if isinstance(argument, ast.Starred) else None
        arguments += spread.elts if isinstance(spread, _SPREAD) else [argument]
    if not node.keywords:
        return arguments
    named = {keyword.arg: keyword.value for keyword in node.keywords}
    for keyword in node.keywords:
        if keyword.arg is None and isinstance(keyword.value, ast.Dict):
            named |= {
                key.value: value
                for key, value in zip(keyword.value.keys, keyword.value.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
    return arguments + [named[name] for name in _PARAMETERS if name in named]


def target_name(target: Any) -> str:  # noqa: ANN401 -- a node of any kind
    """Return the name of an assignment's target: a variable, or an attribute with its owner."""
    if type(target) is _NAME:
        return target.id
    if type(target) is _ATTRIBUTE and type(target.value) is _NAME:
        return f"{target.value.id}.{target.attr}"
    return ""


@cache
def _ends() -> re.Pattern[str]:
    """Return the pattern of the last parts of the full names that `Names.runs` knows.

    Raises:
        ValueError: the last part of a function that starts programs may be anything.
    """
    ends = {"__import__", *EVALUATORS, *_PASSED}
    for name in spellings(table().functions["spawn"]) - {f"sh.{ANY}"}:
        end = name.rpartition(".")[2]
        if not end.strip(ANY):
            raise ValueError(f"a function of any name starts programs: {name!r}")
        ends.add(end)
    return re.compile("|".join(re.escape(end).replace(re.escape(ANY), r"\w*") for end in ends))


@lru_cache(maxsize=8192)  # modules use the same names
def _may_end_what_runs(word: str) -> bool:
    return _ends().fullmatch(word) is not None


@lru_cache(maxsize=8192)  # modules call the same functions
def _runs(dotted: str) -> bool:
    """Return whether a function of this full name starts a program or evaluates text."""
    return dotted in EVALUATORS or dotted == "__import__" or SPAWN.match(dotted) is not None


@lru_cache(maxsize=8192)  # the same
def _flat(dotted: str) -> str:
    """Return a full name without the prefixes through which built-in modules are reached."""
    for prefix in ("builtins.", "__builtins__.", "__builtin__.", "__import__."):
        dotted = dotted.removeprefix(prefix)
    head, _, rest = dotted.partition(".")
    if head in ("np", "numpy"):
        head = "numpy"
    dotted = f"{head}.{rest}" if rest else head
    parts = dotted.split(".")
    for index in range(1, len(parts)):
        root = parts[index].lstrip("_")
        if root in _ROOTS or parts[index] in _BUILTINS:
            through = ".".join((root, *parts[index + 1 :])).removeprefix("builtins.")
            if SPAWN.match(through) or through in EVALUATORS:
                return through
    return dotted
