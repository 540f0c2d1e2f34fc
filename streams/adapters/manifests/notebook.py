"""Jupyter notebooks: what their cells install by IPython's `%` and `!` commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from streams.adapters.manifests.commands import Command, installs_of, script_commands
from streams.adapters.manifests.found import Found, InstallOptions, entries
from streams.adapters.payload import refuse

_SIGNS: Final = "%!"
"""The prefix of a command in a cell of Python."""
_SHELL_CELLS: Final = ("%%bash", "%%sh", "%%script bash", "%%script sh", "%%system")


def read(raw: bytes, options: InstallOptions) -> Found:
    """Return the packages that a notebook installs.

    Source: nbformat 3 and 4; IPython's magics.
    """
    try:
        document = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise refuse(f"not a notebook: {error}") from error
    return installs_of(_commands(document), options, options.path or "notebook")


def _commands(document: Any) -> Iterator[Command]:  # noqa: ANN401 -- any JSON document
    """Yield the commands of the cells, with the number of their cell as their line."""
    if not isinstance(document, dict):
        return
    sheets = entries(document.get("worksheets"))
    cells = [
        *entries(document.get("cells")),
        *(cell for sheet in sheets for cell in entries(sheet.get("cells"))),
    ]
    for number, cell in enumerate(cells, 1):
        if cell.get("cell_type") != "code":
            continue
        source = cell.get("source") or cell.get("input") or ""
        text = "".join(map(str, source)) if isinstance(source, list) else str(source)
        first, _, rest = text.lstrip().partition("\n")
        if first.strip().startswith(_SHELL_CELLS):
            yield from (Command(command.text, number) for command in script_commands(rest))
            continue
        for command in script_commands(text):
            if command.text[:1] in _SIGNS:
                yield Command(command.text.lstrip(_SIGNS).strip(), number)
