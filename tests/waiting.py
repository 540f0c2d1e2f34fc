"""Waits for what another process does: for a condition, up to a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

DEADLINE = 120.0
LEAST = 0.05
"""Seconds between two questions."""

Got = TypeVar("Got")


def wait_for(
    condition: Callable[[], Got], what: str | Callable[[], str], seconds: float = DEADLINE
) -> Got:
    """Return the first true result of a condition, or fail the test.

    What takes long to ask is asked less often: it would hold up what is waited for.

    Args:
        condition: What is waited for.
        what: The same in words, or what makes them: "partitions were assigned".
        seconds: How long.
    """
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if got := condition():
            return got
        if time.monotonic() > deadline:
            said = what if isinstance(what, str) else what()
            pytest.fail(f"in {seconds:.0f} s it did not happen that {said}")
        time.sleep(max(LEAST, 2 * (time.monotonic() - began)))
