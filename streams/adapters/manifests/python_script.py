"""Python scripts with inline metadata (PEP 723): what `uv run` and `pipx run` would install."""

from __future__ import annotations

import re
from typing import Final

from agents.domain.toml_reader import read_toml
from streams.adapters.manifests.found import Found, InstallOptions
from streams.adapters.manifests.pyproject import read_document
from streams.adapters.payload import refuse

_BLOCK: Final = re.compile(
    r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$"
)


def read(raw: bytes, _options: InstallOptions) -> Found:
    """Return the requirements of a script.

    Source: the reference implementation of PEP 723, whose pattern this is.
    """
    text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    blocks = [block for block in _BLOCK.finditer(text) if block["type"] == "script"]
    if len(blocks) != 1:
        raise refuse(f"{len(blocks)} script blocks of metadata, expected one")
    lines = blocks[0]["content"].splitlines()
    metadata = read_toml("\n".join(line.removeprefix("#").removeprefix(" ") for line in lines))
    return read_document({"project": metadata, "tool": metadata.get("tool")}, "script")
