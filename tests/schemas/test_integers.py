"""What others chose can be written by every writer."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.integers import within_64_bits
from tests.depth import examples

VALUES = st.recursive(
    st.none() | st.integers() | st.integers(2**63, 2**200) | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@settings(max_examples=examples(40))
@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_any_integer_is_made_writable_and_others_are_unchanged(values):
    carried = within_64_bits(values)
    msgspec.msgpack.encode(carried)
    assert carried.keys() == values.keys()
    try:
        msgspec.msgpack.encode(values)
    except OverflowError:
        return
    assert carried is values


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**400])
def test_an_integer_that_is_too_great_is_described_by_its_size(number):
    carried = within_64_bits({"a": [{"b": number}], "c": 2**64 - 1})
    assert carried == {"a": [{"b": f"an integer of {number.bit_length()} bits"}], "c": 2**64 - 1}
