"""Command lines of `scan` are parsed without typer as typer parses them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from streams.cli import scan
from streams.cli.scan_run import ReportFormat, ScanOptions, plainly_asked

COMMAND = get_command(scan.app)


def read_by_typer(words: list[str]) -> ScanOptions | None:
    """Return what typer has the command asked for, None where it reports an error."""
    asked: list[ScanOptions] = []

    def note(request: ScanOptions) -> int:
        asked.append(request)
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "carry_out", note)
        with pytest.raises(SystemExit):
            COMMAND(args=list(words), prog_name="tidewatch scan")
    return asked[0] if asked else None


WORDS = st.sampled_from(
    [
        "model.pkl", "a b", "-", "--", "-q", "--quiet", "--digest", "--format", "--format=json",
        "json", "sarif", "JSON", "--fail-on", "--fail-on=high", "high", "-o", "-oreport", "-qo",
        "--output=", "--output=x=y", "-o=x", "--outpu", "out.json", "--jobs", "2", "--help", "",
        "--exclude=*.md", "-q=1", "--digest=1", "=", "--as", "requirements", "\n",
    ]
)  # fmt: skip


@given(st.lists(WORDS, max_size=6))
def test_the_usual_words_mean_what_typer_makes_of_them(words: list[str]) -> None:
    found = plainly_asked(words)
    if found is not None:
        assert found == read_by_typer(words)


def test_usual_command_lines_need_no_typer() -> None:
    assert plainly_asked(["a.pkl", "-q", "--format", "json"]) == ScanOptions(
        ("a.pkl",), form=ReportFormat.JSON, quiet=True
    )
    for words in (["m/"], ["-"], ["m", "--fail-on", "high"], ["m", "-o", "x"], ["--digest", "m"]):
        assert plainly_asked(words) is not None, words
    for words in ([], ["--help"], ["m", "--cache", "c"], ["m", "--format"], ["--format=x", "m"]):
        assert plainly_asked(words) is None, words
