"""The Sigstore trust root that signatures are verified against, offline.

Sigstore's own offline mode trusts any file in the user's cache, without a signature. So the root is
read from a file the operator pins, or from the installed, hash-locked `sigstore` package; never
from a cache.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

_PRODUCTION: Final = "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev"


@cache
def pinned_trusted_root(path: Path | None = None) -> Any:  # noqa: ANN401 -- imported on first use
    """Return the `sigstore.models.TrustedRoot` to verify against.

    Args:
        path: The operator's pinned `trusted_root.json`; default: bundled.
    """
    from sigstore.models import TrustedRoot  # noqa: PLC0415 -- half a second; few events need it

    if path is not None:
        return TrustedRoot.from_file(str(path))
    packaged = resources.files("sigstore._store") / _PRODUCTION / "trusted_root.json"
    with resources.as_file(packaged) as file:
        return TrustedRoot.from_file(str(file))
