"""Folds the graph of an incident: groups of similar nodes, and subtrees."""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import Final

import msgspec

from schemas.counting import counted
from streams.reports.incident_graph import Graph, NodeGroup, Switch, descendants, kind_of

GROUP_OF: Final = 4
"""The least number of nodes of one kind below one node that form a group."""
GROUP_SHOWN: Final = 8
"""The most nodes of a group that is unfolded by default."""
MOST_TURNED: Final = 60
"""The most nodes that a folding names, since it is part of a URL."""
_KEY: Final = 10
MOST_FOLDED: Final = MOST_TURNED * (_KEY + 1)
"""The most characters of the toggled nodes in a URL."""


class Fold(StrEnum):
    """What is folded by default."""

    LARGE = "large"
    """Groups of more than `GROUP_SHOWN`."""
    ALL = "all"
    NOTHING = "nothing"


class Folding(msgspec.Struct, frozen=True):
    """What a reader folded and unfolded."""

    fold: Fold = Fold.LARGE
    turned: frozenset[str] = frozenset()
    """The keys of the nodes that differ from the default."""

    def turn(self, key: str) -> Folding:
        """Return the folding with one node toggled.

        Args:
            key: The node's key.
        """
        turned = self.turned ^ {key}
        return self if len(turned) > MOST_TURNED else msgspec.structs.replace(self, turned=turned)


class Folded(msgspec.Struct, frozen=True):
    """A graph with folded parts."""

    graph: Graph
    switches: dict[str, Switch]
    """By node: a group, or a node with others below it."""


def folding_of(fold: str, turned: str) -> Folding:
    """Return the folding that a URL states; invalid parts are ignored.

    Args:
        fold: What is folded by default.
        turned: Keys with full stops between.
    """
    keys = [key for key in turned.split(".") if len(key) == _KEY and key.isalnum()]
    chosen = Fold(fold) if fold in set(Fold) else Fold.LARGE
    return Folding(chosen, frozenset(keys[:MOST_TURNED]))


def folded(graph: Graph, folding: Folding) -> Folded:
    """Return a graph without its folded parts.

    Nodes of one kind below one node are a group, if there are `GROUP_OF` or more: a node of its own
    between them. Nothing above the root folds, and what is below several nodes is shown as long as
    one of them is unfolded.

    Args:
        graph: The graph.
        folding: What is folded.
    """
    grouped = _grouped(graph)
    switches = {
        node: _switch(grouped, node, folding)
        for node in grouped.children
        if node != grouped.root and grouped.children[node]
    }
    children = {
        node: below
        for node, below in grouped.children.items()
        if node not in switches or switches[node].open
    }
    return Folded(msgspec.structs.replace(grouped, children=children), switches)


def _grouped(graph: Graph) -> Graph:
    """Return a graph with a node for each group."""
    children = dict(graph.children)
    groups: dict[str, NodeGroup] = {}
    known = {graph.root, *graph.children, *(node for all_ in children.values() for node in all_)}
    for parent, below in graph.children.items():
        kinds: dict[str, list[str]] = {}
        for node in below:
            kinds.setdefault(kind_of(graph, node), []).append(node)
        placed: list[str] = []
        for kind, alike in kinds.items():
            if len(alike) < GROUP_OF:
                placed += alike
                continue
            node = f"{kind} below {parent}"
            while node in known:  # an event may name anything
                node += "\0"
            what = "system" if alike[0] in graph.systems else "component"
            groups[node] = NodeGroup(kind, counted(len(alike), what))
            children[node] = tuple(alike)
            placed.append(node)
        children[parent] = tuple(placed)
    return msgspec.structs.replace(graph, children=children, groups=groups)


def _switch(graph: Graph, node: str, folding: Folding) -> Switch:
    key = sha256(node.encode("utf-8", "replace")).hexdigest()[:_KEY]
    group = node in graph.groups
    below = len(graph.children[node]) if group else len(descendants(graph, node))
    match folding.fold:
        case Fold.ALL:
            shown = False
        case Fold.NOTHING:
            shown = True
        case Fold.LARGE:
            shown = not group or below <= GROUP_SHOWN
    return Switch(key, shown != (key in folding.turned), below)
