"""The metadata of scripts is read as PEP 723 says, in one pass."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.adapters.manifests.python_script import blocks_of

PATTERN = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
"""The pattern of PEP 723."""
LINES = st.lists(
    st.sampled_from(
        ["# /// script", "# /// a-1", "# ///", "#", "# x", "#x", "x", "", " # ///", "# /// a b"]
    ),
    max_size=14,
)


@given(LINES)
def test_blocks_are_those_of_the_standard(lines: list[str]) -> None:
    text = "\n".join(lines)
    expected = [(block["type"], block["content"]) for block in PATTERN.finditer(text)]
    assert list(blocks_of(text)) == expected


@pytest.mark.timeout(60)
def test_many_openings_are_read_at_all() -> None:
    """The pattern takes a minute for a tenth of it."""
    assert list(blocks_of("# /// script\n" * 300_000)) == []
    (block,) = blocks_of("# /// script\n" * 300_000 + "# ///")
    assert block[1].count("\n") == 299_999
