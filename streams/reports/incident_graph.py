"""Draw the propagation of an incident: a tree for the terminal, Graphviz, SVG."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from agents.triage.ledger.rows import EXPOSURE_RANK
from schemas.incidents.views import IncidentDocument, SystemView
from streams.cli.output import plain


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """The components and systems of an incident, and the edges between them."""

    root: str
    children: dict[str, tuple[str, ...]]
    systems: dict[str, str]
    """Description of each system, by its node."""


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
    farthest = max((view.exposure for view in views), key=lambda name: EXPOSURE_RANK[name])
    return f"{farthest} since {min(view.since for view in views):%Y-%m-%d %H:%M}"


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
        lines.append(f"{indent}{branch}{plain(node)}{note}")
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


_COLUMN = 360
_ROW = 44
_BOX = (320, 30)


def svg(graph: Graph) -> str:
    """Return the graph as an SVG image with a column for each step from the root."""
    position: dict[str, tuple[int, int]] = {}
    row = 0
    for depth, node, _ in _walk(graph):
        if node not in position:
            position[node] = (20 + depth * _COLUMN, 20 + row * _ROW)
            row += 1
    width = max((x for x, _ in position.values()), default=0) + _BOX[0] + 20
    height = max((y for _, y in position.values()), default=0) + _BOX[1] + 20
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            'font-family="sans-serif" font-size="12">'
        )
    ]
    for parent, below in sorted(graph.children.items()):
        if parent not in position:
            continue
        x1, y1 = position[parent]
        for child in below:
            x2, y2 = position[child]
            parts.append(
                f'<path d="M{x1 + _BOX[0]} {y1 + _BOX[1] // 2} L{x2} {y2 + _BOX[1] // 2}" '
                'stroke="#888" fill="none"/>'
            )
    for node, (x, y) in position.items():
        fill = "#f4c7c3" if node == graph.root else "#e8f0fe" if node in graph.systems else "#fff"
        note = html.escape(plain(graph.systems.get(node, "")))
        parts.append(
            f"<g><title>{html.escape(plain(node))} {note}"
            f'</title><rect x="{x}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="4" '
            f'fill="{fill}" stroke="#555"/><text x="{x + 8}" y="{y + 20}">'
            f"{html.escape(plain(node, 46))}</text></g>"
        )
    return "\n".join([*parts, "</svg>", ""])
