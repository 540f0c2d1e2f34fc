"""Commands set up logging of their own; each test leaves it as it was."""

from __future__ import annotations

import pytest
import structlog

from agents.logs import set_up


@pytest.fixture(autouse=True)
def logging_as_before():
    yield
    set_up(None)
    structlog.reset_defaults()
