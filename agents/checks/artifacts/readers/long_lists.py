"""Reads large JSON without making objects of its long lists of collections all at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import orjson

LARGE: Final = 1 << 20
"""Bytes of a value from which its lists are read item by item."""
MAX_LEVELS: Final = 8
"""Large values within one another that are divided; each is gone over once more."""
_OPENINGS: Final = (b"{", b"[")
_HEAD: Final = 64
"""Bytes in which a value or the first item of a list begins, as any writer writes it."""
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class LongList(list[Any]):
    """A list of JSON whose items are made anew each time they are read.

    It holds their bytes. Two readings of one item are equal, not identical: whoever goes by the
    identity of objects keeps the objects.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        """Yield the items, of which none is kept."""
        return map(_made, super().__iter__())

    def __reversed__(self) -> Iterator[Any]:
        """Yield the items from the last."""
        return map(_made, super().__reversed__())

    def __contains__(self, value: object) -> bool:
        """Return whether an item equals a value."""
        return any(item == value for item in self)

    def __eq__(self, other: object) -> bool:
        """Return whether the items of another list are the same."""
        return isinstance(other, list) and list(self) == list(other)

    __hash__ = None  # as of any list

    def __repr__(self) -> str:
        """Return the items as a plain list shows them."""
        return repr(list(self))

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 -- as of any list
        """Return an item, or a plain list of some."""
        held = super().__getitem__(index)
        return list(map(_made, held)) if isinstance(index, slice) else _made(held)


def _made(item: object) -> Any:  # noqa: ANN401 -- JSON
    return orjson.loads(memoryview(item)) if type(item) is msgspec.Raw else item


def read_large(raw: bytes) -> Any:  # noqa: ANN401 -- JSON
    """Return a large JSON document, its long lists of collections as `LongList`.

    As objects, such lists take five times their bytes, and more.

    Args:
        raw: The document.

    Raises:
        ValueError, msgspec.DecodeError: not JSON.
        RecursionError: nested too deeply.
    """
    return _read(memoryview(raw), MAX_LEVELS)


def _read(raw: memoryview, levels: int) -> Any:  # noqa: ANN401 -- JSON
    head = bytes(raw[:_HEAD]).lstrip()
    if len(raw) <= LARGE or not levels or not head.startswith(_OPENINGS):
        return orjson.loads(raw)
    if head.startswith(b"{"):
        members = _MEMBERS.decode(raw)
        return {name: _read(memoryview(value), levels - 1) for name, value in members.items()}
    if not head[1:].lstrip().startswith(_OPENINGS):
        return orjson.loads(raw)
    items: list[Any] = list(_ITEMS.decode(raw))
    for at, item in enumerate(items):
        value = memoryview(item)
        if len(value) > LARGE:
            items[at] = _read(value, levels - 1)
        else:
            orjson.loads(value)  # so that no later reading fails
    return LongList(items)
