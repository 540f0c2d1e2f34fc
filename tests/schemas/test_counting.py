"""A number and its noun agree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from schemas.counting import counted


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1_184, "1,184 files"), (-1, "-1 files")],
)
def test_count_of_one_is_singular(number: int, text: str) -> None:
    assert counted(number, "file") == text


def test_an_irregular_plural_is_given() -> None:
    assert counted(1, "system or host", "systems or hosts") == "1 system or host"
    assert counted(2, "system or host", "systems or hosts") == "2 systems or hosts"


@pytest.mark.parametrize(
    ("noun", "text"), [("earlier entry", "2 earlier entries"), ("key", "2 keys")]
)
def test_a_noun_that_ends_in_y_has_its_plural(noun: str, text: str) -> None:
    assert counted(2, noun) == text


NOUNS = (
    "alerts",
    "assessments",
    "commands",
    "digests",
    "events",
    "facts",
    "files",
    "findings",
    "incidents",
    "indicators",
    "letters",
    "lines",
    "packages",
    "partitions",
    "places",
    "proposals",
    "records",
    "systems",
    "tenants",
    "topics",
    "versions",
)
_ONE = re.compile(rf" (?:{'|'.join(NOUNS)})\b")
_WORTH_PARSING = re.compile(rf"}}[\"'\sFRfr]*(?:{'|'.join(NOUNS)})\b")
"""A noun behind a value, also where two literals are joined there: parsing takes long."""
ALWAYS_SEVERAL = re.compile(
    # limits, which are constants, and what is over them; sizes below which nothing is read
    r"limit|LIMIT|MAX_|BOMB_SIZE|SHOWN|max_bytes|max_files|OVER_CORRELATING|BYTES"
    r"|length|needed|size|declared|packed|total|len\(raw\)|len\(value\)|len\(text\)|signed"
)
ROOT = Path(__file__).resolve().parents[2]


def uncounted(source: str) -> Iterator[tuple[int, str]]:
    """Yield the f-strings that put a plural behind a number which may be one."""
    for node in ast.walk(ast.parse(source)) if _WORTH_PARSING.search(source) else ():
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in pairwise(node.values):
            if not (isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant)):
                continue
            number = ast.unparse(value.value)
            if _ONE.match(str(text.value)) and not ALWAYS_SEVERAL.search(number):
                yield node.lineno, f"{{{number}}}{text.value}"


SEVERAL = {
    "{count} tenants",
    "{told} systems or components are affected",
    "{others} tenants or more",
    "{tenants} tenants or more",
    "{bucket(hosts, LISTED)} systems here have it",
}
"""What is said of several only: other words stand there for one."""


@pytest.mark.parametrize("room", ["agents", "schemas", "streams"])
def test_nouns_behind_numbers_are_counted(room: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for line, text in uncounted(path.read_text())
        if text not in SEVERAL
    ]
    assert found == []


def test_a_plural_behind_a_number_is_found() -> None:
    assert list(uncounted('f"{count} files"')) == [(1, "{count} files")]
    assert list(uncounted("(f'{count}'\n ' files')")) == [(1, "{count} files")]
    assert list(uncounted('f"{MAX_FILES} files"')) == []
