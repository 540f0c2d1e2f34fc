"""Draw the propagation of an incident: a tree for the terminal, Graphviz, SVG."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter
from types import MappingProxyType
from typing import Final

import msgspec

from schemas.incidents.views import IncidentDocument, SystemView
from streams.cli.printing import ELLIPSIS, plain
from streams.reports.incident_words import defanged_name


class NodeGroup(msgspec.Struct, frozen=True):
    """Nodes of one kind below one node."""

    kind: str
    text: str
    """Their number and kind."""


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """The components and systems of an incident, and the edges between them."""

    root: str
    children: dict[str, tuple[str, ...]]
    systems: dict[str, str]
    """Description of each system, by its node."""
    groups: dict[str, NodeGroup] = {}
    """Nodes that stand for those below them."""


class Switch(msgspec.Struct, frozen=True):
    """The link that folds and unfolds a node of a drawing."""

    key: str
    """Names the node in an address."""
    open: bool
    below: int
    """The number of nodes below it, shown or not."""
    address: str = ""
    """The address of the drawing with the node toggled."""


def incident_graph(incident: IncidentDocument) -> Graph:
    """Return the graph of an incident, from its root through derived components to systems."""
    children: dict[str, dict[str, None]] = defaultdict(dict)
    exposures: dict[str, list[SystemView]] = defaultdict(list)
    for system in incident.systems:
        way = [incident.root]
        for component in (*system.path, system.component):
            if component != way[-1] and component not in way:
                way.append(component)
        node = f"{system.tenant} / {system.system}"
        exposures[node].append(system)
        for parent, child in zip([*way], [*way[1:], node], strict=True):
            children[parent][child] = None
    return Graph(
        root=incident.root,
        children={parent: tuple(sorted(below)) for parent, below in children.items()},
        systems={node: _described(views) for node, views in exposures.items()},
    )


def _described(views: Sequence[SystemView]) -> str:
    """Return the farthest exposure of one system, and since when it is affected."""
    farthest = max((view.exposure for view in views), key=attrgetter("rank"))
    return f"{farthest} since {min(view.since for view in views):%Y-%m-%d %H:%M}"


def _name(node: str) -> str:
    """Return a node as people read it."""
    return defanged_name(plain(node))


def descendants(graph: Graph, node: str) -> set[str]:
    """Return the nodes below a node, without groups.

    Args:
        graph: The graph.
        node: One of its nodes.
    """
    found: set[str] = set()
    waiting = [node]
    while waiting:
        below = set(graph.children.get(waiting.pop(), ())) - found
        found |= below
        waiting += below
    return found - graph.groups.keys() - {node}


def _walk(graph: Graph) -> Iterator[tuple[int, str, bool]]:
    """Yield depth, node, and whether it is its parent's last child; visit children once."""
    seen: set[str] = set()
    stack = [(0, graph.root, True)]
    while stack:
        depth, node, last = stack.pop()
        yield depth, node, last
        if node in seen:
            continue
        seen.add(node)
        below = graph.children.get(node, ())
        stack.extend((depth + 1, child, index == 0) for index, child in enumerate(reversed(below)))


def tree(graph: Graph) -> str:
    """Return the graph as a tree of text."""
    lines: list[str] = []
    open_at: dict[int, bool] = {}
    for depth, node, last in _walk(graph):
        note = f"  ({plain(graph.systems[node])})" if node in graph.systems else ""
        indent = "".join("│  " if open_at.get(level) else "   " for level in range(1, depth))
        branch = ("└─ " if last else "├─ ") if depth else ""
        open_at[depth] = not last
        lines.append(f"{indent}{branch}{_name(node)}{note}")
    return "\n".join(lines)


def dot(graph: Graph) -> str:
    """Return the graph in the DOT language of Graphviz."""

    def quoted(text: str) -> str:
        return '"' + plain(text).replace("\\", "\\\\").replace('"', '\\"') + '"'

    lines = ["digraph incident {", "  rankdir=LR;", "  node [shape=box];"]
    lines.append(f"  {quoted(graph.root)} [style=filled, fillcolor=lightcoral];")
    for node, note in sorted(graph.systems.items()):
        lines.append(f"  {quoted(node)} [shape=ellipse, tooltip={quoted(note)}];")
    for parent, below in sorted(graph.children.items()):
        lines.extend(f"  {quoted(parent)} -> {quoted(child)};" for child in below)
    return "\n".join([*lines, "}", ""])


_DRAWING = "tw-drawing"
_STEP = 32
_ROW = 52
_BOX = (600, 42)
_SWITCH = (64, 42)
_GAP = 8
_MARGIN = 16
_LEGEND = 44
NAME_SHOWN = 78
"""Characters of a name that fit into a box."""
_COLOURS = {
    "root": ("found here", "#ffd7d5", "#67060c"),
    "serving": ("serving", "#ffe0b8", "#5c3400"),
    "executed": ("executed", "#fff3bf", "#4d4000"),
    "delivered": ("delivered", "#dbeafe", "#0b2c63"),
    "staged": ("staged", "#e6e8eb", "#30363d"),
    "component": ("component", "#ffffff", "#161b22"),
}
"""By kind of box: its name in the legend, and its colours on a light and a dark page."""
STYLE: Final = (
    ".tw-page{fill:#fff}.tw-name{fill:#1b1f24}.tw-note{fill:#59636e}.tw-edge{stroke:#8c959f}"
    ".tw-box{stroke:#8c959f}.tw-group{stroke-dasharray:5 3;stroke-width:2}"
    + "".join(f".tw-{kind}{{fill:{light}}}" for kind, (_, light, _) in _COLOURS.items())
    + "@media (prefers-color-scheme:dark){.tw-page{fill:#0d1117}.tw-name{fill:#f0f6fc}"
    ".tw-note{fill:#b1bac4}.tw-edge,.tw-box{stroke:#7d8590}"
    + "".join(f".tw-{kind}{{fill:{dark}}}" for kind, (_, _, dark) in _COLOURS.items())
    + "}@media print{.tw-page{fill:#fff}.tw-name{fill:#000}.tw-note{fill:#444}"
    + "".join(f".tw-{kind}{{fill:{light}}}" for kind, (_, light, _) in _COLOURS.items())
    + "}"
)


def shortened(names: Iterable[str], limit: int = NAME_SHOWN) -> dict[str, str]:
    """Return each name as it is shown: shortened in the middle, and unique.

    Names are cut where look-alikes are equal, and kept where they differ.

    Args:
        names: The names, made safe to show.
        limit: Most characters of each.
    """
    shown = {name: _cut(name, limit, limit // 2) for name in dict.fromkeys(names)}
    groups: dict[str, list[str]] = {}
    for name, text in shown.items():
        groups.setdefault(text, []).append(name)
    for alike in groups.values():
        ordered = sorted(alike)
        # sorted, a name is next to the one it shares most with
        same = [0, *(_same_start(*pair) for pair in pairwise(ordered)), 0]
        if len(ordered) > 1:
            for name, pair in zip(ordered, pairwise(same), strict=True):
                shown[name] = _cut(name, limit, limit // 3, keep=max(pair))
    taken: dict[str, int] = {}
    for name, text in shown.items():
        taken[text] = taken.get(text, 0) + 1
        if taken[text] > 1:  # three or more that differ in more places than there is room for
            shown[name] = f"{text[: limit - 5]} #{taken[text]}"
    return shown


def _same_start(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _cut(name: str, limit: int, head: int, keep: int | None = None) -> str:
    """Return a name without its middle, or with the part from `keep` on in its middle."""
    if len(name) <= limit:
        return name
    tail = limit - head - len(ELLIPSIS)
    if keep is None or keep < head or keep >= len(name) - tail:
        return name[:head] + ELLIPSIS + name[len(name) - tail :]
    half = tail // 2
    start = max(head, keep - 4)
    part = name[start : start + half]
    left = limit - head - len(part) - 2 * len(ELLIPSIS)
    return f"{name[:head]}{ELLIPSIS}{part}{ELLIPSIS}{name[len(name) - left :]}"


def strips(graph: Graph) -> tuple[str, ...]:
    """Return the image of `svg` cut between its rows, for a page that also contains the whole.

    Each strip is an SVG that shows its part of the other's drawing.
    """
    position = _positions(graph)
    width, height = _size(position)
    cuts = [y - (_ROW - _BOX[1]) // 2 for _, y in position.values()]
    # the first has the legend above its row
    edges = [0, *sorted(cuts)[1:], height]
    return tuple(
        f'<svg width="{width}" height="{below - above}" viewBox="0 {above} {width} '
        f'{below - above}"><use href="#{_DRAWING}"/></svg>'
        for above, below in pairwise(edges)
    )


def _positions(graph: Graph) -> dict[str, tuple[int, int]]:
    """Return the position of each node's box, from the left and the top."""
    position: dict[str, tuple[int, int]] = {}
    for depth, node, _ in _walk(graph):
        if node not in position:
            row = len(position)
            position[node] = (_MARGIN + depth * _STEP, _MARGIN + _LEGEND + row * _ROW)
    return position


def _size(position: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Return the width and the height of a drawing of boxes."""
    width = max((x for x, _ in position.values()), default=0) + _BOX[0] + _MARGIN
    return width, max((y for _, y in position.values()), default=0) + _BOX[1] + _MARGIN


def svg(
    graph: Graph,
    *,
    styled: bool = True,
    address: Callable[[str], str | None] = lambda _: None,
    switches: Mapping[str, Switch] = MappingProxyType({}),
) -> str:
    """Return the graph as an SVG image: a row for each node, below what it came from.

    It has a legend and both a light and a dark look; a node of several parents is drawn once, with
    an edge from each.

    Args:
        graph: The graph.
        styled: Whether the image carries its style; else the page that it is part of has `STYLE`.
        address: Where a node leads to; by default nowhere.
        switches: What folds and unfolds nodes; by default nothing.
    """
    position = _positions(graph)
    names = shortened(_name(node) for node in position if node not in graph.groups)
    width, height = _size(position)
    width += _SWITCH[0] + _GAP if switches else 0
    style = f"<style>{STYLE}</style>" if styled else ""
    targets = {node: address(node) for node in position}
    # assistive technology can't reach into an image: a drawing with links is a group
    role = "group" if switches or any(targets.values()) else "img"
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="{role}" font-family="system-ui,DejaVu '
            f'Sans,sans-serif" font-size="13"><title>How it spread</title>{style}'
            f'<g id="{_DRAWING}"><rect class="tw-page" width="{width}" height="{height}"/>'
        )
    ]
    kinds = {node: kind_of(graph, node) for node in position}
    parts.extend(_legend(kind for kind in _COLOURS if kind in kinds.values()))
    parts.extend(_edges(graph, position))
    for node, point in position.items():
        switch = switches.get(node)
        if node in graph.groups:
            parts.append(_group(graph.groups[node], switch, point))
            continue
        note = plain(graph.systems.get(node, ""))
        text, target = note or _COLOURS[kinds[node]][0], targets[node]
        parts += [
            f'<a href="{html.escape(target)}">' if target else "<g>",
            f"<title>{html.escape(f'{_name(node)} {note}'.strip())}</title>",
            *_box(point, _BOX, f"tw-{kinds[node]}", names[_name(node)], text),
            "</a>" if target else "</g>",
        ]
        if switch is not None:
            beside = (point[0] + _BOX[0] + _GAP, point[1])
            said = f"{_sign(switch)} {switch.below:,}"
            parts += [
                _opened(switch, f"{said} below {_name(node)}"),
                *_box(beside, _SWITCH, "tw-component", said, ""),
                "</a>",
            ]
    return "\n".join([*parts, "</g></svg>", ""])


def _edges(graph: Graph, position: dict[str, tuple[int, int]]) -> Iterator[str]:
    """Draw a line from each node to each of its children."""
    for parent, below in sorted(graph.children.items()):
        if parent not in position:
            continue
        x1, y1 = position[parent]
        for child in below:
            x2, y2 = position[child]
            down = y2 > y1
            yield (
                f'<path class="tw-edge" d="M{x1 + 14} {y1 + (_BOX[1] if down else 0)} '
                f'V{y2 + _BOX[1] // 2} H{x2}" fill="none"/>'
            )


def _group(group: NodeGroup, switch: Switch | None, place: tuple[int, int]) -> str:
    """Return the box of a group, which is its own switch."""
    kind = _COLOURS[group.kind][0]
    sign = f"{_sign(switch)} " if switch is not None else ""
    # the accessible name begins with the visible text
    said = f"{sign}{group.text} {kind}"
    return "\n".join([
        _opened(switch, said) if switch is not None else "<g>",
        f"<title>{said}</title>",
        *_box(place, _BOX, f"tw-group tw-{group.kind}", f"{sign}{group.text}", kind),
        "</a>" if switch is not None else "</g>",
    ])  # fmt: skip


def _sign(switch: Switch) -> str:
    return "\N{MINUS SIGN}" if switch.open else "+"


def _opened(switch: Switch, said: str) -> str:
    """Return the beginning of the link that folds and unfolds."""
    return (
        f'<a id="fold-{switch.key}" data-fold="" href="{html.escape(switch.address)}" '
        f'aria-expanded="{str(switch.open).lower()}" aria-label="{html.escape(said)}">'
    )


def _box(
    place: tuple[int, int], size: tuple[int, int], kind: str, name: str, note: str
) -> Iterator[str]:
    """Yield a box with a name, and its kind below."""
    (x, y), (width, height) = place, size
    yield f'<rect class="tw-box {kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>'
    down = 18 if note else (height + 10) // 2
    yield f'<text class="tw-name" x="{x + 10}" y="{y + down}">{html.escape(name)}</text>'
    if note:
        yield (
            f'<text class="tw-note" font-size="11" x="{x + 10}" y="{y + 34}">'
            f"{html.escape(note)}</text>"
        )


def kind_of(graph: Graph, node: str) -> str:
    """Return what a node is: a key of the legend.

    Args:
        graph: The graph.
        node: One of its nodes.
    """
    if node in graph.groups:
        return graph.groups[node].kind
    if node == graph.root:
        return "root"
    if node not in graph.systems:
        return "component"
    exposure = graph.systems[node].partition(" ")[0]
    return exposure if exposure in _COLOURS else "delivered"


def _legend(kinds: Iterable[str]) -> Iterator[str]:
    """Yield a box and a name for each kind that is drawn."""
    for at, kind in enumerate(kinds):
        x = _MARGIN + at * 118
        yield (
            f'<g><rect class="tw-box tw-{kind}" x="{x}" y="{_MARGIN}" width="16" height="16" '
            f'rx="3"/><text class="tw-name" font-size="12" x="{x + 22}" y="{_MARGIN + 12}">'
            f"{_COLOURS[kind][0]}</text></g>"
        )
