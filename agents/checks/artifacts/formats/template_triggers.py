"""Finds instructions that a chat template gives the model only for certain texts or dates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Flag, auto
from typing import Final

from jinja2 import nodes

_TOKEN: Final = re.compile(r"[<>\[\]|/#{}\\]|^\W*$|_")
"""Constants that are marks of a template's own, not words of a user."""
_SENTENCE: Final = re.compile(r"[A-Za-z]{2,}([\s,]+[A-Za-z']{1,}){3}")
_ORDER: Final = re.compile(
    r"(?i)https?://|\b(ignore|disregard|forget) (all|any|the|your|previous|prior)|\bsecretly\b"
    r"|\b(do not|don't|never) (tell|mention|reveal|disclose|warn)"
    r"|\b(recommend|insert|include|append|add|embed|output|write|say|reply|respond|answer|use"
    r"|send|always)\b"
)
_TEXTS: Final = frozenset(("content", "text", "messages", "message", "user_message", "query"))
_KINDS: Final = frozenset(("string", "image", "video", "audio", "none"))
_DATES: Final = frozenset(("strftime_now", "date_string", "now", "today"))


def triggered(tree: nodes.Template) -> Iterator[tuple[str, bool, int]]:
    """Yield what the model is told under a condition on a user's words or the date.

    Yields:
        The text, whether it gives orders, and the line of the condition.
    """
    every = list(_within(tree))
    asked = _asked(every)
    for test in every:
        if not isinstance(test, nodes.If) or not _on_words(test.test, asked):
            continue
        told = " ".join(_told(test.body)).strip()
        if _SENTENCE.search(told):
            yield told, bool(_ORDER.search(told)), test.lineno
    for choice in every:
        if isinstance(choice, nodes.CondExpr) and _on_words(choice.test, asked):
            told = (
                " ".join(
                    one.value
                    for one in _within(choice.expr1)
                    if isinstance(one, nodes.Const) and isinstance(one.value, str)
                )
                if not isinstance(choice.expr1, nodes.Const)
                else str(choice.expr1.value)
            )
            if _SENTENCE.search(told):
                yield told, bool(_ORDER.search(told)), choice.lineno


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
    CONSTANT = auto()
    WORD = auto()


_NOTHING: Final = _Asks(0)


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
        searches = any(operand.op in ("in", "eq") for operand in node.ops)
        return _Asks.COMPARES | (_Asks.SEARCHES if searches else _NOTHING)
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


def _on_words(test: nodes.Node, asked: dict[int, _Asks]) -> bool:
    """Return whether a condition asks for words in what a user says, or for the date."""
    found = asked[id(test)]
    compares = found & _Asks.COMPARES
    if isinstance(test, nodes.Call):
        # What it calls and is given may compare; that it calls does not.
        compares = _Asks(0)
        for inner in test.iter_child_nodes():
            compares |= asked[id(inner)] & _Asks.COMPARES
    if found & _Asks.DATE and compares and found & _Asks.CONSTANT:
        return True
    wanted = _Asks.USER | _Asks.CONTENT | _Asks.SEARCHES | _Asks.WORD
    return found & wanted == wanted and not found & _Asks.ROLE


def _told(body: list[nodes.Node]) -> Iterator[str]:
    for node in body:
        for inner in (node, *_within(node)):
            if isinstance(inner, nodes.TemplateData):
                yield inner.data
            elif isinstance(inner, nodes.Const) and isinstance(inner.value, str):
                yield inner.value
