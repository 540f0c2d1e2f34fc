"""Decides whether a graph of TensorFlow reads only files that its caller names.

A graph that decodes an image from a path given as its input is ordinary; one that reads a file of
its own choice is not. What can't be traced to an input, through operators that only pass texts on,
is the graph's own choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from agents.checks.artifacts.readers.protobuf import ProtobufMessage, walk
from agents.checks.artifacts.readers.window import Window
from agents.checks.artifacts.scanning import Scan

READ_FILE: Final = "ReadFile"
_INPUTS: Final = frozenset({"Placeholder", "PlaceholderV2"})
_CALLS: Final = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_LOOPS: Final = frozenset({"While", "StatelessWhile"})
_BRANCHES: Final = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})
_CONTROL: Final = _CALLS | _LOOPS | _BRANCHES
"""Operators that call a function with their inputs, the last of which are its arguments."""
_PASSING: Final = frozenset(
    {"BroadcastTo", "ConcatV2", "EnsureShape", "ExpandDims", "Gather", "GatherV2", "Identity",
     "IdentityN", "Pack", "PlaceholderWithDefault", "PreventGradient", "Reshape", "Slice",
     "Squeeze",
     "StopGradient", "StridedSlice", "StringStrip", "TensorListFromTensor", "TensorListGetItem",
     "TensorListStack", "Tile", "Transpose", "Unpack"}
)  # fmt: skip
"""Operators whose texts are those of their inputs."""
_MOST_NODES: Final = 200_000
"""Nodes of a graph that are traced; in a larger one nothing is taken for the caller's."""
_STRING_TENSOR: Final = 7
_OF_FUNCTIONS: Final[Mapping[str, Mapping[int, str]]] = {
    "Signature": {1: "text", 2: "Argument", 3: "Result"},
    "Argument": {1: "text"},
    "Result": {1: "text"},
    "Function": {1: "Signature", 3: "Node", 4: "Return"},
    "Return": {1: "text", 2: "text"},
}
"""function.proto and op_def.proto: what a function takes and returns."""


class _Node(msgspec.Struct):
    """One operator of a graph or function."""

    operator: str
    inputs: list[str]
    """Without those that only order two operators."""
    functions: set[str] = msgspec.field(default_factory=set)
    text: bool = False
    """Whether it holds a constant text."""


class _Scope(msgspec.Struct):
    """The nodes of a graph, or of one function."""

    end: int
    function: bool
    name: str = ""
    arguments: list[str] = msgspec.field(default_factory=list)
    results: list[str] = msgspec.field(default_factory=list)
    returns: dict[str, str] = msgspec.field(default_factory=dict)
    """The node of each result."""
    nodes: dict[str, list[_Node]] = msgspec.field(default_factory=dict)

    def result(self, index: int) -> list[str]:
        """Return the node of a result; all nodes of results if there is no such one."""
        if index < len(self.results) and self.results[index] in self.returns:
            return [self.returns[self.results[index]]]
        return list(self.returns.values())


def reads_only_given(scan: Scan, window: Window, schema: Mapping[Any, Any], root: str) -> bool:
    """Return whether the path of each file that a graph reads is an input of the graph.

    Args:
        scan: Its budget is spent.
        window: The bytes.
        schema: Of the graph's messages.
        root: The outermost message.
    """
    scopes = _scopes(walk(scan, window, {**schema, **_OF_FUNCTIONS}, root))
    trace = _Trace(scan, scopes or [])
    return scopes is not None and all(
        trace.is_given(scope, node)
        for scope in scopes
        for nodes in scope.nodes.values()
        for node in nodes
        if node.operator == READ_FILE
    )


def _scopes(messages: Iterable[ProtobufMessage[str]]) -> list[_Scope] | None:
    """Return the graphs and functions with their nodes; None if there are too many nodes."""
    around: list[_Scope] = []
    found: list[_Scope] = []
    node, node_end = _Node("", []), 0
    count = 0
    for message in messages:
        while around and message.start >= around[-1].end:
            around.pop()
        within = message.start < node_end
        if message.kind in {"Graph", "Function"}:
            around.append(_Scope(message.end, message.kind == "Function"))
            found.append(around[-1])
        elif not around:
            continue
        elif message.kind == "Signature":
            around[-1].name = message.text(1)
        elif message.kind == "Argument":
            around[-1].arguments.append(message.text(1))
        elif message.kind == "Result":
            around[-1].results.append(message.text(1))
        elif message.kind == "Return":
            around[-1].returns[message.text(1)] = _node_of(message.text(2))
        elif message.kind == "Node":
            count += 1
            if count > _MOST_NODES:
                return None
            inputs = [_node_of(name) for name in message.texts(3) if not name.startswith("^")]
            node, node_end = _Node(message.text(2), inputs), message.end
            around[-1].nodes.setdefault(message.text(1), []).append(node)
        elif message.kind == "Func" and within:
            node.functions.add(message.text(1))
        elif message.kind == "Tensor" and within and message.number(1) == _STRING_TENSOR:
            node.text |= any(end > begin for span in message.ranges.values() for begin, end in span)
    return found


def _node_of(name: str) -> str:
    """Return the node of an output: `node`, `node:0` in a graph, `node:name:0` in a function."""
    return name.partition(":")[0]


class _Trace:
    """Follows the inputs of nodes back to where they come from."""

    def __init__(self, scan: Scan, scopes: list[_Scope]) -> None:
        self._scan = scan
        self._bodies: dict[str, list[_Scope]] = {}
        """Functions by name."""
        self._callers: dict[str, list[tuple[_Scope, _Node]]] = {}
        for scope in scopes:
            if scope.function:
                self._bodies.setdefault(scope.name, []).append(scope)
            for nodes in scope.nodes.values():
                for node in nodes:
                    for name in node.functions:
                        self._callers.setdefault(name, []).append((scope, node))

    def is_given(self, scope: _Scope, reader: _Node) -> bool:
        """Return whether all that a node reads comes from the caller of the graph."""
        stack = [(scope, name) for name in reader.inputs]
        seen: set[tuple[int, str]] = set()
        while stack:
            where, name = stack.pop()
            if (id(where), name) in seen:
                continue
            seen.add((id(where), name))
            self._scan.budget.step()
            nodes = where.nodes.get(name)
            if nodes is None:
                if name not in where.arguments:
                    return False
                stack += self._outside(where, name)
            for node in nodes or ():
                if not _passes(node):
                    return False
                stack += [(where, each) for each in node.inputs]
                for function in node.functions:
                    for body in self._bodies.get(function, ()):
                        stack += [(body, each) for each in body.returns.values()]
        return bool(reader.inputs)

    def _outside(self, scope: _Scope, argument: str) -> Iterator[tuple[_Scope, str]]:
        """Yield where an argument comes from; a function without callers is called by name."""
        index = scope.arguments.index(argument)
        for outer, call in self._callers.get(scope.name, ()):
            at = index + len(call.inputs) - len(scope.arguments)
            known = call.operator in _CONTROL and at >= index
            yield from (
                (outer, each) for each in (call.inputs[at : at + 1] if known else call.inputs)
            )
            if call.operator in _LOOPS:  # the next round is given what this one returns
                for name in call.functions:
                    for body in self._bodies.get(name, ()):
                        yield from ((body, each) for each in body.result(index))


def _passes(node: _Node) -> bool:
    """Return whether a node is an input, a number, or passes on what it is given."""
    if node.operator in _INPUTS:
        return True
    if node.operator == "Const":
        return not node.text
    return bool(node.inputs) and node.operator in _PASSING | _CONTROL
