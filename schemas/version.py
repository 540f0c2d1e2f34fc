"""Who makes the documents: product, vendor and version, as they name it."""

from __future__ import annotations

from typing import Final

PRODUCT: Final = "Tidewatch"
VENDOR: Final = "Tidewatch"
VERSION: Final = "0.1.0"
SOURCE: Final = "//tidewatch"
