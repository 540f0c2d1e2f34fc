"""The verdict on a package name."""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.severity import Severity

TYPO: Final = "TW-PKG-TYPOSQUAT"
COMBO: Final = "TW-PKG-COMBOSQUAT"
BRAND: Final = "TW-PKG-BRAND"


class NameVerdict(msgspec.Struct, frozen=True):
    """The target that a name imitates, and the technique."""

    rule_id: str
    severity: Severity
    confidence: float
    target: str
    technique: str
    """transposed letters, look-alike characters, separators ..., for the evidence."""
