"""Records as TOML text, as the commands that read such files take it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(document: Mapping[str, Any]) -> str:
    """Return a document of text, numbers, truth values, lists and tables as TOML.

    What is None is left out, since TOML has no such value.

    Args:
        document: Plain values, such as `msgspec.to_builtins` returns.
    """
    return "\n".join(_table(document, ())).strip() + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    inner: list[str] = []
    lines: list[str] = []
    for name, value in table.items():
        here = (*path, name)
        if value is None:
            continue
        if isinstance(value, Mapping):
            body = _table(value, here)
            headed = any(not isinstance(item, Mapping) for item in value.values()) or not value
            inner += ["", f"[{_dotted(here)}]", *body] if headed else body
        elif _is_tables(value):
            for item in value:
                inner += ["", f"[[{_dotted(here)}]]", *_table(item, here)]
        else:
            lines.append(f"{_key(name)} = {_value(value)}")
    return lines + inner


def _is_tables(value: Any) -> bool:  # noqa: ANN401 -- any plain value
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)


def _value(value: Any) -> str:  # noqa: ANN401 -- any plain value
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    # a basic string escapes as JSON does, and the delete character as well
    return orjson.dumps(value).decode().replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(map(_key, path))
