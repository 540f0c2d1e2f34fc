"""Crash-only: how a process ends when going on could lose a record."""

from __future__ import annotations

import logging
import os
from typing import NoReturn

from agents.logs import Logger

EXIT_CRASH = 70
"""sysexits' EX_SOFTWARE: the next process reads unacknowledged records again."""

log = Logger()


def crash(reason: str, error: BaseException | None = None, **details: object) -> NoReturn:
    """Log why and end this process at once, without acknowledging anything more.

    Args:
        reason: A short constant event name.
        error: What was raised, if anything; its traceback is logged.
        details: Key-values for the log line; never artifact bytes or secrets.
    """
    log.critical(reason, exc_info=error, exit_code=EXIT_CRASH, **details)
    logging.shutdown()
    os._exit(EXIT_CRASH)
