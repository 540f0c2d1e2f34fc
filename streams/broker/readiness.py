"""Ask a broker by the Kafka protocol whether it is ready."""

from __future__ import annotations

import socket
import struct

_METADATA = struct.pack(">hhih", 3, 1, 1, 9) + b"tidewatch" + struct.pack(">i", 0)
"""A Metadata request, version 1, for no topics."""

_ANSWER_S = 2.0
_HEAD = 12
"""Length, correlation id and the number of brokers."""


def is_ready(port: int) -> bool:
    """Return whether the broker on 127.0.0.1:`port` is a live member of its cluster.

    An open port is not enough: the broker handles requests later, and creates topics only when it
    is no longer fenced.
    Source: Kafka protocol, Metadata API (key 3) version 1.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S) as connection:
            connection.sendall(struct.pack(">i", len(_METADATA)) + _METADATA)
            head = b""
            while len(head) < _HEAD:
                part = connection.recv(_HEAD - len(head))
                if not part:
                    return False
                head += part
    except OSError:
        return False
    brokers: int = struct.unpack(">i", head[8:])[0]
    return brokers > 0
