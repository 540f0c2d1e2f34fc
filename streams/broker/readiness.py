"""Ask a broker by the Kafka protocol whether it is ready."""

from __future__ import annotations

import socket
import struct
from typing import Final

_CLIENT: Final = struct.pack(">h", 9) + b"tidewatch"
_METADATA: Final = struct.pack(">hhi", 3, 1, 1) + _CLIENT + struct.pack(">i", 0)
"""A Metadata request, version 1, for no topics."""
_HANDSHAKE: Final = struct.pack(">hhi", 17, 1, 2) + _CLIENT + struct.pack(">h", 5) + b"PLAIN"
"""A SaslHandshake request, version 1."""
_AUTHENTICATE: Final = struct.pack(">hhi", 36, 0, 3) + _CLIENT
"""The beginning of a SaslAuthenticate request, version 0."""

_ANSWER_S: Final = 2.0
_MAX_ANSWER: Final = 1 << 20


def is_ready(port: int, user: str = "", password: str = "") -> bool:
    """Return whether the broker on 127.0.0.1:`port` is a live member of its cluster.

    An open port is not enough: the broker handles requests later, and creates topics only when it
    is no longer fenced.
    Source: Kafka protocol, Metadata API (key 3) version 1; SaslHandshake (17) version 1 and
    SaslAuthenticate (36) version 0 before it, where there is a password.

    Args:
        port: Its port.
        user: The user name.
        password: The password; empty if the broker requires none.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S) as connection:
            if password:
                token = b"\0" + user.encode() + b"\0" + password.encode()
                proof = _AUTHENTICATE + struct.pack(">i", len(token)) + token
                for request in (_HANDSHAKE, proof):
                    if struct.unpack_from(">h", _answer(connection, request))[0] != 0:
                        return False
            brokers: int = struct.unpack_from(">i", _answer(connection, _METADATA))[0]
    except (OSError, struct.error):
        return False
    return brokers > 0


def _answer(connection: socket.socket, request: bytes) -> bytes:
    """Return the answer to a request, after its correlation id; empty if there is none."""
    connection.sendall(struct.pack(">i", len(request)) + request)
    (length,) = struct.unpack(">i", _exactly(connection, 4))
    return _exactly(connection, min(length, _MAX_ANSWER))[4:]


def _exactly(connection: socket.socket, length: int) -> bytes:
    """Return `count` bytes, fewer at the end."""
    parts = b""
    while len(parts) < length and (part := connection.recv(length - len(parts))):
        parts += part
    return parts
