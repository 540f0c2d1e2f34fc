"""Finds instructions that a chat template gives the model only for certain texts or dates."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
_DATES: Final = frozenset(("strftime_now", "date_string", "now", "today"))


def triggered(tree: nodes.Template) -> Iterator[tuple[str, bool, int]]:
    """Yield what the model is told under a condition on a user's words or the date.

    Yields:
        The text, whether it gives orders, and the line of the condition.
    """
    for test in tree.find_all(nodes.If):
        if not _on_words(test.test):
            continue
        told = " ".join(_told(test.body)).strip()
        if _SENTENCE.search(told):
            yield told, bool(_ORDER.search(told)), test.lineno
    for choice in tree.find_all(nodes.CondExpr):
        if _on_words(choice.test):
            told = (
                " ".join(
                    constant.value
                    for constant in choice.expr1.find_all(nodes.Const)
                    if isinstance(constant.value, str)
                )
                if not isinstance(choice.expr1, nodes.Const)
                else str(choice.expr1.value)
            )
            if _SENTENCE.search(told):
                yield told, bool(_ORDER.search(told)), choice.lineno


def _on_words(test: nodes.Node) -> bool:
    """Return whether a condition asks for words in what a user says, or for the date."""
    names = {name.name for name in test.find_all(nodes.Name)}
    names |= {attribute.attr for attribute in test.find_all(nodes.Getattr)}
    if isinstance(test, nodes.Name):
        names.add(test.name)
    if isinstance(test, nodes.Getattr):
        names.add(test.attr)
    constants = {
        constant.value
        for constant in test.find_all(nodes.Const)
        if isinstance(constant.value, str)
        and constant.value not in ("content", "role", "text", "type")
    }
    keys = {
        constant.value for constant in test.find_all(nodes.Const) if isinstance(constant.value, str)
    }
    compares = isinstance(test, nodes.Compare) or any(test.find_all((nodes.Compare, nodes.Call)))
    if names & _DATES and compares and constants:
        return True
    asks = bool((names | keys) & _TEXTS) and not keys & {"role"} and "role" not in names
    words = {
        constant
        for constant in constants
        if not _TOKEN.search(constant) and len(constant) > 2  # noqa: PLR2004 -- a word
    }
    searches = any(
        operand.op in ("in", "eq")
        for compare in ([test] if isinstance(test, nodes.Compare) else test.find_all(nodes.Compare))
        for operand in compare.ops
    ) or any(
        isinstance(call.node, nodes.Getattr)
        and call.node.attr in ("startswith", "endswith", "find")
        for call in ([test] if isinstance(test, nodes.Call) else test.find_all(nodes.Call))
    )
    about_text = asks and ("content" in names | keys or "text" in names | keys or "query" in names)
    return about_text and searches and bool(words - {"string", "image", "video", "audio", "none"})


def _told(body: list[nodes.Node]) -> Iterator[str]:
    for node in body:
        if isinstance(node, nodes.TemplateData):
            yield node.data
        for inner in node.find_all((nodes.TemplateData, nodes.Const)):
            value = inner.data if isinstance(inner, nodes.TemplateData) else inner.value  # type: ignore[attr-defined]  # one of the two
            if isinstance(value, str):
                yield value
