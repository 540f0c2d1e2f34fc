"""Imports a library without modules that it imports and that nothing here makes it use."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Mapping
from importlib.abc import MetaPathFinder
from types import ModuleType


class _Refusal(MetaPathFinder):
    """Finds no module of some names for one thread; others may import them meanwhile."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._thread = threading.get_ident()

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Refuse a module, or leave it to the other finders."""
        del path, target
        if fullname in self._names and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{fullname} is left out", name=fullname)


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """Let modules be absent within the block, for a library that can do without them.

    Args:
        names: Modules, which stay as they are if they are imported already.
    """
    refusal = _Refusal(names)
    sys.meta_path.insert(0, refusal)
    try:
        yield
    finally:
        sys.meta_path.remove(refusal)


@contextlib.contextmanager
def standing_in(name: str, **content: object) -> Iterator[None]:
    """Let a stand-in be imported within the block, for a library that only needs names of it.

    No other thread may import the module meanwhile.

    Args:
        name: A module of a package, which stays as it is if the package is imported already.
        content: The names that are imported from it.
    """
    package = name.partition(".")[0]
    if package in sys.modules:
        yield
        return
    modules: Mapping[str, ModuleType] = {part: ModuleType(part) for part in (package, name)}
    vars(modules[name]).update(content)
    sys.modules.update(modules)
    try:
        yield
    finally:
        for part in modules:
            del sys.modules[part]
