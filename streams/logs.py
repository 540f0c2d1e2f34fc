"""Logging: structlog for Tidewatch, and the libraries' standard logging through the same way."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from agents.logs import imported, set_up
from streams.cli.output import neutral
from streams.repeats import Repeats

if TYPE_CHECKING:
    from structlog.typing import Processor

    from streams.settings import Settings

QUIET = ("faust", "mode", "aiokafka", "asyncio", "urllib3")
"""Libraries whose information-level lines are useless to an operator, or contain addresses with
secret paths.
"""


def configure_logs(settings: Settings, **bound: str) -> None:
    """Set up logging of this process: JSON lines, or readable lines on a terminal.

    Args:
        settings: Names the level and the format.
        bound: Key-values of every line, such as the app's name.
    """
    structlog = imported()
    console = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    shared.append(structlog.processors.format_exc_info)
    if console:
        shared.append(neutral)
    renderer: Processor = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Repeats(settings.log_repeat_seconds))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    level = getattr(logging, settings.log_level.upper())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    connections = logging.getLogger("aiokafka.conn")
    connections.removeFilter(_not_in_the_clear)
    if settings.kafka is not None and settings.kafka.startswith("127.0.0.1:"):
        connections.addFilter(_not_in_the_clear)
    set_up(None)  # a command's set-up does not replace this
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)


def _not_in_the_clear(record: logging.LogRecord) -> bool:
    """Drop the warning of each connection about its unencrypted password.

    On the loopback interface, where the embedded broker listens, the connection can't be read by
    others.
    """
    return "in the clear" not in str(record.msg)
