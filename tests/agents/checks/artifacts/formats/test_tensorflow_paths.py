"""Files that a graph's caller names are told from those that the graph itself chooses."""
# ruff: noqa: E501 -- a table reads best with an entry a line

from __future__ import annotations

import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.formats import tensorflow_paths
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.corpus.wire import field, message, saved_model, tf_graph, tf_text
from tests.each import each


def node(operator, name, *inputs, calls=None):
    attributes = []
    if calls:
        attributes = [(5, message((1, "f"), (2, field(10, message((1, calls))))))]
    return message((1, name), (2, operator), *((3, each) for each in inputs), *attributes)


def function(name, arguments, results, *nodes):
    signature = message(
        (1, name),
        *((2, message((1, each))) for each in arguments),
        *((3, message((1, each))) for each in results),
    )
    returns = [(4, message((1, each), (2, source))) for each, source in results.items()]
    return message((1, signature), *((3, each) for each in nodes), *returns)


def scanned(*nodes, functions=None):
    raw = saved_model(tf_graph(*nodes, functions=functions))
    return scan_source("saved_model.pb", BytesSource(raw), frozenset())


READ = node("ReadFile", "read", "path")
DECODE = function("decode", ["path", "weights"], {"image": "read:contents:0"}, READ)
INNER = function(
    "inner", ["path"], {"out": "image:0"}, node("PartitionedCall", "image", "path", calls="decode")
)
GIVEN = node("Placeholder", "given")
SECRET = tf_text("secret", "notes/of/the/host.txt")
WEIGHTS = node("VarHandleOp", "weights")


@each(
    ("nodes", "functions"),
    [
        ((GIVEN, node("ReadFile", "read", "given")), None),
        ((GIVEN, node("Reshape", "flat", "given:0", "shape"), node("Const", "shape"),
          node("ReadFile", "read", "flat", "^secret"), SECRET), None),
        ((GIVEN, WEIGHTS, node("PartitionedCall", "c", "given", "weights", calls="decode")), [DECODE]),
        ((GIVEN, node("PartitionedCall", "c", "given", calls="inner")), [INNER, DECODE]),
        ((node("NoOp", "nothing"),), [DECODE]),  # called by name
        ((GIVEN, SECRET, node("If", "c", "secret", "given", "given", calls="decode")), [DECODE]),
    ],
)  # fmt: skip
def test_a_file_that_the_caller_names_is_no_choice_of_the_graph(nodes, functions):
    report = scanned(*nodes, functions=functions)
    assert report.verdict is Verdict.CLEAN
    assert {found.rule_id for found in report.detections} == {"TW-MODEL-TF-READS"}


LOOP = function("body", ["path"], {"next": "other:output:0"}, READ, tf_text("other", "a.txt"))


@each(
    ("nodes", "functions"),
    [
        ((SECRET, node("ReadFile", "read", "secret")), None),
        ((GIVEN, node("ReadFile", "read")), None),
        ((GIVEN, node("ReadFile", "read", "nowhere")), None),
        ((GIVEN, SECRET, node("StringJoin", "j", "secret", "given"), node("ReadFile", "r", "j")), None),
        ((GIVEN, node("UnicodeEncode", "u", "n"), node("Const", "n"), node("ReadFile", "r", "u")), None),
        ((GIVEN, SECRET, node("PartitionedCall", "c", "secret", "given", calls="decode")), [DECODE]),
        ((GIVEN, SECRET, node("MapDataset", "m", "given", "secret", calls="decode")), [DECODE]),
        ((SECRET, node("PartitionedCall", "c", "secret", calls="inner")), [INNER, DECODE]),
        ((GIVEN, node("While", "w", "given", calls="body")), [LOOP]),
        ((GIVEN, node("ReadFile", "r", "p:0"), node("PartitionedCall", "p", "given", calls="f")),
         [function("f", ["x"], {"y": "s:output:0"}, tf_text("s", "a.txt"))]),
        ((GIVEN, node("ReadFile", "a", "given"), SECRET, node("ReadFile", "b", "secret")), None),
        ((GIVEN, message((1, "given"), (2, "Const"), (5, message((1, "value"), (2, field(8, message((1, 7), (8, "a.txt"))))))),
          node("ReadFile", "a", "given")), None),
    ],
)  # fmt: skip
def test_a_file_that_the_graph_chooses_is_reported_as_before(nodes, functions):
    report = scanned(*nodes, functions=functions)
    assert report.verdict is Verdict.MALICIOUS
    assert "TW-MODEL-TF-EXECUTES" in {found.rule_id for found in report.detections}


def test_in_a_graph_of_too_many_nodes_no_file_is_the_callers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tensorflow_paths, "_MOST_NODES", 1)
    assert scanned(GIVEN, node("ReadFile", "r", "given")).verdict is Verdict.MALICIOUS
