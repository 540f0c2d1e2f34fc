"""A pipeline's configuration: read within bounds, hashed bit for bit, walked, compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from agents.checks.pipelines.secrets import masked
from schemas.cloudevents import MAX_DEPTH, nesting
from schemas.errors import TidewatchError

MAX_CONFIG_BYTES: Final = 1 << 20
MAX_NODES: Final = 100_000
MAX_DIFFERENCES: Final = 100
_TEXT_LIMIT: Final = 200


class UnreadableConfigError(TidewatchError):
    """A configuration that exceeds the limits or is not JSON: checks of it are incomplete."""


class Node(msgspec.Struct, frozen=True, gc=False):
    """One value of a configuration and its path."""

    path: str
    """`a.b[3].c`"""
    key: str
    """The nearest enclosing name."""
    value: Any


def read_config(raw: bytes) -> Any:  # noqa: ANN401 -- any JSON document
    """Return a configuration as Python's own `json` reads it.

    The last of duplicate names counts, NaN and big integers are kept, as in the program that
    wrote and hashed it.

    Raises:
        UnreadableConfigError: larger than `MAX_CONFIG_BYTES`, nested too deeply, with an integer
            beyond Python's limit of digits, or not JSON in UTF-8.
    """
    if len(raw) > MAX_CONFIG_BYTES:
        raise UnreadableConfigError(
            f"the configuration has {len(raw)} bytes, the limit is {MAX_CONFIG_BYTES}"
        )
    if nesting(raw, MAX_DEPTH) > MAX_DEPTH:
        raise UnreadableConfigError(f"the configuration nests deeper than {MAX_DEPTH}")
    try:
        return json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise UnreadableConfigError(f"the configuration can't be read: {reason}") from error


def config_hash(config: Any) -> str:  # noqa: ANN401 -- any JSON document
    """Return `sha256(json.dumps(config, sort_keys=True).encode())` in hex, Python's own writing.

    Raises:
        UnreadableConfigError: it can't be serialised.
    """
    try:
        text = json.dumps(config, sort_keys=True)
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreadableConfigError(
            f"the configuration can't be hashed: {type(error).__name__}"
        ) from error
    return hashlib.sha256(text.encode()).hexdigest()


def walk(config: Any, *, limit: int = MAX_NODES) -> Iterator[Node]:  # noqa: ANN401 -- any JSON
    """Yield every value in document order, without recursion.

    Raises:
        UnreadableConfigError: there are more than `limit` values, or it nests too deeply.
    """
    stack = [(Node("", "", config), 0)]
    seen = 0
    while stack:
        node, depth = stack.pop()
        seen += 1
        if seen > limit or depth > MAX_DEPTH:
            raise UnreadableConfigError(
                f"the configuration has more than {limit} values, or nests deeper than {MAX_DEPTH}"
            )
        yield node
        value = node.value
        if isinstance(value, dict):
            stack.extend(
                (
                    Node(f"{node.path}.{name}" if node.path else str(name), str(name), item),
                    depth + 1,
                )
                for name, item in reversed(value.items())
            )
        elif isinstance(value, list):
            stack.extend(
                (Node(f"{node.path}[{index}]", node.key, item), depth + 1)
                for index, item in reversed(list(enumerate(value)))
            )


def config_diff(old: Any, new: Any) -> list[dict[str, Any]]:  # noqa: ANN401 -- any JSON
    """Return what changed between two configurations, with secrets masked.

    Returns:
        `{"path", "change": added | removed | changed, "old"?, "new"?}` in order of the path, at
        most `MAX_DIFFERENCES`; then one `{"change": "truncated", "left_out": n}`.

    Raises:
        UnreadableConfigError: one of them exceeds the limits.
    """
    before, after = _leaves(old), _leaves(new)
    result: list[dict[str, Any]] = []
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path), after.get(path)
        if was is None and now is not None:
            result.append({"path": path, "change": "added", "new": _shown(now)})
        elif now is None and was is not None:
            result.append({"path": path, "change": "removed", "old": _shown(was)})
        elif was is not None and now is not None and _written(was) != _written(now):
            entry = {"path": path, "change": "changed", "old": _shown(was), "new": _shown(now)}
            result.append(entry)
    if len(result) > MAX_DIFFERENCES:
        left_out = len(result) - MAX_DIFFERENCES
        return [*result[:MAX_DIFFERENCES], {"change": "truncated", "left_out": left_out}]
    return result


def _leaves(config: Any) -> dict[str, Node]:  # noqa: ANN401 -- any JSON
    return {
        node.path: node
        for node in walk(config)
        if not isinstance(node.value, dict | list) or (not node.value and node.path)
    }


def _written(node: Node) -> str:
    # As text, because in Python True == 1 == 1.0 and NaN differs from itself.
    return json.dumps(node.value)


def _shown(node: Node) -> Any:  # noqa: ANN401 -- any JSON scalar
    value = masked(node.key, node.value)
    if isinstance(value, str) and len(value) > _TEXT_LIMIT:
        return value[: _TEXT_LIMIT - 1] + "…"
    if isinstance(value, int) and value.bit_length() > 64:  # noqa: PLR2004 -- what JSON readers take
        return "an integer of more than 64 bits"
    return value
