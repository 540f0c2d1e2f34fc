"""Loggers that load the logging library with the first line they write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.lean_imports import without

_waiting: list[Callable[[Any], None]] = []
"""The function that sets the library up when it is loaded."""


class Logger:
    """A structlog logger that is loaded with its first line: most commands write none.

    The library takes a fifth of a short command's start.
    """

    def __init__(self, *names: str) -> None:
        """Keep the logger's name, if it has one."""
        self._names = names

    def __getattr__(self, method: str) -> Any:  # noqa: ANN401 -- structlog's loggers are untyped
        """Return a method of the real logger."""
        return getattr(loaded().get_logger(*self._names), method)


def imported() -> Any:  # noqa: ANN401 -- a module
    """Return structlog, imported without the terminal library: it would show tracebacks by it."""
    with without("rich"):
        import structlog  # noqa: PLC0415 -- what this module is for

    return structlog


def loaded() -> Any:  # noqa: ANN401 -- a module
    """Load structlog, set it up, and return it."""
    structlog = imported()
    while _waiting:
        _waiting.pop()(structlog)
    return structlog


def set_up(configure: Callable[[Any], None] | None) -> None:
    """Register the set-up of the library, in place of an earlier one.

    Args:
        configure: Sets up structlog; None leaves its defaults.
    """
    _waiting[:] = [] if configure is None else [configure]
