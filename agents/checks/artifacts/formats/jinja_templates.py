"""Judges Jinja chat templates by their syntax tree; nothing is ever rendered."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import cache
from typing import Final

import msgspec
from jinja2 import TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import SandboxedEnvironment

from agents.checks.artifacts.dangerous_names import names
from agents.checks.artifacts.formats.jinja_constants import (
    MAX_FOLDED,
    MAX_VALUES,
    ConstantFolding,
    integer,
    is_built,
    range_length,
)
from agents.checks.artifacts.formats.template_triggers import triggered

MAX_TEMPLATE: Final = 1 << 19
"""Characters of a template that are parsed; those of popular models have up to 30,000."""
MAX_NODES: Final = 100_000
MAX_EFFORT: Final = 1 << 20
EFFORT_SHARE: Final = 64
"""Characters of constants that are assembled for one template, plus so many for each of its own;
ordinary templates assemble little more than their own length.
"""
MAX_TURNS: Final = 1_000_000
"""Iterations of nested loops over constant ranges, all together."""

_DUNDER: Final = re.compile(r"__\w+__|^__\w+|_TemplateReference__")
_DANGEROUS_DUNDER: Final = re.compile(
    r"__(class|bases?|mro|subclasses|globals|builtins|import|init|getattribute|getattr|dict|code|"
    r"closure|self|func|module|reduce|reduce_ex|wrapped|loader|spec|call|new|file|weakref|"
    r"init_subclass|context|instancecheck|subclasscheck)__|_TemplateReference__"
)
_DANGEROUS_NAMES: Final = names("template-attribute")
"""Attributes that lead out of the sandbox; chat templates don't need them."""
_DANGEROUS_CALLS: Final = names("template-call")
_FRAMEWORK: Final[dict[str, frozenset[str]]] = {
    "config": frozenset(
        ("items", "values", "from_object", "from_pyfile", "from_envvar", "from_mapping", "update",
         "SECRET_KEY", "get_namespace", "root_path")
    ),
    "request": frozenset(
        ("application", "environ", "args", "form", "cookies", "headers", "values", "data", "files")
    ),
    "session": frozenset(("items", "values", "keys", "get", "pop")),
    "g": frozenset(("pop", "get")),
}  # fmt: skip
"""Names that web frameworks give to their templates, and that no chat template has."""
_ESCAPE_GLOBALS: Final = frozenset(
    ("cycler", "joiner", "lipsum", "self", "url_for", "get_flashed_messages", "_context")
)
"""Names whose attributes lead to the interpreter where they exist."""
_ATTRIBUTE_FILTERS: Final = frozenset(
    ("map", "selectattr", "rejectattr", "groupby", "sort", "sum", "unique", "min", "max")
)
_SHELL: Final = re.compile(
    r"\bos\.(system|popen)\s*\(|\b(curl|wget)\s[^|\n]*\|\s*(ba|z)?sh\b|/dev/tcp/|__import__|"
    r"^(cat|ls|id|whoami|curl|wget|nc|bash|sh)\s+[-/]|^/etc/passwd$"
)
MAX_COMMAND: Final = 200
"""Characters of a constant that may be a command; longer ones are instructions to the model."""
_MARKUP: Final = re.compile(r"<script\b|javascript:|\bonerror\s*=", re.IGNORECASE)


_BINDING: Final = (
    nodes.Assign,
    nodes.With,
    nodes.For,
    nodes.AssignBlock,
    nodes.Macro,
    nodes.Keyword,
)
"""Nodes that bind names."""


class Fault(msgspec.Struct, frozen=True):
    """Something that a template does and chat templates don't need."""

    rule_id: str
    what: str
    line: int


class _Generation(Extension):
    """The tag around an assistant's text, as readers of chat templates know it."""

    tags = {"generation"}  # noqa: RUF012 -- as jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


@cache
def _environment() -> SandboxedEnvironment:
    return SandboxedEnvironment(
        extensions=[
            _Generation,
            "jinja2.ext.loopcontrols",
            "jinja2.ext.do",
            "jinja2.ext.i18n",
            "jinja2.ext.debug",
        ]
    )


def template_faults(text: str) -> list[Fault]:
    """Return where a template leaves its sandbox or never ends.

    Args:
        text: Jinja source.

    Returns:
        Faults, each once per line.

    Raises:
        TemplateSyntaxError: jinja2 can't parse it, or it is longer than `MAX_TEMPLATE`.
        RecursionError: it is nested too deeply.

    Source: CVE-2024-34359, CVE-2016-10745, the jinja2 sandbox documentation.
    """
    if len(text) > MAX_TEMPLATE:
        raise TemplateSyntaxError(f"longer than {MAX_TEMPLATE} characters", 1)
    return _Judge(_environment().parse(text), MAX_EFFORT + EFFORT_SHARE * len(text)).faults()


class _Judge:
    """One pass over one tree, with the values its names may have."""

    def __init__(self, tree: nodes.Template, effort: int) -> None:
        self._found: dict[tuple[str, str, int], Fault] = {}
        self._values: dict[str, list[str]] = {}
        self._folding = ConstantFolding(self._values, effort)
        self._tree = tree
        self._all = list(itertools.islice(_nodes(tree), MAX_NODES + 1))
        self._assigned = {
            node.name
            for node in self._all
            if isinstance(node, nodes.Name) and node.ctx in ("store", "param")
        }

    def faults(self) -> list[Fault]:
        if len(self._all) > MAX_NODES:
            self._add("TW-MODEL-TEMPLATE-EXHAUSTION", f"has more than {MAX_NODES} nodes", 1)
        macros = {node.name for node in self._all if isinstance(node, nodes.Macro)}
        binding = [node for node in self._all if isinstance(node, _BINDING)]
        for _ in range(3):  # names may be set from names; three rounds cover what people write
            for bound in binding:
                self._learn(bound)
        self._folding.settle(self._all)
        for node in self._all:
            self._judge(node, macros)
        self._loops()
        if self._folding.exhausted:
            self._add("TW-MODEL-TEMPLATE-EXHAUSTION", "assembles more text than is followed", 1)
        for what, line in triggered(self._tree):
            self._add("TW-MODEL-TEMPLATE-TRIGGER", what, line)
        return list(self._found.values())

    def _add(self, rule_id: str, what: str, line: int) -> None:
        self._found.setdefault((rule_id, what, line), Fault(rule_id, f"the template {what}", line))

    def _escape(self, what: str, node: nodes.Node) -> None:
        self._add("TW-MODEL-TEMPLATE-ESCAPE", what, node.lineno or 0)

    def _learn(self, node: nodes.Node) -> None:
        """Remember the strings that a name may hold."""
        if isinstance(node, nodes.Assign) and isinstance(node.target, nodes.Name | nodes.NSRef):
            self._keep(node.target.name, self._folding.texts(node.node))
        elif isinstance(node, nodes.Assign) and isinstance(node.target, nodes.Tuple):
            if isinstance(node.node, nodes.Tuple | nodes.List):
                for target, value in zip(node.target.items, node.node.items, strict=False):
                    if isinstance(target, nodes.Name):
                        self._keep(target.name, self._folding.texts(value))
        elif isinstance(node, nodes.With):
            for target, value in zip(node.targets, node.values, strict=False):
                if isinstance(target, nodes.Name):
                    self._keep(target.name, self._folding.texts(value))
        elif isinstance(node, nodes.For) and isinstance(node.target, nodes.Name):
            if isinstance(node.iter, nodes.List | nodes.Tuple):
                for item in node.iter.items:
                    self._keep(node.target.name, self._folding.texts(item))
        elif isinstance(node, nodes.AssignBlock) and isinstance(node.target, nodes.Name):
            parts = [
                self._folding.texts(output)
                for statement in node.body
                if isinstance(statement, nodes.Output)
                for output in statement.nodes
            ]
            if parts and all(parts):
                self._keep(node.target.name, ["".join(part[0] for part in parts)[:MAX_FOLDED]])
        elif isinstance(node, nodes.Macro):
            for name, default in zip(reversed(node.args), reversed(node.defaults), strict=False):
                self._keep(name.name, self._folding.texts(default))
        elif isinstance(node, nodes.Keyword):
            self._keep(node.key, self._folding.texts(node.value))

    def _keep(self, name: str, values: list[str]) -> None:
        known = self._values.setdefault(name, [])
        for value in values:
            if value in known:
                continue
            if len(known) < MAX_VALUES:
                known.append(value)
            else:
                self._folding.cut = True

    def _judge(self, node: nodes.Node, macros: set[str]) -> None:
        if isinstance(node, nodes.Getattr | nodes.Getitem):
            self._attribute(node)
        elif isinstance(node, nodes.Filter | nodes.Test):
            self._filter(node)
        elif isinstance(node, nodes.Call):
            self._call(node, macros)
        elif isinstance(node, nodes.Import | nodes.FromImport | nodes.Include | nodes.Extends):
            self._escape("includes another template", node)
        elif isinstance(node, nodes.TemplateData):
            if _MARKUP.search(node.data):
                self._add("TW-MODEL-TEMPLATE-MARKUP", "writes script markup", node.lineno or 0)
        elif isinstance(
            node, nodes.ExtensionAttribute | nodes.ImportedName | nodes.ContextReference
        ):
            self._escape("reaches into its environment", node)
        elif isinstance(node, nodes.Keyword) and _DUNDER.search(node.key):
            self._escape(f"names a key {node.key[:60]!r}", node)
        if isinstance(node, nodes.Expr):
            self._strings(node)

    def _strings(self, node: nodes.Expr) -> None:
        for value in self._folding.texts(node):
            if _DANGEROUS_DUNDER.search(value) and "\n" not in value.strip():
                self._escape(f"assembles the name {value[:60]!r}", node)
            elif isinstance(node, nodes.TemplateData):  # printed, and never handed to a function
                if _MARKUP.search(value):
                    self._add("TW-MODEL-TEMPLATE-MARKUP", "writes script markup", node.lineno or 0)
            elif len(value) <= MAX_COMMAND and _SHELL.search(value):
                self._escape(f"holds a command: {value[:60]!r}", node)
            elif _MARKUP.search(value):
                self._add("TW-MODEL-TEMPLATE-MARKUP", "writes script markup", node.lineno or 0)

    def _attribute(self, node: nodes.Getattr | nodes.Getitem) -> None:
        if isinstance(node, nodes.Getattr):
            names = [node.attr]
        else:
            names = self._folding.texts(node.arg)
            if (not names or self._folding.cut) and is_built(node.arg):
                self._add(
                    "TW-MODEL-TEMPLATE-BUILT-NAME",
                    "looks up a name that it assembles from parts",
                    node.lineno or 0,
                )
        for name in names:
            if _DUNDER.search(name) or name in _DANGEROUS_NAMES:
                self._escape(f"reads the attribute {name[:60]!r}", node)
        owner = node.node
        if (
            isinstance(owner, nodes.Name)
            and set(names) & _FRAMEWORK.get(owner.name, frozenset())
            and not self._is_assigned(owner.name)
        ):
            self._escape(f"reads {names[0][:60]!r} of the server's {owner.name!r}", node)
        if (
            isinstance(owner, nodes.Name)
            and owner.name in _ESCAPE_GLOBALS
            and owner.name not in self._values
            and not self._is_assigned(owner.name)
        ):
            self._escape(f"reads an attribute of the global {owner.name!r}", node)

    def _is_assigned(self, name: str) -> bool:
        return name in self._assigned

    def _filter(self, node: nodes.Filter | nodes.Test) -> None:
        arguments = [*node.args, *(keyword.value for keyword in node.kwargs)]
        names = [value for argument in arguments for value in self._folding.texts(argument)]
        if isinstance(node, nodes.Filter) and node.name == "attr":
            shown = f" {names[0][:60]!r}" if names else ""
            self._escape(f"reads an attribute{shown} with the attr filter", node)
        if node.name in _ATTRIBUTE_FILTERS:
            for name in names:
                parts = name.split(".")
                if any(_DUNDER.search(part) or part in _DANGEROUS_NAMES for part in parts):
                    self._escape(f"reads the attribute {name[:60]!r} with {node.name}", node)
            if names and names[0] in ("attr", "pprint") and node.name == "map":
                self._escape("reads attributes with map('attr')", node)
            for argument in arguments:
                if is_built(argument) and not self._folding.texts(argument):
                    self._add(
                        "TW-MODEL-TEMPLATE-BUILT-NAME",
                        f"gives {node.name} a name that it assembles from parts",
                        node.lineno or 0,
                    )

    def _call(self, node: nodes.Call, macros: set[str]) -> None:
        target = node.node
        if isinstance(target, nodes.Name):
            if target.name in _DANGEROUS_CALLS and target.name not in macros:
                self._escape(f"calls {target.name}", node)
        elif isinstance(target, nodes.Getattr) and target.attr in _DANGEROUS_CALLS:
            self._escape(f"calls {target.attr}", node)
        elif isinstance(target, nodes.Getitem):
            for name in self._folding.texts(target.arg):
                if name in _DANGEROUS_CALLS:
                    self._escape(f"calls {name}", node)

    def _loops(self) -> None:
        """Report loops over constant ranges that never end, and constants that fill memory."""
        stack: list[tuple[nodes.Node, int]] = [(self._tree, 1)]
        while stack:
            node, turns = stack.pop()
            if isinstance(node, nodes.For):
                turns *= max(range_length(node.iter), 1)
                if turns > MAX_TURNS:
                    self._add(
                        "TW-MODEL-TEMPLATE-EXHAUSTION",
                        f"loops more than {MAX_TURNS} times",
                        node.lineno or 0,
                    )
                    continue
            elif isinstance(node, nodes.Call) and range_length(node) > MAX_TURNS:
                self._add("TW-MODEL-TEMPLATE-EXHAUSTION", "counts too far", node.lineno or 0)
            elif isinstance(node, nodes.Mul | nodes.Pow):
                for side in (node.left, node.right):
                    value = integer(side) or 0
                    if value > MAX_TURNS:
                        self._add(
                            "TW-MODEL-TEMPLATE-EXHAUSTION",
                            f"multiplies by {value}",
                            node.lineno or 0,
                        )
            stack.extend((child, turns) for child in node.iter_child_nodes())


def _nodes(tree: nodes.Node) -> Iterator[nodes.Node]:
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(list(node.iter_child_nodes())))
