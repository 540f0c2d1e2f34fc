"""Names the risks of a command, from none to hostile."""

from __future__ import annotations

import enum


class CommandRisk(enum.IntEnum):
    """What a command does to the host that runs it."""

    NONE = 0
    """Nothing of what follows."""
    INSTALLER = 1
    """It runs an installer that is known, from its own host by TLS."""
    UNKNOWN_SCRIPT = 2
    """It runs what a host, which is not known, serves by TLS."""
    REPLACEABLE_SCRIPT = 3
    """It runs what it fetches from a named host without TLS: others on the way can replace it."""
    HOSTILE = 4
    """It serves another: a shell for a host, secrets sent, a hidden program, a public address."""
