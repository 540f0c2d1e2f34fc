"""Normalises the names of settings, which producers spell differently."""

from __future__ import annotations

import re
from typing import Final

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NAME_LIMIT: Final = 512


def plain_name(name: str) -> str:
    """Return `trustRemoteCode`, `--trust-remote-code`, `TRUST_REMOTE_CODE` as one name."""
    text = _CAMEL.sub("_", name[:_NAME_LIMIT])
    return text.lower().replace("-", "_").replace(".", "_").strip("_")
