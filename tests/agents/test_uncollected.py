"""The collector is left as it was, however the block ends."""

from __future__ import annotations

import gc

import pytest

from agents.uncollected import uncollected


@pytest.mark.parametrize("collects", [True, False])
def test_the_collector_is_left_as_it_was(collects: bool) -> None:
    (gc.enable if collects else gc.disable)()
    try:
        with pytest.raises(ImportError), uncollected():
            raise ImportError
        assert gc.isenabled() is collects
    finally:
        gc.enable()
