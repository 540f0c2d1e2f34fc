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
        for met, body in ((True, test.body), (False, test.else_)):
            told = " ".join(_told(body)).strip() if _on_words(test.test, met=met) else ""
            if _SENTENCE.search(told):
                yield told, bool(_ORDER.search(told)), test.lineno
    for choice in tree.find_all(nodes.CondExpr):
        for met, chosen in ((True, choice.expr1), (False, choice.expr2)):
            if chosen is None or not _on_words(choice.test, met=met):
                continue
            told = (
                " ".join(
                    one.value for one in chosen.find_all(nodes.Const) if isinstance(one.value, str)
                )
                if not isinstance(chosen, nodes.Const)
                else str(chosen.value)
            )
            if _SENTENCE.search(told):
                yield told, bool(_ORDER.search(told)), choice.lineno


def _on_words(test: nodes.Node, *, met: bool) -> bool:
    """Return whether a condition asks for words in what a user says, or for the date.

    Args:
        test: The condition.
        met: Whether the words are there when it is met; else when it is not.
    """
    if isinstance(test, nodes.And | nodes.Or):  # each by itself: another may ask for the role
        return _on_words(test.left, met=met) or _on_words(test.right, met=met)
    if isinstance(test, nodes.Not):
        return _on_words(test.node, met=not met)
    names = {one.name for one in test.find_all(nodes.Name)}
    names |= {one.attr for one in test.find_all(nodes.Getattr)}
    if isinstance(test, nodes.Name):
        names.add(test.name)
    if isinstance(test, nodes.Getattr):
        names.add(test.attr)
    constants = {
        one.value
        for one in test.find_all(nodes.Const)
        if isinstance(one.value, str) and one.value not in ("content", "role", "text", "type")
    }
    keys = {one.value for one in test.find_all(nodes.Const) if isinstance(one.value, str)}
    compares = isinstance(test, nodes.Compare) or any(test.find_all((nodes.Compare, nodes.Call)))
    if names & _DATES and compares and constants:
        return met
    asks = bool((names | keys) & _TEXTS) and not keys & {"role"} and "role" not in names
    words = {one for one in constants if not _TOKEN.search(one) and len(one) > 2}  # noqa: PLR2004 -- a word
    searches = any(
        operand.op in (("in", "eq") if met else ("notin", "ne"))
        for compare in ([test] if isinstance(test, nodes.Compare) else test.find_all(nodes.Compare))
        for operand in compare.ops
    ) or any(
        met
        and isinstance(call.node, nodes.Getattr)
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
