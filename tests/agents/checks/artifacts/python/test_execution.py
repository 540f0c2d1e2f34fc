"""Each call of a module is placed where it runs, whatever surrounds it."""

from __future__ import annotations

import ast

from agents.checks.artifacts.python.execution import FUNCTION, IMPORTED, MAIN, METHOD, Placement
from agents.checks.artifacts.python.tree import ModuleTree

SOURCE = """
a()
@b()
def function(x=c()):
    d()
    def inner(): e()
    class Local:
        f()
        def method(self): g()
    h()
lambda x=i(): j()
class Some(k()):
    l()
    def method(self, y=m()):
        n()
        def inner(): o()
        if __name__ == "__main__": p()
        q()
    if __name__ == "__main__":
        r()
        def guarded(self): s()
    else:
        def other(self): t()
    if x:
        def conditional(self): u()
    v()
if __name__ == "__main__" and w():
    x()
    class Main:
        def method(self): y()
else:
    z()
def called(): A()
B()
"""
WHERE = {
    IMPORTED: "abcijklmvzAB",
    FUNCTION: "defhu",
    METHOD: "gnoqt",
    MAIN: "prsxy",
}


def test_each_call_is_placed_where_it_runs() -> None:
    tree = ModuleTree(ast.parse(SOURCE))
    placed = Placement(tree, set(tree.of(ast.Call))).nodes({"called"})
    found: dict[str, str] = {}
    for node, where in placed:
        assert isinstance(node, ast.Call)
        assert isinstance(node.func, ast.Name)
        found[node.func.id] = where
    expected = {name: where for where, names in WHERE.items() for name in names}
    assert found == expected
