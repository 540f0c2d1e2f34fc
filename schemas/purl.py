"""Component keys as package URLs (purl-spec), where they have one."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from schemas.components import split_key

_SAFE: Final = "/"
HUB: Final = "huggingface"


def component_purl(key: str, version: str | None = None) -> str:
    """Return the purl of a package or public model, the component key itself of anything else.

    Args:
        key: A component key.
        version: Its version or revision.
    """
    kind, name = split_key(key)
    suffix = f"@{quote(version, safe='')}" if version else ""
    if kind == "pypi" and not name.startswith("@"):
        return f"pkg:pypi/{quote(name, safe='')}{suffix}"
    registry, _, rest = name.partition("/")
    if kind == "model" and registry == HUB and rest:
        return f"pkg:huggingface/{quote(rest, safe=_SAFE)}{suffix}"
    return f"{key}{suffix}"
