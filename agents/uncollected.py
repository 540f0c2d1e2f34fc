"""Suspends garbage collection while objects are created that stay or form no cycles."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no cycles within the block.

    Imported modules stay, and a syntax tree has no cycles: the collector would go over all of them
    again and again, which takes a quarter of a worker's start.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
