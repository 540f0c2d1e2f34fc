"""Parses Python source into its tree, within what the interpreter parses in linear time."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Final

from agents.domain.late_pattern import late_pattern

MAX_SOURCE: Final = 4 << 20
"""Characters of one source file that are parsed."""
MAX_FORMATTED: Final = 1 << 28
"""Characters that Python 3.11 goes over for a module's formatted texts: it searches the whole text
for the place of each expression within (`fstring_find_expr_location`), so their product."""
_LITERAL: Final = late_pattern(
    r"""\#[^\n]*+
    | (?P<prefix> [A-Za-z]{0,2} ) (?:
        \"{3} (?: [^"\\] | \\. | "(?!"") )*+ (?: \"{3} | \Z )
      | '{3} (?: [^'\\] | \\. | '(?!'') )*+ (?: '{3} | \Z )
      | " (?: [^"\\\n] | \\. )*+ "?
      | ' (?: [^'\\\n] | \\. )*+ '?
    )""",
    re.VERBOSE | re.DOTALL,
)


def parse_source(text: str) -> ast.Module:
    """Return the tree of a module.

    Args:
        text: Python source.

    Raises:
        SyntaxError: not Python 3, or more than is parsed.
        ValueError: it holds NUL bytes.
        RecursionError, MemoryError: nested too deeply for the compiler.
    """
    if len(text) > MAX_SOURCE:
        raise SyntaxError(f"longer than {MAX_SOURCE} characters")
    if _formatted(text) > MAX_FORMATTED:
        raise SyntaxError("too many expressions in formatted strings")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in the judged source, not in our code
        return ast.parse(text)


def _formatted(text: str) -> int:
    """Return the cost of a module's formatted texts: expressions times characters of each."""
    if text.count("{") * len(text) <= MAX_FORMATTED:
        return 0  # even if all of it were formatted
    cost = 0
    for literal in _LITERAL.finditer(text):
        if "f" in (literal["prefix"] or "").lower():
            cost += literal.group().count("{") * len(literal.group())
    return cost
