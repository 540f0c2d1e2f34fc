"""Recognises requirement files, lock files and pipeline definitions, by name or by fields."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import orjson

MAX_BYTES: Final = 64 << 20
_REQUIREMENTS: Final = r"(^|[-_.])(requirements|constraints)([-_.][^/]*)?\.(txt|in)$"
_BY_NAME: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (_REQUIREMENTS, "requirements"),
        (r"^pylock(\.[^/]+)?\.toml$", "pylock"),
        (r"^uv\.lock$", "uv-lock"),
    )
)
_PIPELINE_FIELDS: Final = frozenset(
    {"data_sources", "expected_config_hash", "training", "pipeline", "stages", "steps", "config"}
)


def manifest_kind(path: Path) -> str | None:
    """Return what kind of manifest a file is by its name, or by the fields of its JSON; or None."""
    for pattern, kind in _BY_NAME:
        if pattern.search(path.name):
            return kind
    if path.suffix.lower() != ".json" or not path.is_file() or path.stat().st_size > MAX_BYTES:
        return None
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    if not isinstance(document, dict):
        return None
    if document.get("bomFormat") == "CycloneDX":
        return "cyclonedx"
    if "install" in document and "pip_version" in document:
        return "pip-report"
    if "data_sources" in document or (
        "model_type" not in document and len(_PIPELINE_FIELDS & set(document)) > 1
    ):
        return "pipeline-config"
    return None
