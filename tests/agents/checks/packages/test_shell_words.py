"""Command lines are split as `shlex` splits them."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.checks.packages.shell_words import PUNCTUATION, shell_words

TEXTS = st.text(alphabet="ab \t\n\r\"'\\();|&#$é\x0b", max_size=24)


def of_shlex(text: str, punctuation: str) -> list[str] | None:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=punctuation)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:
        return None


def words_of(text: str, *, commands: bool) -> list[str] | None:
    try:
        return list(shell_words(text, commands=commands))
    except ValueError:
        return None


@given(TEXTS)
def test_words_are_those_of_shlex(text: str) -> None:
    assert words_of(text, commands=False) == of_shlex(text, "")
    assert words_of(text, commands=True) == of_shlex(text, PUNCTUATION)


@pytest.mark.timeout(60)
def test_long_words_are_read_at_all() -> None:
    """`shlex` takes minutes for them."""
    assert len(list(shell_words("{" * 3_000_000))) == 1
    assert len(list(shell_words("a''\\b" * 300_000, commands=True))) == 1
