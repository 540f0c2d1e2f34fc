"""The start of a run of zeros is found exactly, with few reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.checks.artifacts.readers.torn_tails import LAST, run_begins
from agents.checks.artifacts.scanning import BytesSource
from tests.corpus import torn
from tests.corpus.table import verdict


@given(st.binary(min_size=1, max_size=2000), st.integers(0, 5000), st.sampled_from([0, 255]))
def test_a_run_begins_where_the_data_ends(data, length, fill):
    data = data.replace(bytes([fill]), b"\x01")
    raw = data + bytes([fill]) * length
    assert run_begins(BytesSource(raw), 0, len(raw)) == (len(data) if length >= LAST else len(raw))


class _Counted:
    """A file of ones, then zeros; it counts what is read of it."""

    def __init__(self, ones, size):
        self.ones, self.size, self.count = ones, size, 0

    def read(self, offset, length):
        length = max(min(length, self.size - offset), 0)
        self.count += length
        ones = max(min(self.ones - offset, length), 0)
        return b"\x01" * ones + bytes(length - ones)


def test_the_begin_of_a_run_of_gigabytes_takes_some_samples():
    source = _Counted((3 << 30) + 12345, 9 << 30)
    assert run_begins(source, 0, source.size) == source.ones
    assert source.count < 1 << 16


def test_every_torn_file_is_corrupt_and_no_whole_one():
    for name, content in torn.damaged():
        assert verdict(f"torn/{name}", content)[0] == "corrupt", name
    for name, content in torn.harmless():
        # text under a name of weights is whole, and is of no format that its name promises
        expected = "unsupported" if name == "words/vocab.bin" else "clean"
        assert verdict(f"torn/{name}", content)[0] == expected, name
