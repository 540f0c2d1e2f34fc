"""Commands set up logging of their own; each test leaves it as it was."""

from __future__ import annotations

import pytest
import structlog


@pytest.fixture(autouse=True)
def logging_as_before():
    yield
    structlog.reset_defaults()
