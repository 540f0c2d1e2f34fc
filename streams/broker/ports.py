"""Chooses ports on 127.0.0.1."""

from __future__ import annotations

import secrets
import socket

from streams.broker.errors import PortTakenError

_FIRST, _LAST = 20_000, 32_000
"""Below where Linux (32768) and others (49152) take ports for outgoing connections."""

_ATTEMPTS = 1000


def is_free(port: int) -> bool:
    """Return whether a server could listen on `port` of 127.0.0.1 now."""
    with socket.socket() as probe:
        # as the JVM does: a port in TIME_WAIT can be listened on again
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that were free just now, below the ephemeral ones.

    A client that retries on a stopped broker's ephemeral port can be given that very port for its
    own end, connects to itself, and keeps the broker from coming back.

    Raises:
        PortTakenError: None was found.
    """
    chosen: set[int] = set()
    for _ in range(_ATTEMPTS):
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        if port not in chosen and is_free(port):
            chosen.add(port)
        if len(chosen) == count:
            return sorted(chosen)
    raise PortTakenError(
        "no free port was found",
        where=f"127.0.0.1:{_FIRST}-{_LAST}",
        remedy="stop other programs, or name a Kafka of your own with TIDEWATCH_KAFKA",
    )
