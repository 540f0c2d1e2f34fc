"""Compiles a regular expression on first use: a process uses few of those that are declared."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, AnyStr, Generic, cast

_USED = ("search", "match", "fullmatch", "finditer", "findall", "sub", "split")
"""Attributes that are cached; others are looked up each time."""


class _Late(Generic[AnyStr]):
    """A proxy of a pattern that compiles it on first access."""

    def __init__(self, source: AnyStr | Callable[[], AnyStr], flags: int) -> None:
        self._source: AnyStr | Callable[[], AnyStr] = source
        self._flags = flags

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever a pattern has
        source = self._source() if callable(self._source) else self._source
        compiled = re.compile(source, self._flags)
        for used in _USED:  # later lookups bypass this function
            setattr(self, used, getattr(compiled, used))
        return getattr(compiled, name)


def late_pattern(source: AnyStr | Callable[[], AnyStr], flags: int = 0) -> re.Pattern[AnyStr]:
    """Return a pattern like that of `re.compile`, compiled when a method is first used.

    Args:
        source: The regular expression, or what returns it.
        flags: Of `re`.
    """
    return cast("re.Pattern[AnyStr]", _Late(source, flags))
