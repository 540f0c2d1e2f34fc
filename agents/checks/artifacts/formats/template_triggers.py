"""Finds instructions that a chat template gives the model only for certain texts or dates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Flag, auto
from typing import Final

from jinja2 import nodes

_TOKEN: Final = re.compile(r"[<>\[\]|/#{}\\]|^\W*$|_")
"""Constants that are marks of a template's own, not words of a user."""
_SENTENCE: Final = re.compile(r"[A-Za-z]{2}([\s,]+[A-Za-z']+){2}[\s,]+[A-Za-z']")
"""A word and three more, from the end of the first: no long word is read again from each of its
letters."""
_ORDER: Final = re.compile(
    r"(?i)https?://|\b(ignore|disregard|forget) (all|any|the|your|previous|prior)|\bsecretly\b"
    r"|\b(do not|don't|never) (tell|mention|reveal|disclose|warn)"
    r"|\b(recommend|insert|include|append|add|embed|output|write|say|reply|respond|answer|use"
    r"|send|always)\b"
)
_TEXTS: Final = frozenset(("content", "text", "messages", "message", "user_message", "query"))
_KINDS: Final = frozenset(("string", "image", "video", "audio", "none"))
_SAID_LIMIT: Final = 10_000
"""Characters of what a chain of conditions says."""
_DATES: Final = frozenset(("strftime_now", "date_string", "now", "today"))


def triggered(tree: nodes.Template) -> Iterator[tuple[str, bool, int]]:
    """Yield what the model is told under a condition on a user's words or the date.

    Yields:
        The text, whether it gives orders, and the line of the condition.
    """
    every = list(_within(tree))
    asked = _asked(every)
    for test in every:
        if isinstance(test, nodes.If):
            for met, body in ((True, test.body), (False, test.else_)):
                said = " ".join(_said(body)).strip() if _on_words(test.test, asked, met) else ""
                if _SENTENCE.search(said):
                    yield said, bool(_ORDER.search(said)), test.lineno
    choices = [node for node in every if isinstance(node, nodes.CondExpr)]
    chosen = _chosen(choices)
    for choice in choices:
        for met, said in zip((True, False), chosen[id(choice)], strict=True):
            if _SENTENCE.search(said) and _on_words(choice.test, asked, met):
                yield said, bool(_ORDER.search(said)), choice.lineno


def _chosen(choices: list[nodes.CondExpr]) -> dict[int, tuple[str, str]]:
    """Return what each conditional expression says if its condition is met, and if not.

    A chain of them (`a if x else b if y else c`) is read from its end, once.

    Args:
        choices: Each before those within it.
    """
    found: dict[int, tuple[str, str]] = {}
    for choice in reversed(choices):
        other = choice.expr2
        if isinstance(other, nodes.CondExpr):
            otherwise = " ".join(found[id(other)])[:_SAID_LIMIT]
        else:
            otherwise = " ".join(_said([other])) if other is not None else ""
        found[id(choice)] = " ".join(_said([choice.expr1])), otherwise
    return found


def _within(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield what is within a node, each before what is within it, at a cost of one step each."""
    stack = list(node.iter_child_nodes())[::-1]
    while stack:
        inner = stack.pop()
        yield inner
        stack.extend(list(inner.iter_child_nodes())[::-1])


class _Asks(Flag):
    """What a condition asks for, of which a condition around it asks as well."""

    DATE = auto()
    USER = auto()
    """By a name or key of what a user says."""
    CONTENT = auto()
    ROLE = auto()
    COMPARES = auto()
    SEARCHES = auto()
    """For a text that is there."""
    LACKS = auto()
    """For one that is not."""
    CONSTANT = auto()
    WORD = auto()


_NOTHING: Final = _Asks(0)
_OPERATORS: Final = {
    "in": _Asks.SEARCHES,
    "eq": _Asks.SEARCHES,
    "notin": _Asks.LACKS,
    "ne": _Asks.LACKS,
}


def _asked(every: list[nodes.Node]) -> dict[int, _Asks]:
    """Return what each node asks for, itself and all within it.

    Args:
        every: All nodes of a template, each before what is within it.
    """
    asked: dict[int, _Asks] = {}
    for node in reversed(every):
        found = _of_itself(node)
        for inner in node.iter_child_nodes():
            found |= asked[id(inner)]
        asked[id(node)] = found
    return asked


def _of_itself(node: nodes.Node) -> _Asks:
    if isinstance(node, nodes.Name):
        return _of_name(node.name)
    if isinstance(node, nodes.Getattr):
        return _of_name(node.attr)
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
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


def _of_constant(text: str) -> _Asks:
    found = _of_text(text)
    if text not in ("content", "role", "text", "type"):
        found |= _Asks.CONSTANT
        if not _TOKEN.search(text) and len(text) > 2 and text not in _KINDS:  # noqa: PLR2004 -- a word
            found |= _Asks.WORD
    return found


def _on_words(test: nodes.Node, asked: dict[int, _Asks], met: bool) -> bool:
    """Return whether a condition asks for words in what a user says, or for the date.

    Args:
        test: The condition.
        asked: What each node asks for.
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
        # What it calls and is given may compare; that it calls does not.
        compares = _NOTHING
        for inner in test.iter_child_nodes():
            compares |= asked[id(inner)] & _Asks.COMPARES
    if found & _Asks.DATE and compares and found & _Asks.CONSTANT:
        return met
    searches = _Asks.SEARCHES if met else _Asks.LACKS
    wanted = _Asks.USER | _Asks.CONTENT | searches | _Asks.WORD
    return found & wanted == wanted and not found & _Asks.ROLE


def _said(body: list[nodes.Node]) -> Iterator[str]:
    for node in body:
        for inner in (node, *_within(node)):
            if isinstance(inner, nodes.TemplateData):
                yield inner.data
            elif isinstance(inner, nodes.Const) and isinstance(inner.value, str):
                yield inner.value
