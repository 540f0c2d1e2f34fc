"""The scenarios as parameters of tests; weeks of very many events are marked as slow."""

from __future__ import annotations

from typing import Final

import pytest

from tests.scenarios.expectation import SCENARIOS

WEEKS: Final = frozenset({"ordinary_week", "busy_week"})
EACH: Final = [
    pytest.param(name, marks=[pytest.mark.slow] if name in WEEKS else []) for name in SCENARIOS
]
