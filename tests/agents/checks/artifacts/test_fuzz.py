"""A short run of the fuzzer, from a fixed seed."""

from __future__ import annotations

import pytest

from tests.fuzz.artifacts import fuzz


@pytest.mark.slow
def test_no_mutant_of_the_corpus_makes_a_parser_fail():
    assert fuzz(4.0, 7) > 50
