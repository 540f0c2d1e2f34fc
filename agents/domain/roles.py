"""The role of bytes: how a file's name has them read, and what they are a part of."""

from __future__ import annotations

from typing import Final

_NAMED: Final = frozenset({".json", ".yaml", ".yml", ".toml", ".xml", ".txt", ""})
"""Suffixes with which the whole name, not the suffix, shows a file's purpose."""
_NAME_LIMIT: Final = 60


def role_of(path: str | None) -> str:
    """Return the role of a file by its name; empty where no name is known.

    The same bytes may be harmless as notes and hostile as a chat template: a finding in text
    applies only in the role in which it was read.
    """
    if not path:
        return ""
    name = path.replace("\\", "/").rpartition("/")[2].lower()
    stem, dot, suffix = name.rpartition(".")
    ending = f".{suffix}" if dot and stem else ""
    return (name if ending in _NAMED else ending)[:_NAME_LIMIT]


TREE: Final = "/"
"""The role of a listing's digest, which no file has."""


def is_text(head: bytes) -> bool:
    """Return whether a file that begins with `head` is text, whose name decides how it is read."""
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # the head may end within a character
    return True


_USES: Final = {"pypi": "package", "package": "package", "image": "image"}
"""Kinds of component, and of push, whose files contain programs by nature."""
USES: Final = frozenset(_USES.values())


def use_of(component: str | None) -> str:
    """Return the role in which a component's files are used: package, image, or empty for others.

    A scan judges bytes as part of a model or dataset. Its findings do not apply to the same bytes
    in a package's file or an image's layer, which normally contain programs.
    """
    return _USES.get((component or "").partition(":")[0], "")


def digest_used_as(digest: str, component: str) -> str:
    """Return how something built from a component names the digest that it had."""
    use = use_of(component)
    return f"sha256:{digest}@{use}" if use else f"sha256:{digest}"
