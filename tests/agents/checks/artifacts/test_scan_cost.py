"""The cost of a scan grows no faster than the file, for any content."""

from __future__ import annotations

import cProfile

import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.formats.registry import ALL
from agents.checks.artifacts.python.syntax import MAX_FORMATTED, parse_source
from agents.checks.artifacts.scanning import Budget, BytesSource
from tests.fuzz.costly import INPUTS
from tests.fuzz.scaling import growth

SMALLEST, AT_LEAST, LARGEST = 2_500, 5_000, 320_000
"""The sizes that are doubled; `make fuzz` goes on from there to 10 MB, by the clock."""
ENOUGH = 50_000
"""Work after which nothing larger than `AT_LEAST` is scanned: what grows too fast has shown it."""
STEPS = 1 << 40
SPARE = 20_000
"""Work that may come with a size: the first window more, a second opinion. What grows too fast is
above it long before `ENOUGH`."""
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
    profile = cProfile.Profile()
    profile.enable()
    try:
        scan_source(name, source, budget=budget, second_opinion=True)
    finally:
        profile.disable()
    calls = sum(function.callcount for function in profile.getstats())
    return calls + STEPS - budget.steps + source.read_bytes // 1024


@pytest.mark.slow
@pytest.mark.parametrize("name", INPUTS)
def test_twice_the_input_is_at_most_twice_the_work(name: str) -> None:
    scan_source(name, BytesSource(INPUTS[name](1_000)), second_opinion=True)  # imports what it uses

    size = SMALLEST
    cost = _cost(name, size)
    while size < AT_LEAST or (size < LARGEST and cost < ENOUGH):
        size, before = 2 * size, cost
        cost = _cost(name, size)
        if cost > GROWTH * before + SPARE:
            cost = _cost(name, size)  # without what the first scan loaded for good
        assert cost <= GROWTH * before + SPARE, (size, before, cost)


UNREPEATED = frozenset(
    {
        "link", "foreign", "encoded", "savedmodel-fingerprint", "signature",  # read in part, or one
        "word2vec", "checkpoint-index", "ocdbt",  # numbers, searched like any unknown file
        "document", "image", "table", "media", "font", "pdf",  # searched for files and text
        "rar", "cab", "arj", "lzh", "lzip", "compress", "ar", "cpio", "xar", "squashfs", "ace",
        "zoo",  # not unpacked
    }
)  # fmt: skip
"""Formats without a parser whose work grows with what is in the file."""


@pytest.mark.slow
def test_the_parser_of_each_format_has_a_costly_input() -> None:
    reached = {
        known
        for name, make in INPUTS.items()
        for known in scan_source(name, BytesSource(make(1_000)), second_opinion=False).formats
    }
    assert {known.name for known in ALL} - reached == UNREPEATED


@pytest.mark.slow
@pytest.mark.parametrize("name", ["call_chain.py", "argument_chain.py", "method_chain.py"])
def test_deepest_parsed_expression_is_walked_once(name: str) -> None:
    scan_source(name, BytesSource(INPUTS[name](1_000)), second_opinion=True)
    assert _cost(name, AT_LEAST) <= GROWTH * _cost(name, SMALLEST) + SPARE


def test_a_text_of_many_expressions_is_not_handed_to_the_parser() -> None:
    # Python 3.11 searches the whole text for the place of each expression: 1 MB takes minutes
    with pytest.raises(SyntaxError, match="too many expressions in formatted strings"):
        parse_source("x = f'" + "{a}" * 300_000 + "'")
    with pytest.raises(SyntaxError, match="too many expressions in formatted strings"):
        parse_source("x = rF'''" + "{a}\n" * 300_000)


@pytest.mark.slow
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
def test_cheap_text_is_parsed(text: str) -> None:
    assert text.count("{") * len(text) > MAX_FORMATTED // 4
    assert parse_source(text).body


def test_growth_is_the_ratio_of_increments() -> None:
    assert growth([1.0, 2.0, 4.0]) == pytest.approx(2.0)
    assert growth([1.0, 4.0, 16.0]) == pytest.approx(4.0)
