"""Compiles a regular expression when it is first used: a program needs few of those it declares."""

from __future__ import annotations

import re
from typing import Any, AnyStr, Generic, cast

_USED = ("search", "match", "fullmatch", "finditer", "findall", "sub", "split")
"""What patterns are asked for; the rest is passed on each time."""


class _Late(Generic[AnyStr]):
    """Stands for a pattern, which it compiles when asked for anything."""

    def __init__(self, source: AnyStr, flags: int) -> None:
        self._source: AnyStr = source
        self._flags = flags

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever a pattern has
        compiled = re.compile(self._source, self._flags)
        for used in _USED:  # found without this function from now on
            setattr(self, used, getattr(compiled, used))
        return getattr(compiled, name)


def late_pattern(source: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return a pattern as `re.compile` does, for its methods; it is compiled by their first use.

    Args:
        source: The regular expression.
        flags: Of `re`.
    """
    return cast("re.Pattern[AnyStr]", _Late(source, flags))
