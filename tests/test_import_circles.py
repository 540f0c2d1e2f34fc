"""No modules import each other in a circle, wherever in them the import is."""

from __future__ import annotations

from collections.abc import Iterator

import grimp

ROOMS = ("agents", "schemas", "streams")


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that reach one another (Tarjan's algorithm, without recursion).

    Args:
        imports: By module, those that it imports.
    """
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_modules: list[str] = []
    found: list[list[str]] = []

    def enter(module: str) -> tuple[str, Iterator[str]]:
        number[module] = lowest[module] = len(number)
        open_modules.append(module)
        return module, iter(sorted(imports[module]))

    for start in sorted(imports):
        path = [] if start in number else [enter(start)]
        while path:
            module, targets = path[-1]
            target = next(targets, None)
            if target is None:
                path.pop()
                if path:
                    before = path[-1][0]
                    lowest[before] = min(lowest[before], lowest[module])
                if lowest[module] == number[module]:
                    at = open_modules.index(module)
                    group, open_modules[at:] = open_modules[at:], []
                    if len(group) > 1 or module in imports[module]:
                        found.append(sorted(group))
            elif target not in number:
                path.append(enter(target))
            elif target in open_modules:
                lowest[module] = min(lowest[module], number[target])
    return found


def test_circles_of_two_and_more_modules_are_found():
    imports = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": {"d"}, "f": {"a", "e"}}
    assert circles(imports) == [["d", "e"], ["a", "b", "c"]]


def test_modules_that_share_an_import_are_no_circle():
    assert circles({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []


def test_the_rooms_have_no_import_circle():
    # Imports in functions and those for types alone are part of the graph.
    graph = grimp.build_graph(*ROOMS, cache_dir=None, exclude_type_checking_imports=False)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > len(ROOMS)
    assert circles(imports) == []
