"""Dependency paths: from the requested packages to the one in a finding."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from agents.checks.packages.requirements import requirement_name
from agents.checks.packages.versions import CACHE_SIZE, canonical_name
from schemas.events import Package

PATH_LIMIT: Final = 32
"""Packages shown of one path."""
ROOTS_LIMIT: Final = 20
"""Roots shown; the count is always given."""

_required = lru_cache(CACHE_SIZE)(requirement_name)


class DependencyTree:
    """The dependency graph of one install."""

    def __init__(self, packages: Sequence[Package]) -> None:
        """Link the packages of an event by their `requires_dist`."""
        self._parents: dict[str, list[str]] = {}
        self._requested: set[str] = set()
        for package in packages:
            name = canonical_name(package.name)
            if package.requested:
                self._requested.add(name)
            for entry in package.requires_dist:
                child = _required(entry)
                if child and child != name:
                    self._parents.setdefault(child, []).append(name)

    def path(self, name: str) -> tuple[str, ...]:
        """Return the shortest path from a root to `name`, root first."""
        came: dict[str, str | None] = {name: None}
        queue = deque([name])
        root = name
        while queue:
            current = queue.popleft()
            parents = self._parents.get(current, ())
            if current in self._requested or not parents:
                root = current
                break
            for parent in parents:
                if parent not in came:
                    came[parent] = current
                    queue.append(parent)
        path: list[str] = []
        step: str | None = root
        while step is not None and len(path) < PATH_LIMIT:
            path.append(step)
            step = came[step]
        return tuple(path)

    def roots(self, name: str) -> tuple[str, ...]:
        """Return the requested packages that depend on `name`, sorted; not `name` itself."""
        seen = {name}
        queue = deque([name])
        roots: set[str] = set()
        while queue:
            for parent in self._parents.get(queue.popleft(), ()):
                if parent in seen:
                    continue
                seen.add(parent)
                queue.append(parent)
                if parent in self._requested or parent not in self._parents:
                    roots.add(parent)
        return tuple(sorted(roots))

    def evidence(self, name: str) -> dict[str, object]:
        """Return the path and the roots as a finding shows them; empty for a root."""
        path = self.path(name)
        if len(path) < 2:  # noqa: PLR2004 -- a package that nothing brought in
            return {}
        roots = self.roots(name)
        return {
            "path": " → ".join(path),
            "roots": list(roots[:ROOTS_LIMIT]),
            "root_count": len(roots),
        }
