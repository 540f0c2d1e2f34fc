"""The parts of large or plain documents that are skipped hold nothing that is judged."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.checks.artifacts.dispatch import dispatch
from agents.checks.artifacts.formats import targets, yaml_reader
from agents.checks.artifacts.formats.targets import leaves
from agents.checks.artifacts.scanning import Budget, BudgetExceededError, Scan

DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=30,
)


def new_scan() -> Scan:
    """Return a scan of nothing yet."""
    return Scan("x", dispatch, Budget())


@given(DOCUMENTS)
def test_the_texts_of_a_document_are_those_of_all_its_values(document: Any) -> None:
    every, alone = new_scan(), new_scan()
    texts = [found for found in leaves(every, document) if isinstance(found[2], str)]
    found = list(leaves(alone, document, texts_alone=True))
    assert [one for one in found if isinstance(one[2], str)] == texts
    assert alone.budget.steps == every.budget.steps


def test_numbers_count_behind_the_texts_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "MAX_TREE", 100)
    with pytest.raises(BudgetExceededError, match="more than 100 values"):
        list(leaves(new_scan(), ["x", *range(200)], texts_alone=True))
    seen = leaves(new_scan(), ["x", *range(200)], texts_alone=True)
    assert next(seen)[2] == "x"


PIECES = st.sampled_from(
    ["a", ": ", ":", "- ", "\n", " ", "  ", "[", "]", "{", "}", ", ", "? ", "|", ">", "---\n",
     "!!python/object:os.system ", "!x", "&a ", "*a", "${eval:1}", '"\\x24{eval:1}"', "'", '"',
     "#", "%YAML 1.1\n", "%TAG ! tag:x,2000:\n", "<<", "=", "\t", "...\n"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=40).map("".join))
def test_a_plain_text_has_no_event_that_is_judged(text: str) -> None:
    if not yaml_reader.is_plain(text):
        return
    scan = new_scan()
    try:
        yaml_reader._judge_events(scan, text)
    except yaml_reader.yaml.YAMLError:
        return  # said by whoever reads it
    assert scan.detections == []


@pytest.mark.parametrize(
    "text", ["a: !!x b", "a: &b c\nd: *b", "a: ${b}", 'a: "\\x24{eval:1}"', "- " * 200 + "a"]
)
def test_a_text_with_anything_that_events_tell_is_not_plain(text: str) -> None:
    assert yaml_reader.is_plain("a: b\nc: [1, 2]")
    assert not yaml_reader.is_plain(text)
