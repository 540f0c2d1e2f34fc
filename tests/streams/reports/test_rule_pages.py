"""The reference of the rules is what is generated from them, whole and readable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agents.domain.rules import all_rules, families
from streams.reports import rule_pages
from streams.reports.rule_pages import UnnamedFamilyError, write_pages

DOCS = Path(__file__).resolve().parents[3] / "docs" / "rules"


def test_the_pages_are_current() -> None:
    pages = rule_pages.rule_pages()
    assert {path.name for path in DOCS.iterdir()} == set(pages)
    for name, text in pages.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, f"{name}: run make docs"


def test_every_rule_has_a_section_and_every_link_of_the_index_leads_to_one() -> None:
    pages = rule_pages.rule_pages()
    sections = {
        f"{name}#{found.lower()}"
        for name, text in pages.items()
        for found in re.findall(r"^## (TW-\S+)$", text, re.MULTILINE)
    }
    assert len(sections) == len(all_rules())
    linked = re.findall(r"\]\(([\w-]+\.md#[\w-]+)\)", pages["README.md"])
    assert set(linked) == sections


def test_a_family_without_a_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(rule_pages.FAMILIES, families()[0])  # type: ignore[arg-type]
    with pytest.raises(UnnamedFamilyError, match=families()[0]):
        rule_pages.rule_pages()


def test_pages_of_families_that_are_gone_are_removed(tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("# gone\n")
    (tmp_path / "kept.txt").write_text("not a page\n")
    write_pages(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*rule_pages.rule_pages(), "kept.txt"}


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("CWE-502", "[CWE-502](https://cwe.mitre.org/data/definitions/502.html)"),
        ("PEP 740", "[PEP 740](https://peps.python.org/pep-0740/)"),
        ("arXiv:2302.10149", "[arXiv:2302.10149](https://arxiv.org/abs/2302.10149)"),
        ("https://slsa.dev/", "<https://slsa.dev/>"),
    ],
)
def test_a_reference_is_a_link(reference: str, shown: str) -> None:
    assert rule_pages._reference(reference) == shown
