"""Where the reference material that is not part of the repository lies, if it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def shared_path(*parts: str) -> Path:
    """Return a path below the reference material; skip the test where it is absent."""
    base = Path(os.environ.get("TIDEWATCH_SHARED", ROOT.parent / "shared"))
    path = base.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"reference material {'/'.join(parts)} is not at hand (TIDEWATCH_SHARED)")
    return path
