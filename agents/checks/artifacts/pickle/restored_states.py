"""Explains why a state runs code: some classes evaluate text when they are restored.

SciPy's distributions run the text of their argument parsers, statsmodels evaluates a model's
formula on the model's data, and PyTorch Geometric renders the signatures of a layer into a module
that it imports. All these texts come from the pickle.

Sources: SciPy `stats/_distn_infrastructure.py`, `rv_generic.__setstate__`; statsmodels
`base/data.py`, `ModelData.__setstate__`; formulaic and patsy, which evaluate formulas; PyTorch
Geometric `nn/conv/message_passing.py`, `_set_jittable_templates`, and its `inspector.py`.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from typing import Any, Final

from agents.checks.artifacts.pickle.globals import CODE, RUNNER, binding_fault
from agents.checks.artifacts.pickle.symbols import Global, Mapping, Result
from agents.domain.late_pattern import late_pattern

_TEMPLATE: Final = "_parse_arg_template"
_RESTORE: Final = frozenset(("restore_model_spec", "restore_design_info"))
_FORMULA: Final = "formula"
_DISTRIBUTION: Final = late_pattern(r"\w+_gen|rv_\w+(?<!frozen)")
_NAMES: Final = r"[A-Za-z_]\w*(?:, ?[A-Za-z_]\w*)*,?"
_PARSER: Final = late_pattern(
    rf"\ndef _parse_args\(self,? *(?:{_NAMES})? *(?:loc=0)?(?:, *scale=1)?,?\):\n"
    rf"    return \((?:{_NAMES})? *\), *(?:loc|0), *(?:scale|1)\n"
    rf"\ndef _parse_args_rvs\(self,? *(?:{_NAMES})? *(?:loc=0)?(?:, *scale=1)?, *size=None\):\n"
    rf"    return self\._argcheck_rvs\((?:{_NAMES})? *(?:loc|0), *(?:scale|1), *size=size\)\n"
    rf"\ndef _parse_args_stats\(self,? *(?:{_NAMES})? *(?:loc=0)?(?:, *scale=1)?,"
    rf" *moments='mvs?k?'\):\n"
    rf"    return \((?:{_NAMES})? *\), *(?:loc|0), *(?:scale|1), moments\n"
)
"""SciPy's own texts: three functions that pass on their arguments."""
_OPERATORS: Final = late_pattern(r"[~|:]|%in%")
"""Operators of formulas that Python's expressions lack."""
_BUILTINS: Final = frozenset(vars(builtins)) - {
    "abs", "bool", "float", "int", "len", "list", "max", "min", "pow", "range", "round", "sorted",
    "str", "sum", "tuple",
}  # fmt: skip
"""Functions that transformations of columns never need; columns may have the same names."""
_EVALUATING: Final = frozenset(("eval", "exec", "compile", "getattr", "breakpoint"))
_MOST: Final = 2000
_TYPE: Final = late_pattern(r"[\w\[\], .|]*")
"""Matches a name or a type annotation."""
_TYPES_SAID: Final = late_pattern(r"#\s*(?:propagate|edge_updater)_type\s*:")
_TYPES_GIVEN: Final = late_pattern(r"\s*\([\w\s\[\],.:|#]*\)")
_PASSES_ON: Final = late_pattern(r"\bself\s*\.\s*(?:propagate|edge_updater)\s*\(")
_KEYWORD: Final = late_pattern(r"\s*(?:\w+\s*(?:=.*)?|\*\*?\w+)\s*", re.DOTALL)


def state_fault(callee: Global, state: object) -> str:
    """Return why a state runs code when an instance takes it, or an empty string.

    Args:
        callee: The class of the instance.
        state: As on the stack.
    """
    if callee.module.startswith("scipy.stats") and _DISTRIBUTION.fullmatch(callee.name):
        return _template_fault(state)
    if callee.module == "statsmodels.base.data":
        return _formula_fault(state)
    if callee.module.startswith("torch_geometric."):
        return _rendered_fault(state)
    return ""


def _rendered_fault(state: object) -> str:
    """Return a text that a PyTorch Geometric layer renders, and that is no name and no type."""
    inspector = dict(_hashable(state)).get("inspector") if isinstance(state, Mapping) else None
    if inspector is None:
        return ""
    held = inspector.state if isinstance(inspector, Result) else None
    if not isinstance(held, Mapping):
        return "it restores content that can't be read here"
    for key, value in _items(held):
        for text in _texts(value):
            odd = _odd_source(text) if key == "_source_dict" else not _TYPE.fullmatch(text)
            if odd:
                return f"it renders {text[:120]!r} as code"
    return ""


def _hashable(state: Mapping) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in _items(state) if isinstance(key, str)]


def _texts(value: object) -> Iterator[str]:
    """Yield every text within a value."""
    waiting = [value]
    seen: set[int] = set()
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, str):
            yield inner
        elif id(inner) in seen:
            continue
        elif isinstance(inner, Result):
            waiting += [inner.args, inner.state]
        elif isinstance(inner, list | tuple):
            waiting += inner
        seen.add(id(inner))


def _odd_source(text: str) -> bool:
    """Return whether a class's source has a signature with more than names and types."""
    if any(not _TYPES_GIVEN.match(text, match.end()) for match in _TYPES_SAID.finditer(text)):
        return True
    return any(
        not _KEYWORD.fullmatch(part)
        for match in _PASSES_ON.finditer(text)
        for part in _arguments(text, match.end())[1:]
    )


def _arguments(text: str, begin: int) -> list[str]:
    """Return the arguments of a call, from its opening parenthesis on."""
    parts, depth, at = [""], 1, begin
    while depth and at < min(len(text), begin + _MOST):
        character = text[at]
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 1:
            parts.append("")
        elif depth:
            parts[-1] += character
        at += 1
    return [part for part in parts if part.strip()]


def _template_fault(state: object) -> str:
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], Result | None):  # noqa: PLR2004 -- of SciPy before 1.6: arguments, random numbers
        state = state[0]
    elif not isinstance(state, Mapping):
        return "it restores content that can't be read here"
    if not isinstance(state, Mapping):
        return "it restores content that can't be read here"
    for key, value in _items(state):
        if not isinstance(key, str):
            return "it restores content that can't be read here"
        if key == _TEMPLATE and not (isinstance(value, str) and _PARSER.fullmatch(value)):
            return f"it runs {str(value)[:120]!r}"
    return ""


def _formula_fault(state: object) -> str:
    if not isinstance(state, Mapping):
        return "it restores content that can't be read here"
    items = list(_items(state))
    if not all(isinstance(key, str) for key, _ in items):
        return "it restores content that can't be read here"
    if not any(key in _RESTORE for key, _ in items):
        return ""
    for key, value in items:
        if key == _FORMULA and (why := formula_fault(value)):
            return why
    return ""


def _items(state: Mapping) -> list[tuple[Any, Any]]:
    return list(zip(state[::2], state[1::2], strict=False))


def formula_fault(formula: object) -> str:
    """Return the part of a formula that is more than columns and their transformations.

    Args:
        formula: As patsy and formulaic read it: terms are Python's expressions, joined by `~`, `+`,
            `:`, `*` and `|`.
    """
    if not isinstance(formula, str):
        return "it evaluates content that can't be read here"
    shown = f"it evaluates {formula[:120]!r}"
    if len(formula) > _MOST * 10 or CODE.search(formula):
        return shown
    quoted = re.sub(r"`[^`]*`", "x", formula)
    try:
        tree = ast.parse(_OPERATORS.sub("+", quoted).strip("+ "), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return shown
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if binding_fault(node.attr, known=False):
                return shown
        elif isinstance(node, ast.Name):
            if node.id.startswith("__") or node.id in _EVALUATING:
                return shown
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            if name in _BUILTINS or RUNNER.search(name):
                return shown
            if not isinstance(node.func, ast.Name | ast.Attribute):
                return shown
        elif isinstance(node, ast.Lambda | ast.comprehension | ast.NamedExpr | ast.JoinedStr):
            return shown
    return ""
