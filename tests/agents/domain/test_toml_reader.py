"""TOML that others wrote is read in time in proportion to its length."""

from __future__ import annotations

import tomllib

import pytest

from agents.domain.toml_reader import MAX_KEY_PARTS, read_toml
from tests.each import each

MANY = 30_000


@pytest.mark.timeout(60)
@each(
    "text",
    [
        "a." * MANY + "a=1",
        "[" + "a." * MANY + "a]",
        "[[" + "a . " * MANY + "a]]",
        "x={" + "a." * MANY + "a=1}",
        '"b"."c\\"d".' + "'e f'. " * MANY + "a=1",
        "x = 'y'\n" * 100 + "  " + "a." * MANY + "a=1",
    ],
)
def test_key_of_very_many_parts_is_refused(text: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError, match="parts"):
        read_toml(text)


@each(
    "text",
    [
        "a." * (MAX_KEY_PARTS - 1) + "a=1",
        "a." * 30 + "b=1\n[" + "c." * 30 + "d]\n",
        "x = '''\n" + "wait ... " * 1_000 + "'''",
        "x = [" + "1.5, " * 1_000 + "]",
    ],
)
def test_other_documents_are_read_as_they_are(text: str) -> None:
    assert read_toml(text) == tomllib.loads(text)


@pytest.mark.timeout(60)
@each(
    "part",
    ["a", "a ", "a.", "a. ", '"', '\\"', "'", "\"'", '"a', ".", "-", " ", "\n", '"a".', "a.a\n"],
)
def test_looking_for_such_keys_takes_a_pass(part: str) -> None:
    text = "#" + part * (1_000_000 // len(part))
    with pytest.raises(tomllib.TOMLDecodeError):
        read_toml(text + "\n=")
