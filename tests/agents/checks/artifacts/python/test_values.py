"""Constants of Python source are evaluated correctly, within bounds, without running it."""
# ruff: noqa: E501 -- sources stand in one piece

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.checks.artifacts.python.faults import python_faults
from agents.checks.artifacts.python.names import Names
from agents.checks.artifacts.python.tree import ModuleTree
from agents.checks.artifacts.python.values import UNKNOWN
from tests.each import each


def _worth(source: str) -> object:
    """Return what the last line of a source is worth."""
    tree = ast.parse(source)
    names = Names()
    names.learn(ModuleTree(tree))
    last = tree.body[-1]
    assert isinstance(last, ast.Expr)
    return names.values.value(last.value)


@given(st.text(max_size=30), st.integers(0, 255))
def test_shifted_and_joined_text_is_evaluated(text, key):
    codes = [ord(letter) ^ key for letter in text]
    assert _worth(f"''.join(chr(c ^ {key}) for c in {codes})") == text
    assert _worth(f"{text[::-1]!r}[::-1]") == text
    assert _worth(f"bytes.fromhex('{text.encode().hex()}').decode()") == text


@each(
    ("source", "value"),
    [
        ("def f(x):\n    r = ''\n    for c in x:\n        r += chr(ord(c) + 1)\n    return r\nf('rx')", "sy"),
        ("x = 'sys'\nx += 'tem'\nx", "system"),
        ("k = {'a': ['o', 's']}\n''.join(k['a'])", "os"),
        ("class K:\n    n = 'os'\nK.n", "os"),
        ("'%s%s' % ('o', 's')", "os"),
        ("'{b}{a}'.format(a='s', b='o')", "os"),
        ("import codecs\ncodecs.decode('bf', 'rot_13')", "os"),
        ("''.join(map(lambda c: chr(c - 1), [112, 116]))", "os"),
        ("from itertools import cycle\nbytes(a ^ b for a, b in zip(b'nr', cycle(b'\\x01')))", b"os"),
    ],
)  # fmt: skip
def test_assembled_constants_are_evaluated(source, value):
    assert _worth(source) == value


@pytest.mark.parametrize(
    "source",
    [
        "'a' * (1 << 40)",
        "1 << (1 << 40)",
        "[0] * (1 << 30)",
        "'%999999999d' % 1",
        "'{:>999999999}'.format('a')",
        "def f(x):\n    while True:\n        x = x + 'a'\nf('')",
        "def f(x):\n    return f(x + 'a')\nf('')",
        "[a + b + c for a in range(999) for b in range(999) for c in range(999)]",
        "bytes(1 << 40)",
        "('a' * 1000000).replace('a', 'b' * 1000)",
        "open('x').read()",
        "unknown + 'a'",
    ],
)
def test_unknown_or_costly_expression_has_no_value(source):
    assert _worth(source) is UNKNOWN


def test_deep_expression_terminates():
    assert python_faults("x = " + "[" * 80 + "]" * 80) == []
    assert python_faults("x = " + "+".join(["'a'"] * 900)) == []
