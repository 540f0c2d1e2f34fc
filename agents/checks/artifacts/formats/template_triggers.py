"""Finds instructions that a chat template gives only for certain texts, dates or turns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Flag, auto
from itertools import pairwise
from typing import Final

from jinja2 import nodes

_TOKEN: Final = re.compile(r"[<>\[\]|/#{}\\]|^\W*$|_")
"""Constants that are the template's markers, not a user's words."""
_SENTENCE: Final = re.compile(r"[A-Za-z]{2}([\s,]+[A-Za-z']+){2}[\s,]+[A-Za-z']")
"""Four words, matched from the end of the first, so that a long word is not read again from each of
its letters.
"""
_HIDES: Final = (
    r"https?://|\b(ignore|disregard|forget) (all|any|the|your|previous|prior)|\bsecretly\b"
    r"|\b(do not|don't|never) (tell|mention|reveal|disclose|warn)"
)
_HIDDEN: Final = re.compile(f"(?i){_HIDES}")
"""Instructions that ordinary templates do not give at a certain turn, or in place of a user's
words.
"""
_ORDER: Final = re.compile(
    rf"(?i){_HIDES}"
    r"|\b(recommend|insert|include|append|add|embed|output|write|say|reply|respond|answer|use"
    r"|send|always)\b"
)
_ADDRESS: Final = re.compile(r"(?i)https?://[^\s)\"'<>]+\?[^\s)\"'<>]*(%s\S*)?\Z")
"""An address with a query that continues after the text."""
_TEXTS: Final = frozenset(("content", "text", "messages", "message", "user_message", "query"))
_KINDS: Final = frozenset(("string", "image", "video", "audio", "none"))
_SAID_LIMIT: Final = 10_000
"""Characters of the texts of a chain of conditions."""
_ROUNDS: Final = 3
"""Rounds of resolving names that are set from names; ordinary templates need no more."""
_EARLY: Final = 2
"""The last turn at which ordinary templates add text of their own."""
_COUNTS: Final = frozenset(("length", "count", "index", "index0"))
_DATES: Final = frozenset(("strftime_now", "date_string", "now", "today"))


def triggered(tree: nodes.Template) -> Iterator[tuple[str, int]]:
    """Yield instructions and addresses that a template adds unasked.

    These are instructions under a condition on a user's words or the date, and addresses that
    receive those words.

    Yields:
        What the template does, and the line.
    """
    every = list(_within(tree))
    asked, texts = _learnt(every)
    for said, line in _instructions(every, asked, texts):
        yield f"tells the model {said[:80]!r} only under a condition", line
    for node in every:
        for address, given in _completed(node):
            if asked[id(given)] & _Asks.CONTENT:
                yield f"puts the user's words into the address {address[:80]!r}", given.lineno


def _instructions(
    every: list[nodes.Node], asked: dict[int, _Asks], texts: dict[str, str]
) -> Iterator[tuple[str, int]]:
    """Yield the instructions that the model gets under a condition, and its line."""
    for test in every:
        if isinstance(test, nodes.If):
            for met, body in ((True, test.body), (False, test.else_)):
                orders = _orders(test.test, asked, met)
                said = " ".join(_said(body, texts)).strip() if orders else ""
                if orders and _SENTENCE.search(said) and orders.search(said):
                    yield said, test.lineno
        elif isinstance(test, nodes.For) and test.test is not None:
            orders = _orders(test.test, asked, True)
            said = " ".join(_said(test.body, texts)).strip() if orders else ""
            if orders and _SENTENCE.search(said) and orders.search(said):
                yield said, test.lineno
    choices = [node for node in every if isinstance(node, nodes.CondExpr)]
    chosen = _chosen(choices, texts)
    for choice in choices:
        for met, said in zip((True, False), chosen[id(choice)], strict=True):
            orders = _orders(choice.test, asked, met) if _SENTENCE.search(said) else None
            if orders and orders.search(said):
                yield said, choice.lineno
    for node in every:
        replaced = _replacement(node)
        by = " ".join(_said([replaced], texts)) if replaced is not None else ""
        if _HIDDEN.search(by):
            yield by, node.lineno


def _learnt(every: list[nodes.Node]) -> tuple[dict[int, _Asks], dict[str, str]]:
    """Return what each node tests, and the texts that names are set to."""
    assigned = [
        (node.target.name, node.node)
        for node in every
        if isinstance(node, nodes.Assign) and isinstance(node.target, nodes.Name)
    ]
    texts = {
        name: value.value
        for name, value in assigned
        if isinstance(value, nodes.Const) and isinstance(value.value, str)
    }
    of_user: set[str] = set()
    asked = _asked(every, of_user)
    for _ in range(_ROUNDS):
        names = {name for name, value in assigned if asked[id(value)] & _Asks.CONTENT}
        if names - texts.keys() <= of_user:
            break
        of_user |= names - texts.keys()
        asked = _asked(every, of_user)
    return asked, texts


def _orders(test: nodes.Node, asked: dict[int, _Asks], met: bool) -> re.Pattern[str] | None:
    """Return the instruction under a condition, None if it may be any text."""
    if _on_words(test, asked, met):
        return _ORDER
    late = _Asks.COMPARES | _Asks.TURN | _Asks.LATE
    return _HIDDEN if met and asked[id(test)] & late == late else None


def _completed(node: nodes.Node) -> Iterator[tuple[str, nodes.Node]]:
    """Yield the addresses that a text ends with, and what is written after each.

    A client that renders such a link or image sends its contents to the address.
    """
    if isinstance(node, nodes.Output | nodes.Concat):
        parts = list(node.nodes)
    elif isinstance(node, nodes.Add):
        left = node.left
        while isinstance(left, nodes.Add):
            left = left.right
        parts = [left, node.right]
    elif isinstance(node, nodes.Filter) and node.name == "format" and node.node is not None:
        parts = [node.node, *node.args]
    elif isinstance(node, nodes.Mod):
        parts = [node.left, node.right]
    else:
        return
    for before, given in pairwise(parts):
        text = getattr(before, "data", getattr(before, "value", None))
        address = _ADDRESS.search(text) if isinstance(text, str) else None
        if address:
            yield address.group(), given


def _replacement(node: nodes.Node) -> nodes.Node | None:
    """Return what words are replaced by, where a filter or a method replaces them."""
    if isinstance(node, nodes.Filter):
        replaces = node.name == "replace"
    elif isinstance(node, nodes.Call):
        replaces = isinstance(node.node, nodes.Getattr) and node.node.attr == "replace"
    else:
        return None
    return node.args[1] if replaces and len(node.args) > 1 else None


def _chosen(choices: list[nodes.CondExpr], texts: dict[str, str]) -> dict[int, tuple[str, str]]:
    """Return the texts of each conditional expression: if its condition is met, and if not.

    A chain of them (`a if x else b if y else c`) is read from its end, once.

    Args:
        choices: Conditional expressions, outer before inner.
        texts: The texts that names are set to.
    """
    found: dict[int, tuple[str, str]] = {}
    for choice in reversed(choices):
        other = choice.expr2
        if isinstance(other, nodes.CondExpr):
            otherwise = " ".join(found[id(other)])[:_SAID_LIMIT]
        else:
            otherwise = " ".join(_said([other], texts)) if other is not None else ""
        found[id(choice)] = " ".join(_said([choice.expr1], texts)), otherwise
    return found


def _within(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield the nodes within a node in pre-order, at a cost of one step each."""
    stack = list(node.iter_child_nodes())[::-1]
    while stack:
        inner = stack.pop()
        yield inner
        stack.extend(list(inner.iter_child_nodes())[::-1])


class _Asks(Flag):
    """What a condition tests; one that contains it tests the same."""

    DATE = auto()
    USER = auto()
    """By a name or key for the user's words."""
    CONTENT = auto()
    ROLE = auto()
    COMPARES = auto()
    SEARCHES = auto()
    """Whether a text occurs."""
    LACKS = auto()
    """Whether a text does not occur."""
    CONSTANT = auto()
    WORD = auto()
    TURN = auto()
    """The number of messages, or the position of one."""
    LATE = auto()
    """A number beyond the early turns."""


_NOTHING: Final = _Asks(0)
_OPERATORS: Final = {
    "in": _Asks.SEARCHES,
    "eq": _Asks.SEARCHES,
    "notin": _Asks.LACKS,
    "ne": _Asks.LACKS,
}


_TESTS: Final = {
    **dict.fromkeys(
        ("eq", "equalto", "==", "sameas", "in", "search", "match", "contains", "containing",
         "startswith", "startingwith", "endswith", "endingwith"),
        _Asks.SEARCHES,
    ),
    **dict.fromkeys(("ne", "!=", "notin"), _Asks.LACKS),
}  # fmt: skip
"""Tests that compare texts: of Jinja, and of those who extend it."""
_REJECTING: Final = frozenset(("reject", "rejectattr"))
_SELECTING: Final = _REJECTING | {"select", "selectattr"}


def _asked(every: list[nodes.Node], of_user: set[str]) -> dict[int, _Asks]:
    """Return what each node tests, including the nodes within it.

    Args:
        every: All nodes of a template, outer before inner.
        of_user: Names that stand for the user's words.
    """
    asked: dict[int, _Asks] = {}
    for node in reversed(every):
        found = _of_itself(node)
        if isinstance(node, nodes.Name) and node.name in of_user:
            found |= _Asks.USER | _Asks.CONTENT
        for inner in node.iter_child_nodes():
            found |= asked[id(inner)]
        asked[id(node)] = found
    return asked


def _of_itself(node: nodes.Node) -> _Asks:
    if isinstance(node, nodes.Name):
        return _of_name(node.name)
    if isinstance(node, nodes.Getattr):
        return _of_name(node.attr) | (_Asks.TURN if node.attr in _COUNTS else _NOTHING)
    if isinstance(node, nodes.Test):
        return _of_test(node.name)
    if isinstance(node, nodes.Filter):
        return _of_filter(node)
    if isinstance(node, nodes.Const):
        return _of_constant(node.value)
    if isinstance(node, nodes.Compare):
        found = _Asks.COMPARES
        for operand in node.ops:
            found |= _OPERATORS.get(operand.op, _NOTHING)
        return found
    if isinstance(node, nodes.Call):
        searches = isinstance(node.node, nodes.Getattr) and node.node.attr in (
            "startswith",
            "endswith",
            "find",
        )
        return _Asks.COMPARES | (_Asks.SEARCHES if searches else _NOTHING)
    return _NOTHING


def _of_test(name: str) -> _Asks:
    """Return what a named test tests, as `is eq` or as a filter's argument."""
    return _Asks.COMPARES | _TESTS[name] if name in _TESTS else _NOTHING


def _of_filter(node: nodes.Filter) -> _Asks:
    if node.name in _COUNTS:
        return _Asks.TURN
    if node.name not in _SELECTING:
        return _NOTHING
    named = (part.value for part in node.args if isinstance(part, nodes.Const))
    found = _NOTHING
    for name in named:
        found |= _of_test(name) if isinstance(name, str) else _NOTHING
    if node.name in _REJECTING:
        swapped = _Asks.LACKS if found & _Asks.SEARCHES else _NOTHING
        swapped |= _Asks.SEARCHES if found & _Asks.LACKS else _NOTHING
        found = found & _Asks.COMPARES | swapped
    return found


def _of_name(name: str) -> _Asks:
    found = _Asks.DATE if name in _DATES else _NOTHING
    if name == "query":
        found |= _Asks.CONTENT
    return found | _of_text(name)


def _of_text(text: str) -> _Asks:
    found = _Asks.USER if text in _TEXTS else _NOTHING
    if text in ("content", "text"):
        found |= _Asks.CONTENT
    return found | (_Asks.ROLE if text == "role" else _NOTHING)


def _of_constant(text: object) -> _Asks:
    if not isinstance(text, str):
        late = isinstance(text, int) and not isinstance(text, bool) and text > _EARLY
        return _Asks.LATE if late else _NOTHING
    found = _of_text(text)
    if text not in ("content", "role", "text", "type"):
        found |= _Asks.CONSTANT
        if not _TOKEN.search(text) and len(text) > 2 and text not in _KINDS:  # noqa: PLR2004 -- a word
            found |= _Asks.WORD
    return found


def _on_words(test: nodes.Node, asked: dict[int, _Asks], met: bool) -> bool:
    """Return whether a condition tests the user's words, or the date.

    Args:
        test: The condition.
        asked: What each node tests.
        met: Whether the words are there when it is met; else when it is not.
    """
    stack = [(test, met)]
    while stack:
        node, there = stack.pop()
        if isinstance(node, nodes.And | nodes.Or):  # each by itself: another may ask for the role
            stack += [(node.left, there), (node.right, there)]
        elif isinstance(node, nodes.Not):
            stack.append((node.node, not there))
        elif _asks_words(node, asked, there):
            return True
    return False


def _asks_words(test: nodes.Node, asked: dict[int, _Asks], met: bool) -> bool:
    found = asked[id(test)]
    compares = found & _Asks.COMPARES
    if isinstance(test, nodes.Call):
        # Its callee and arguments may compare; the call itself does not.
        compares = _NOTHING
        for inner in test.iter_child_nodes():
            compares |= asked[id(inner)] & _Asks.COMPARES
    if found & _Asks.DATE and compares and found & _Asks.CONSTANT:
        return met
    searches = _Asks.SEARCHES if met else _Asks.LACKS
    wanted = _Asks.USER | _Asks.CONTENT | searches | _Asks.WORD
    return found & wanted == wanted and not found & _Asks.ROLE


def _said(body: list[nodes.Node], texts: dict[str, str]) -> Iterator[str]:
    named: set[str] = set()
    for node in body:
        for inner in (node, *_within(node)):
            if isinstance(inner, nodes.TemplateData):
                yield inner.data
            elif isinstance(inner, nodes.Const) and isinstance(inner.value, str):
                yield inner.value
            elif isinstance(inner, nodes.Name) and inner.name not in named:
                named.add(inner.name)  # once: a long text may be named often
                yield texts.get(inner.name, "")
