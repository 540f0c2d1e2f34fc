"""Product, vendor and version, as documents name them."""

from __future__ import annotations

from typing import Final

PRODUCT: Final = "Tidewatch"
VENDOR: Final = "Tidewatch"
VERSION: Final = "0.1.0"
SOURCE: Final = "//tidewatch"
