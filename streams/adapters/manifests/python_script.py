"""Python scripts with inline metadata (PEP 723): what `uv run` and `pipx run` would install."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agents.domain.toml_reader import read_toml
from streams.adapters.manifests.found import Found, InstallOptions
from streams.adapters.manifests.pyproject import read_document
from streams.adapters.payload import refuse

_OPENING: Final = re.compile(r"# /// (?P<type>[a-zA-Z0-9-]+)")
_END: Final = "# ///"


def blocks_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield the type and content of each block of metadata, in one pass over the lines.

    Source: the pattern in PEP 723, which tries the rest of the text at each line.
    """
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        opening = _OPENING.fullmatch(lines[at])
        first = at = at + 1
        if opening is None:
            continue
        end = None
        while at < len(lines) and (lines[at] == "#" or lines[at].startswith("# ")):
            if lines[at] == _END and at > first:
                end = at
            at += 1
        if end is not None:
            yield opening["type"], "".join(f"{line}\n" for line in lines[first:end])
            at = end + 1


def read(raw: bytes, _options: InstallOptions) -> Found:
    """Return the requirements of a script."""
    text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    blocks = [content for kind, content in blocks_of(text) if kind == "script"]
    if len(blocks) != 1:
        raise refuse(f"{len(blocks)} script blocks of metadata, expected one")
    lines = blocks[0].splitlines()
    metadata = read_toml("\n".join(line.removeprefix("#").removeprefix(" ") for line in lines))
    return read_document({"project": metadata, "tool": metadata.get("tool")}, "script")
