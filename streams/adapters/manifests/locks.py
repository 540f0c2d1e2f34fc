"""The digests of a lock of any kind, to compare installed files with."""

from __future__ import annotations

import tomllib

from agents.checks.packages.requirements import read_requirements
from agents.checks.packages.requirements_text import decode_requirements
from agents.domain.toml_reader import read_toml
from streams.adapters.manifests import pylock, uv_lock
from streams.adapters.manifests.found import Lock
from streams.adapters.manifests.requirements import requirements_lock


def read_lock(text: str | bytes) -> Lock:
    """Return the digests of a lock by `name==version`.

    Args:
        text: Hashed requirements, pylock.toml or uv.lock.
    """
    content = text if isinstance(text, str) else decode_requirements(text)
    try:
        document = read_toml(content)
    except tomllib.TOMLDecodeError:
        return requirements_lock(read_requirements(content))
    if "lock-version" in document:
        return pylock.read_document(document).lock
    if isinstance(document.get("package"), list):
        return uv_lock.read_document(document).lock
    return requirements_lock(read_requirements(content))
