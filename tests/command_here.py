"""Runs commands in the process of the tests, which spares the start of another one."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import structlog

from agents.logs import set_up


@contextmanager
def command_here(log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Let what a command prints and logs go to the end of a file, and let it have its environment.

    Args:
        log: The file.
        environment: All of its environment.
    """
    with (
        log.open("a") as opened,
        redirect_stdout(opened),
        redirect_stderr(opened),
        mock.patch.dict(os.environ, environment, clear=True),
        logs_of_others_kept(),
        warnings.catch_warnings(),
    ):
        # as in a process of its own: they are for developers of the library that warns
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@contextmanager
def logs_of_others_kept() -> Iterator[None]:
    """Undo what a command set up for its logs."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        set_up(None)
        structlog.reset_defaults()
