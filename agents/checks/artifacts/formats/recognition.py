"""Recognises the formats whose readers take long to import, which one such file alone calls for."""

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.readers.paths import is_weights_name
from agents.checks.artifacts.scanning import Source

HDF5: Final = b"\x89HDF\r\n\x1a\n"
_JSON_NAMES: Final = (".json", ".ipynb", ".jsonl", ".json.txt", ".webmanifest")
_TEXT_NAMES: Final = (
    ".md", ".txt", ".rst", ".gitattributes", ".gitignore", ".csv", ".tsv", ".vocab", ".bpe",
    ".merges", ".license", ".cfg", ".ini", ".toml", ".cff", ".bib", ".dockerignore",
    ".editorconfig", ".gitmodules", ".pth.txt", ".log", ".html", ".css", ".svg", ".lock",
    ".modelfile", ".env", ".jinja", ".j2", ".jinja2", ".tmpl", ".properties", ".conf",
    ".tokens", ".srt",
)  # fmt: skip
_TEXT_BASES: Final = frozenset(
    [
        "license",
        "readme",
        "notice",
        "modelfile",
        "dockerfile",
        "makefile",
        "authors",
        "contributors",
        "copying",
        "version",
        "changelog",
        "codeowners",
        "manifest",
        "usage",
        "requirements",
    ]
)
_SURE_TEXT: Final = (".txt", ".md", ".csv", ".tsv", ".vocab", ".merges", ".jinja", ".bpe")
"""Names of what is text or damaged."""
UNWRITTEN: Final = re.compile(rb"\0{8}|\xff{8}")
"""What no text holds: a page that was never written, or erased."""
_CONTROL_SHARE: Final = 0.02
_CONTROLS: Final = bytes(byte for byte in range(32) if byte not in b"\t\n\x0b\x0c\r\x1b")


def controls(text: bytes) -> int:
    """Return how many bytes are control characters that no text has."""
    return len(text) - len(text.translate(None, _CONTROLS))


def is_unnamed_text(name: str, head: bytes) -> bool:
    """Say whether the first bytes of a file are those of a text, and its name is not of one."""
    named = name.lower().endswith((*_JSON_NAMES, *_TEXT_NAMES, ".py", ".xml", ".yaml", ".yml"))
    return not named and bool(head[:64].strip()) and not controls(head[:64])


def is_hdf5(name: str, head: bytes, source: Source) -> bool:
    """Say whether a file is HDF5: its signature, at its begin or behind a user block."""
    if head.startswith(HDF5) or any(
        head[offset : offset + 8] == HDF5 for offset in (512, 1024, 2048)
    ):
        return True
    named = name.lower().endswith((".h5", ".hdf5", ".he5"))
    return named and source.size > 0 and not head.startswith((b"PK\x03\x04", b"version https://"))


def is_python(name: str, head: bytes, source: Source) -> bool:  # noqa: ARG001 -- the contract
    """Say whether a file is Python source, by its name or its first line."""
    if "code/__torch__" in name:
        return False  # TorchScript, which its own container judges
    return name.lower().endswith((".py", ".pyw", ".pyi")) or (
        head.startswith(b"#!") and b"python" in head.split(b"\n", 1)[0]
    )


def is_xml(name: str, head: bytes, source: Source) -> bool:
    """Say whether a file is XML, by its first bytes or its name."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"<?xml", b"<PMML", b"<net ", b"<!DOCTYPE PMML", b"<!DOCTYPE pmml")):
        return True
    if head[:4] in (b"\xff\xfe<\0", b"\xfe\xff\0<"):
        return True
    return (
        name.lower().endswith((".xml", ".pmml"))
        and source.size > 0
        and (not head.startswith(b"version https://git-lfs"))
    )


def is_json(name: str, head: bytes, source: Source) -> bool:
    """Say whether a file is a JSON object or array, or its name says so."""
    lower = name.lower()
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"{", b"["):
        if text[:2] in (b"{%", b"{{"):
            return False
        rest = text[1:].lstrip()[:1]
        starts = (b'"', b"}", b"") if text[:1] == b"{" else (b'"', b"{", b"[", b"]", b"-", b"")
        return rest in starts or rest.isdigit() or lower.endswith(_JSON_NAMES)
    return (
        lower.endswith(_JSON_NAMES) and source.size > 0 and not head.startswith(b"version https://")
    )


def is_yaml(name: str, head: bytes, source: Source) -> bool:
    """Say whether a file is YAML, by its name or by its directive."""
    del source
    lower = name.lower()
    return (
        lower.endswith((".yaml", ".yml"))
        or lower.rsplit("/", 1)[-1] in ("mlmodel", "mlproject")
        or head.startswith((b"%YAML", b"--- !!", b"!!python"))
    )


def is_text(name: str, head: bytes, source: Source) -> bool:
    """Say whether a file is plain text of a repository, by its name and its bytes."""
    base = name.lower().rsplit("/", 1)[-1].rsplit("!", 1)[-1]
    named = base.endswith(_TEXT_NAMES) or (
        base.split(".")[0] in _TEXT_BASES and not is_weights_name(base)
    )
    if named and source.size == 0:
        return True
    if named:
        utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff"))
        control = controls(head)
        unwritten = base.endswith(_SURE_TEXT) and UNWRITTEN.search(head) is not None
        return utf16 or unwritten or control <= len(head) * _CONTROL_SHARE
    return head.startswith(b"version https://git-lfs.github.com/spec/")
