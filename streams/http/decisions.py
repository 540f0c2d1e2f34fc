"""The behaviour of the admission webhook and the package index when they can't decide."""

from __future__ import annotations

from enum import StrEnum


class OnUnknown(StrEnum):
    """The outcome of an undecided request."""

    REFUSE = "refuse"
    ADMIT = "admit"
