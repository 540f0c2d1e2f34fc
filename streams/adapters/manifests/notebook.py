"""Jupyter notebooks: what their cells install by IPython's commands, and tokens in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from agents.checks.pipelines.secrets import tokens_in
from streams.adapters.manifests.commands import Command, installs_of, script_commands
from streams.adapters.manifests.found import Found, InstallOptions, entries
from streams.adapters.payload import refuse

_SIGNS: Final = "%!"
"""The prefix of a command in a cell of Python."""
_TOKENS: Final = 100
"""Tokens of one cell that are looked at."""
_SHELL_CELLS: Final = ("%%bash", "%%sh", "%%script bash", "%%script sh", "%%system")


def read(raw: bytes, options: InstallOptions) -> Found:
    """Return the packages that a notebook installs.

    Source: nbformat 3 and 4; IPython's magics.
    """
    return installs_of(_commands(_document(raw)), options, options.path or "notebook")


def tokens_of(raw: bytes) -> dict[str, Any]:
    """Return the tokens of providers that are written into a notebook, by cell.

    Raises:
        UnreadableRecordError: it is no notebook.
    """
    found: dict[str, Any] = {}
    for number, cell in _cells(_document(raw)):
        tokens = list(dict.fromkeys(islice(tokens_in(_text(cell)), _TOKENS)))
        if tokens:
            found[f"cell {number}"] = tokens
    return found


def _document(raw: bytes) -> Any:  # noqa: ANN401 -- any JSON document
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise refuse(f"not a notebook: {error}") from error


def _cells(document: Any) -> Iterator[tuple[int, dict[str, Any]]]:  # noqa: ANN401 -- any JSON document
    """Yield the cells with their numbers."""
    if not isinstance(document, dict):
        return
    sheets = entries(document.get("worksheets"))
    cells = [
        *entries(document.get("cells")),
        *(cell for sheet in sheets for cell in entries(sheet.get("cells"))),
    ]
    yield from enumerate(cells, 1)


def _text(cell: dict[str, Any]) -> str:
    source = cell.get("source") or cell.get("input") or ""
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def _commands(document: Any) -> Iterator[Command]:  # noqa: ANN401 -- any JSON document
    """Yield the commands of the cells, with the number of their cell as their line."""
    for number, cell in _cells(document):
        if cell.get("cell_type") != "code":
            continue
        text = _text(cell)
        first, _, rest = text.lstrip().partition("\n")
        if first.strip().startswith(_SHELL_CELLS):
            yield from (Command(command.text, number) for command in script_commands(rest))
            continue
        for command in script_commands(text):
            if command.text[:1] in _SIGNS:
                yield Command(command.text.lstrip(_SIGNS).strip(), number)
