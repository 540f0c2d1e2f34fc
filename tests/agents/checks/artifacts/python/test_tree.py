"""A module's tree yields the nodes of the interpreter's own walk that have content."""

from __future__ import annotations

import ast
import inspect
import tokenize
import typing

import pytest

from agents.checks.artifacts.python.tree import ModuleTree

EMPTY = (ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context)
ALL_KINDS = """
global_name: int = 1
def function(a, /, b: int = 1, *args, c=2, d, **more) -> None:
    global global_name
    nonlocal_ = lambda x, *, y=1: (yield x)
    for x in range(1): del x
    else: assert a, "text"
    try: raise ValueError from None
    except* ValueError as error: pass
    return {**more, 1: 2, "k": [*args]}
async def waits():
    async with a as b, c: await d
    async for x in y: continue
    return [i async for i in z if i]
class Some(Base, metaclass=Meta):
    @property
    def name(self): return f"{self.x!r:>{width}} {1}"
match value:
    case [1, *rest] | {"k": v, **others} | Some(x=1, y=None) | a.b if (n := 1): pass
    case (1 | "x") as named: x[1:2, ::3] = not -a if b and c else d < e <= f
with open("x") as x: x += 1; import os.path as p; from . import y
while {1, 2} and {a: b for a in c} and {a for b in c} and (a for b in c): break
"""


@pytest.mark.parametrize(
    "source", [ALL_KINDS, *map(inspect.getsource, (ast, tokenize, typing))], ids=lambda _: ""
)
def test_every_node_with_content_is_met_in_order(source: str) -> None:
    root = ast.parse(source)
    tree = ModuleTree(root)
    expected = [node for node in ast.walk(root) if not isinstance(node, EMPTY)]
    assert list(map(id, tree.nodes)) == list(map(id, expected))
    for node in tree.nodes:
        inner = [part for part in ast.iter_child_nodes(node) if not isinstance(part, EMPTY)]
        assert tree.children(node) == inner


def test_node_outside_the_tree_is_walked() -> None:
    made = ast.parse("f(a, b=c)").body[0]
    inner = ModuleTree(ast.parse("x")).children(made)
    assert [type(node) for node in inner] == [ast.Call]
