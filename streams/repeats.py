"""Limits the repeated log lines of Kafka's clients about an unavailable broker."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec

LIBRARIES: Final = ("aiokafka", "faust", "mode", "asyncio", "kafka")
OWN_EVENTS: Final = frozenset({"broker-awaited", "broker-silent", "lag-unknown"})
"""Our own lines that repeat while a broker is unavailable."""
MAX_KEYS: Final = 1000
_ALL: Final = "all brokers"
_AWAY: Final = "away"
_ADDRESS: Final = re.compile(r"[\w.\-\[\]:]*[\w.\-\]]:\d{1,5}\Z")


class _Seen(msgspec.Struct):
    until: float
    suppressed: int = 0


class Repeats(logging.Filter):
    """Passes one error of a broker per interval; the next line counts the omitted ones."""

    def __init__(self, seconds: float) -> None:
        """Remember nothing yet.

        Args:
            seconds: How long the same kind of error of the same broker is omitted.
        """
        super().__init__()
        self._seconds = seconds
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write a line; add the count of omitted lines of its kind."""
        key = key_of(record)
        if key is None:
            return True
        now = time.monotonic()
        with self._lock:
            seen = self._seen.get(key)
            if seen is not None and now < seen.until:
                seen.suppressed += 1
                return False
            if seen is None and len(self._seen) >= MAX_KEYS:
                self._seen.pop(next(iter(self._seen)))
            self._seen[key] = _Seen(now + self._seconds)
        if seen is not None and seen.suppressed:
            if isinstance(record.msg, dict):
                record.msg = {**record.msg, "suppressed": seen.suppressed}
            else:
                record.suppressed = seen.suppressed
        return True


def key_of(record: logging.LogRecord) -> tuple[str, str] | None:
    """Return broker and kind of error of a line; None for lines that are all to be written.

    All requests to an unavailable broker have one cause, reported once. An error in a line without
    a broker belongs to the cluster. A line with neither is identified by its text.
    """
    if isinstance(record.msg, dict):  # structlog's
        event = record.msg.get("event")
        return (_ALL, str(event)) if event in OWN_EVENTS else None
    library = record.name.partition(".")[0]
    if library not in LIBRARIES or record.levelno < logging.WARNING:
        return None
    kinds = [kind for kind in map(_kind, _values(record)) if kind]
    if library not in {"aiokafka", "kafka"} and not kinds:
        return None  # our own faults are always written
    nodes = [node for node in map(_node, _values(record)) if node]
    broker = _address(record) or (nodes[0] if nodes else _ALL)
    return broker, kinds[0] if kinds else str(record.msg)


def _values(record: logging.LogRecord) -> Iterator[Any]:
    """Yield the arguments of a line, and the error that is logged with it."""
    if isinstance(record.args, tuple):
        yield from record.args
    elif record.args:
        yield from record.args.values()
    if record.exc_info and record.exc_info[0] is not None:
        yield record.exc_info[0]


def _kind(value: object) -> str | None:
    """Return the kind of an error, given as instance or class; None for anything else."""
    kind = value if isinstance(value, type) else type(value)
    if not issubclass(kind, BaseException):
        return None
    names = {base.__name__ for base in kind.__mro__}
    if "OSError" in names or names & _GONE:
        return _AWAY
    return kind.__name__ if "KafkaError" in names else None


_GONE: Final = frozenset(
    {
        "KafkaConnectionError",
        "KafkaTimeoutError",
        "NodeNotReadyError",
        "NoBrokersAvailable",
        "RequestTimedOutError",
        "StaleMetadata",
        "CancelledError",
    }
)


def _node(value: object) -> str | None:
    """Return the id of a node, the only number in a client's line about it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def _address(record: logging.LogRecord) -> str | None:
    """Return the quoted address in a line, which a client uses before it knows ids."""
    named = re.search(r'"([^"\s]+)"', record.getMessage())
    return named[1] if named and _ADDRESS.match(named[1]) else None
