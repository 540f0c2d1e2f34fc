"""Samples in `tests/data`: native events, producers' payloads, package metadata, documents."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parent / "data"


def sample_path(*parts: str) -> Path:
    """Return the path of a sample."""
    return DATA.joinpath(*parts)


def sample(*parts: str) -> bytes:
    """Return the bytes of a sample."""
    return sample_path(*parts).read_bytes()
