"""The loader for untrusted YAML: plain values only, within a nesting limit."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import yaml

DEPTH: Final = 200
_BRACKETS: Final = 4_000
"""Shorter texts can't nest too deeply."""
_LEVELS: Final = re.compile(rb"(?m)^[ \t?\-]{2000}")
"""White space and indicators at the start of a line, by which block style nests."""


class TooDeepError(yaml.YAMLError):
    """A text that nests deeper than the limit."""


def plain_loader(raw: bytes) -> type[yaml.SafeLoader]:
    """Return the loader for a text: safe, application tags (`!Ref`) read as their plain content.

    libyaml's loader recurses for each level and crashes the process at the end of the stack, so
    a text that could nest that deep is examined first.

    Raises:
        TooDeepError: it nests deeper than `DEPTH`.
        yaml.YAMLError: it is not YAML.
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
    # Parsing into events does not recurse.
    for event in yaml.parse(raw, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH:
                raise TooDeepError(f"nested deeper than {DEPTH}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
