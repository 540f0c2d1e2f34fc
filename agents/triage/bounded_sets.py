"""Bounded sets whose content does not depend on the order of arrival, and clipped texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, TypeVar

import msgspec

from schemas.canonical import stable_hash

V = TypeVar("V")
RANK_DIGITS: Final = 16
_SPACE: Final = 1 << 64
_MARK: Final = 12
_BYTES_PER_CHAR: Final = 4
_KEY_BYTES: Final = 3
"""Overhead of a key in msgpack, in bytes."""
REMEMBERED: Final = 16_384
"""Ranks of names that are cached."""


def stable_rank(*parts: str) -> str:
    """Return 64 bits, in hex, of the stable hash of `parts`: the rank of an element in a set."""
    # A single name is ranked repeatedly (a tenant in the rows of each component), several are not.
    return _rank_of_part(parts[0]) if len(parts) == 1 else stable_hash(*parts)[:RANK_DIGITS]


@lru_cache(REMEMBERED)
def _rank_of_part(part: str) -> str:
    return stable_hash(part)[:RANK_DIGITS]


def tally_rank(name: str) -> int:
    """Return the 64-bit hash by which a tally knows a name."""
    return int(_rank_of_part(name), 16)


def keep_smallest(elements: dict[str, V], cap: int) -> bool:
    """Drop the elements with the greatest keys until `cap` are left.

    The keys are ranks, so the result does not depend on the order of arrival, and an element that
    is kept at the end was never dropped before.

    Returns:
        Whether anything was dropped.
    """
    if len(elements) <= cap:
        return False
    for key in sorted(elements)[cap:]:
        del elements[key]
    return True


def trim(
    elements: dict[str, V], cap: int, limit: int, order: Callable[[str], Any] | None = None
) -> bool:
    """Drop elements until at most `cap` are left that take at most `limit` bytes, keys included.

    Args:
        elements: By rank.
        cap: The most elements to keep.
        limit: Bytes, as msgpack encodes them.
        order: The sort key by which to keep them; default: the smallest ranks first.

    Returns:
        Whether anything was dropped.
    """
    if len(elements) <= cap and len(msgspec.msgpack.encode(elements)) <= limit:
        return False
    left = limit
    for number, key in enumerate(sorted(elements, key=order)):
        left -= len(msgspec.msgpack.encode(elements[key])) + len(key) + _KEY_BYTES
        if number >= cap or left < 0:
            left = -1  # nothing after it is kept, even if it would fit: the first elements win
            del elements[key]
    return left < 0


def keyed_order(secret: bytes, place: str) -> str:
    """Return the sort key of a rank in a full set, which can't be predicted without the secret.

    Args:
        secret: The deployment's secret; empty: sort by the rank itself.
        place: Of an element, a rank.
    """
    if not secret:
        return place
    return blake2b(place.encode(), key=secret[:64], digest_size=8).hexdigest()


def trim_shared(
    elements: dict[str, V],
    cap: int,
    limit: int,
    owners: Callable[[str], Iterable[str]],
    order: Callable[[str], str],
) -> bool:
    """Drop elements as `trim` does, but keep each owner's first element before any owner's second.

    However many elements an owner adds, they only displace its own. Which are kept does not depend
    on the order of arrival: an element's turn only ever gets later.

    Args:
        elements: By rank.
        cap: The most elements to keep.
        limit: Bytes, as msgpack encodes them.
        owners: The owner of each element; elements without one are kept first.
        order: The sort key among the elements of one owner.

    Returns:
        Whether anything was dropped.
    """
    taken: dict[str, int] = {}
    turns: dict[str, tuple[int, str]] = {}
    for key in sorted(elements, key=order):
        turn = 0
        for number, owner in enumerate(owners(key)):
            count = taken.get(owner, 0)
            taken[owner] = count + 1
            turn = count if number == 0 else min(turn, count)
        turns[key] = (turn, order(key))
    return trim(elements, cap, limit, turns.__getitem__)


def clip(text: str, limit: int) -> str:
    """Return `text` in at most `limit` bytes of UTF-8; what is cut is marked with its hash."""
    if len(text) * _BYTES_PER_CHAR <= limit:
        return text
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return text
    head = raw[: limit - _MARK - 1].decode("utf-8", "ignore")
    return f"{head}~{stable_hash(text)[:_MARK]}"


def clip_or_none(text: str | None, limit: int) -> str | None:
    """Return `text` clipped, None for None or an empty text."""
    return clip(text, limit) if text else None


class Tally(msgspec.Struct, array_like=True):
    """How many different names there are: exact up to a cap, an estimate from the hashes beyond."""

    smallest: set[int] = msgspec.field(default_factory=set)
    full: bool = False

    def add(self, name: str, cap: int) -> bool:
        """Count `name`; return whether the tally changed."""
        return self.add_rank(tally_rank(name), cap)

    def has(self, name: str) -> bool:
        """Return whether `name` was counted; a full tally assumes that it was."""
        return self.full or tally_rank(name) in self.smallest

    def add_rank(self, value: int, cap: int) -> bool:
        """Count an element by its 64-bit hash; return whether the tally changed."""
        if value in self.smallest:
            return False
        if len(self.smallest) < cap:
            self.smallest.add(value)
            return True
        was_full, self.full = self.full, True
        greatest = max(self.smallest)
        if value > greatest:
            return not was_full
        self.smallest.remove(greatest)
        self.smallest.add(value)
        return True

    def count(self, among: frozenset[int] | None = None) -> int:
        """Return the number of names, estimated (k minimum values) once the tally is full.

        Args:
            among: The hashes of the names that count; None: all do.

        Source: Bar-Yossef et al., "Counting distinct elements in a data stream" (2002).
        """
        counted = len(self.smallest if among is None else self.smallest & among)
        if not self.full:
            return counted
        kept, greatest = len(self.smallest), max(self.smallest)
        every = max(kept + 1, int((kept - 1) * _SPACE / (greatest + 1)))
        return every if among is None else min(len(among), every * counted // kept)
