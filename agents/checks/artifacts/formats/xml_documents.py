"""Declares XML documents: PMML models and OpenVINO graphs."""

from __future__ import annotations

from typing import Final

from agents.checks.artifacts.formats.format import SPACES, Format, Suffix, Trait, endings, later
from agents.checks.artifacts.scanning import Source

SUFFIXES: Final = (
    Suffix(".xml", Trait.NAMED | Trait.NONEMPTY | Trait.TEXT),
    Suffix(".pmml", Trait.NAMED | Trait.WEIGHTS | Trait.NONEMPTY),
)
_NAMED: Final = endings(SUFFIXES, Trait.NAMED)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is XML, by its first bytes or its name."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"<?xml", b"<PMML", b"<net ", b"<!DOCTYPE PMML", b"<!DOCTYPE pmml")):
        return True
    if head[:4] in (b"\xff\xfe<\0", b"\xfe\xff\0<"):
        return True
    return (
        name.lower().endswith(_NAMED)
        and source.size > 0
        and (not head.startswith(b"version https://git-lfs"))
    )


FORMAT: Final = Format(
    name="xml",
    suffixes=SUFFIXES,
    firsts=b"<\xef\xff\xfe" + SPACES,
    matches=matches,
    parse=later("agents.checks.artifacts.formats.xml_reader"),
    rules=(
        "TW-MODEL-OPENVINO-BOUNDS",
        "TW-MODEL-OPENVINO-CUSTOM",
        "TW-MODEL-OPENVINO-EXECUTES",
        "TW-MODEL-PATH-ESCAPES",
        "TW-MODEL-PMML-FUNCTION",
        "TW-MODEL-XML-ENTITY",
        "TW-MODEL-XML-EXPANSION",
        "TW-MODEL-XML-INTERNAL",
        "TW-MODEL-XML-SCRIPT",
    ),
)
