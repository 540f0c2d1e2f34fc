"""A number and its noun agree."""

from __future__ import annotations

import pytest

from schemas.counting import counted


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1_184, "1,184 files"), (-1, "-1 files")],
)
def test_one_is_singular(number: int, text: str) -> None:
    assert counted(number, "file") == text


def test_an_irregular_plural_is_given() -> None:
    assert counted(1, "entry", "entries") == "1 entry"
    assert counted(2, "entry", "entries") == "2 entries"
