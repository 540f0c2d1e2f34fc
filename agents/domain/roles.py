"""The role of bytes: as what a file's name has them read, and as part of what they are held."""

from __future__ import annotations

from typing import Final

_NAMED: Final = frozenset({".json", ".yaml", ".yml", ".toml", ".xml", ".txt", ""})
"""Suffixes under which the whole name says what a file is for."""
_NAME_LIMIT: Final = 60


def role_of(path: str | None) -> str:
    """Return the role of a file by its name; empty where no name is known.

    The same bytes may be harmless as notes and hostile as a chat template: what a scan of text
    found holds in the role it was read in.
    """
    if not path:
        return ""
    name = path.replace("\\", "/").rpartition("/")[2].lower()
    stem, dot, suffix = name.rpartition(".")
    ending = f".{suffix}" if dot and stem else ""
    return (name if ending in _NAMED else ending)[:_NAME_LIMIT]


TREE: Final = "/"
"""The role of a digest that is a listing's: no file has it."""


def is_text(head: bytes) -> bool:
    """Return whether a file that begins with `head` is text, whose name decides how it is read."""
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # a character that the head ends within
    return True


_USES: Final = {"pypi": "package", "package": "package", "image": "image"}
"""Kinds of component, and of push, whose files contain programs by nature."""
USES: Final = frozenset(_USES.values())


def use_of(component: str | None) -> str:
    """Return the role in which a component's files are used: package, image, or empty for others.

    A scan judges bytes as part of a model or dataset. What it finds says nothing of those who hold
    the same bytes as a package's file or an image's layer: a wheel is full of programs.
    """
    return _USES.get((component or "").partition(":")[0], "")


def digest_used_as(digest: str, component: str) -> str:
    """Return how something built from a component names the digest that it had."""
    use = use_of(component)
    return f"sha256:{digest}@{use}" if use else f"sha256:{digest}"
