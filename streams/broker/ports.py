"""Choose free ports on 127.0.0.1."""

from __future__ import annotations

import secrets
import socket

from streams.broker.errors import PortTakenError

_FIRST, _LAST = 20_000, 32_000
"""Range of ports to choose from, below the ephemeral ports of Linux (32768) and others (49152)."""

_ATTEMPTS = 1000


def is_free(port: int) -> bool:
    """Return whether a server can listen on `port` of 127.0.0.1."""
    with socket.socket() as probe:
        # like the JVM, allow a port in TIME_WAIT
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return `count` distinct free ports below the ephemeral ones.

    The kernel may give the ephemeral port of a stopped broker to a client that retries; the client
    then connects to itself and keeps the broker from listening again.

    Raises:
        PortTakenError: No free ports were found.
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
