"""Says how many examples a property is tried on: few at every change, very many by `make fuzz`."""

from __future__ import annotations

from typing import Final

import hypothesis

USUAL: Final = 100
"""Examples of a property that says nothing, by hypothesis's own default."""


def examples(usual: int) -> int:
    """Return how many examples to try where `make test` tries so many.

    The profile that is loaded says how much more that is: that of `make fuzz` has many times
    `USUAL`.

    Args:
        usual: For a property whose examples are costly.
    """
    return max(1, usual * hypothesis.settings.default.max_examples // USUAL)
