"""Samples in `tests/data`: native events, producers' payloads, package metadata, documents."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

DATA = Path(__file__).parent / "data"


def sample_path(*parts: str) -> Path:
    """Return the path of a sample."""
    return DATA.joinpath(*parts)


def sample(*parts: str) -> bytes:
    """Return the bytes of a sample."""
    return sample_path(*parts).read_bytes()


def osv_archive() -> bytes:
    """Return the OSV records of `tests/data/intel/osv` as an ecosystem's archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(sample_path("intel", "osv").glob("*.json")):
            archive.write(path, path.name)
    return buffer.getvalue()
