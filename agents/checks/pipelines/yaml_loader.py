"""The loader for YAML from outside: it makes plain values, and is left where it nests too deep."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import yaml

DEPTH: Final = 200
_BRACKETS: Final = 4_000
"""Fewer can't nest too deep."""
_LEVELS: Final = re.compile(rb"(?m)^[ \t?\-]{2000}")
"""White space and marks at the start of a line, by which block style nests."""


class TooDeepError(yaml.YAMLError):
    """A text that nests deeper than anybody writes."""


def plain_loader(raw: bytes) -> type[yaml.SafeLoader]:
    """Return the loader for a text: safe, application tags (`!Ref`) read as their plain content.

    libyaml's loader calls itself for each level and ends the process where the stack ends, so that
    a text that could nest so deep is looked through before.

    Raises:
        TooDeepError: it nests deeper than `DEPTH`.
        yaml.YAMLError: it is none.
    """
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if raw.count(b"[") + raw.count(b"{") > _BRACKETS or _LEVELS.search(raw):
        _require_shallow(raw, base)

    class Loader(base):  # type: ignore[misc]  # the base is chosen by the text
        """The safe loader, with tags of applications."""

    def tagged(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:  # noqa: ANN401
        if isinstance(node, yaml.ScalarNode):
            return f"!{loader.construct_scalar(node)}"
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        return None

    add: Callable[..., None] = Loader.add_multi_constructor
    add("!", tagged)
    return Loader


def _require_shallow(raw: bytes, loader: Any) -> None:  # noqa: ANN401 -- of either kind
    depth = 0
    # Events come from a parser that keeps its own stack, within bounds.
    for event in yaml.parse(raw, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH:
                raise TooDeepError(f"nested deeper than {DEPTH}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
