"""What is folded of a graph is counted, and nothing else is missing from it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.reports.graph_folding import (
    GROUP_OF,
    GROUP_SHOWN,
    MOST_TURNED,
    Fold,
    Folding,
    folded,
    folding_of,
)
from streams.reports.incident_graph import Graph, descendants, svg

NOTHING = Folding(Fold.NOTHING)


def spread(serving: int, staged: int = 0) -> Graph:
    """Return a graph of one model that was made from the root, and its systems."""
    systems = {f"acme / s-{number:03}": "serving since 2026" for number in range(serving)}
    systems |= {f"acme / t-{number:03}": "staged since 2026" for number in range(staged)}
    return Graph(
        root="model:hub/base",
        children={"model:hub/base": ("model:hub/tuned",), "model:hub/tuned": tuple(systems)},
        systems=systems,
    )


def shown(graph: Graph) -> set[str]:
    """Return the nodes that are drawn, without groups."""
    return descendants(graph, graph.root)


def group_of(made) -> str:
    (node,) = made.graph.groups
    return node


def test_a_large_group_is_folded_and_says_how_many_it_is():
    graph = spread(GROUP_SHOWN + 1, staged=2)
    made = folded(graph, Folding())
    assert shown(made.graph) == {"model:hub/tuned", "acme / t-000", "acme / t-001"}
    group = group_of(made)
    assert made.graph.groups[group].text == f"{GROUP_SHOWN + 1} systems"
    assert not made.switches[group].open
    assert made.switches[group].below == GROUP_SHOWN + 1
    assert made.switches["model:hub/tuned"].below == GROUP_SHOWN + 3


def test_a_small_group_is_shown_and_can_be_folded():
    graph = spread(GROUP_OF)
    made = folded(graph, Folding())
    assert shown(made.graph) == shown(graph)
    key = made.switches[group_of(made)].key
    again = folded(graph, Folding().turn(key))
    assert shown(again.graph) == {"model:hub/tuned"}
    assert folded(graph, Folding().turn(key).turn(key)) == made


def test_few_are_no_group():
    made = folded(spread(GROUP_OF - 1), Folding())
    assert not made.graph.groups
    assert list(made.switches) == ["model:hub/tuned"]


def test_all_and_nothing():
    graph = spread(30, staged=9)
    assert shown(folded(graph, Folding(Fold.ALL)).graph) == {"model:hub/tuned"}
    assert shown(folded(graph, NOTHING).graph) == shown(graph)
    key = folded(graph, NOTHING).switches["model:hub/tuned"].key
    opened = folded(graph, Folding(Fold.ALL, frozenset({key})))
    assert len(opened.graph.groups) == 2
    assert shown(opened.graph) == {"model:hub/tuned"}


def test_what_is_below_two_is_there_as_long_as_one_is_unfolded():
    graph = Graph(root="r", children={"r": ("a", "b"), "a": ("c",), "b": ("c",)}, systems={})
    keys = {node: switch.key for node, switch in folded(graph, NOTHING).switches.items()}
    assert shown(folded(graph, Folding(turned=frozenset({keys["a"]}))).graph) == {"a", "b", "c"}
    assert shown(folded(graph, Folding(turned=frozenset(keys.values()))).graph) == {"a", "b"}


def test_an_event_that_names_a_node_like_a_group_hides_nothing():
    named = "component below r"
    graph = Graph(root="r", children={"r": ("a", "b", "c", "d"), "a": (named,)}, systems={})
    made = folded(graph, NOTHING)
    assert shown(made.graph) == {"a", "b", "c", "d", named}
    assert group_of(made) != named


@dataclass
class Drawn:
    links: dict[str, ET.Element]
    text: str


def drawn(graph: Graph, folding: Folding) -> Drawn:
    made = folded(graph, folding)
    picture = ET.fromstring(svg(made.graph, switches=made.switches))
    found = picture.iter("{http://www.w3.org/2000/svg}a")
    return Drawn({verdict.attrib["id"]: verdict for verdict in found}, "".join(picture.itertext()))


def test_the_drawing_has_a_switch_for_what_folds():
    graph = spread(GROUP_SHOWN + 1)
    made = folded(graph, Folding())
    picture = drawn(graph, Folding())
    assert set(picture.links) == {f"fold-{switch.key}" for switch in made.switches.values()}
    group = picture.links[f"fold-{made.switches[group_of(made)].key}"]
    assert group.attrib["aria-expanded"] == "false"
    assert group.attrib["aria-label"] == f"+ {GROUP_SHOWN + 1} systems serving"
    assert "s-000" not in picture.text
    assert "s-000" in drawn(graph, NOTHING).text


@pytest.mark.parametrize("hostile", ['"><script>alert(1)</script>', "\x00\x1b[2J", "a\u202eb"])
def test_what_an_event_named_becomes_no_markup(hostile):
    names = tuple(f"{hostile}{number}" for number in range(GROUP_OF))
    graph = Graph(root="r", children={"r": (hostile,), hostile: names}, systems={})
    text = svg(folded(graph, NOTHING).graph, switches=folded(graph, NOTHING).switches)
    kinds = {element.tag.rpartition("}")[2] for element in ET.fromstring(text).iter()}
    assert kinds == {"svg", "style", "path", "g", "title", "rect", "text", "a"}
    assert "\x1b" not in text


def test_an_address_says_what_is_folded_and_nothing_else():
    keys = [f"{number:010x}" for number in range(MOST_TURNED + 5)]
    assert folding_of("all", ".".join(keys[:2])) == Folding(Fold.ALL, frozenset(keys[:2]))
    assert folding_of("sideways", "<b>.." + keys[0]) == Folding(turned=frozenset(keys[:1]))
    full = folding_of("", ".".join(keys))
    assert len(full.turned) == MOST_TURNED
    assert full.turn(keys[-1]) == full
    assert len(full.turn(next(iter(full.turned))).turned) == MOST_TURNED - 1


NODES = st.integers(0, 12).map("n{}".format)
GRAPHS = st.builds(
    lambda edges, systems: Graph(root="n0", children=edges, systems=dict.fromkeys(systems, "x y")),
    st.dictionaries(NODES, st.lists(NODES, max_size=9, unique=True).map(tuple), max_size=8),
    st.sets(NODES),
)


@given(GRAPHS, st.sampled_from(Fold), st.data())
def test_nothing_but_what_is_folded_is_missing(graph, fold, data):
    switches = folded(graph, Folding(fold)).switches
    turned = data.draw(st.sets(st.sampled_from(sorted(switches)))) if switches else set()
    made = folded(graph, Folding(fold, frozenset(switches[node].key for node in turned)))
    there = shown(made.graph) | made.graph.groups.keys() | {graph.root}
    closed = {node for node in there if node in made.switches and not made.switches[node].open}
    hidden = shown(graph) - there
    assert hidden <= {key for node in closed for key in descendants(grouped(graph), node)}
    assert shown(folded(graph, NOTHING).graph) == shown(graph)
    ET.fromstring(svg(made.graph, switches=made.switches))


def grouped(graph: Graph) -> Graph:
    """Return a graph with its groups, all unfolded."""
    return folded(graph, NOTHING).graph
