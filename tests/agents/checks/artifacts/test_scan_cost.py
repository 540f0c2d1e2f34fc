"""The cost of a scan grows no faster than the file, whatever is in it."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.python.syntax import MAX_FORMATTED, parse_source
from agents.checks.artifacts.scanning import Budget, BytesSource
from tests.fuzz.costly import INPUTS
from tests.fuzz.scaling import growth

SMALL = 4_000
STEPS = 1 << 40
SPARE = 4_000
"""Calls that a scan may make whatever the size: first windows, what is imported on first use."""
GROWTH = 2.3
"""Of a doubling; what is quadratic makes it four."""


class _Metered:
    """Bytes in memory that count how many of them are read."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.size = len(raw)
        self.read_bytes = 0

    def read(self, offset: int, length: int) -> bytes:
        part = self._raw[offset : offset + length]
        self.read_bytes += len(part)
        return part


def _cost(name: str, size: int) -> int:
    """Return the work of a scan: functions called, steps spent, and KiB read.

    None of it depends on the machine or on what else it does.
    """
    source, budget = _Metered(INPUTS[name](size)), Budget(1 << 30, STEPS)
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        scan_source(name, source, budget=budget, second_opinion=True)
    finally:
        sys.setprofile(None)
    return calls + STEPS - budget.steps + source.read_bytes // 1024


KNOWN_QUADRATIC = {
    "introspection.py": "the chain of attributes is walked again from each of its parts",
    "ternary.jinja": "a nested choice folds both of its sides again",
    "aliases.yaml": "what is named again by an alias is walked again",
}
"""Inputs whose cost still grows faster than they do; a bound on steps ends them, as incomplete."""


@pytest.mark.timeout(1200)  # counting calls makes deep pickles some 50 times slower
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(strict=True, reason=KNOWN_QUADRATIC[name]))
        if name in KNOWN_QUADRATIC
        else name
        for name in INPUTS
    ],
)
def test_twice_the_input_is_at_most_twice_the_work(name: str) -> None:
    scan_source(name, BytesSource(INPUTS[name](1_000)), second_opinion=True)  # imports what it uses

    small, large = _cost(name, SMALL), _cost(name, 2 * SMALL)

    assert large <= GROWTH * small + SPARE, (small, large)


def test_a_text_of_many_expressions_is_not_handed_to_the_parser() -> None:
    # Python 3.11 searches the whole text for the place of each expression: 1 MB takes minutes
    with pytest.raises(SyntaxError, match="more expressions than are read"):
        parse_source("x = f'" + "{a}" * 300_000 + "'")
    with pytest.raises(SyntaxError, match="more expressions than are read"):
        parse_source("x = rF'''" + "{a}\n" * 300_000)


@pytest.mark.parametrize(
    "text",
    [
        "x = f'{a}{b}'\n" * 50_000,
        "x = '" + "{a}" * 100_000 + "'",
        "x = f'''{a}''' \"\"\"" + "{a}" * 100_000 + '"""',
        "# don't f'" + "{a}" * 100_000 + "\nx = 'a'",
        "{\n" * 0 + "x = {" + "1:{2:3}," * 50_000 + "}",
    ],
    ids=["short texts", "no formatted text", "beside", "comment", "dictionaries"],
)
def test_what_the_parser_reads_soon_is_parsed(text: str) -> None:
    assert text.count("{") * len(text) > MAX_FORMATTED // 4
    assert parse_source(text).body


def test_growth_is_of_the_part_that_grows() -> None:
    assert growth([1.0, 2.0, 4.0]) == pytest.approx(2.0)
    assert growth([1.0, 4.0, 16.0]) == pytest.approx(4.0)
