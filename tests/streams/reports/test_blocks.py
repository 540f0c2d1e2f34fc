"""Reports in Markdown and HTML: inert, whole, and readable at any width."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from streams.reports.blocks import (
    Bullets,
    Heading,
    Paragraph,
    Picture,
    Report,
    Steps,
    Table,
    escaped,
    to_html,
    to_markdown,
)

DIGEST = "9f2b1c7e4d5a60718293a4b5c6d7e8f90123456789abcdef0123456789abcdef"
REPORT = Report(
    title="A title",
    marking="TLP:AMBER",
    blocks=(
        Heading("Scope"),
        Paragraph("1. no list", "What happened"),
        Table(
            ("when", "what"),
            (("2026-11-20 08:15", (f"sha256:{DIGEST}", "and")),),
            frozenset({"when"}),
        ),
        Bullets(("one", "- two"), ordered=True),
        Picture("a\n└─ ```b", "<svg></svg>"),
    ),
)


class Text(HTMLParser):
    """The text of a page, without that of its style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.quiet = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 -- its signature
        self.quiet = tag == "style"

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 -- its signature
        self.quiet = False

    def handle_data(self, data: str) -> None:
        if not self.quiet:
            self.text += data


def test_markdown_reads_as_it_was_meant() -> None:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(to_markdown(REPORT))
    kinds = [token.type for token in tokens]
    assert kinds.count("table_open") == 1
    assert kinds.count("ordered_list_open") == 1
    assert "bullet_list_open" not in kinds
    assert kinds.count("fence") == 1
    inline = [token.content for token in tokens if token.type == "inline"]
    assert "1\\. no list" in next(text for text in inline if "What happened" in text)


@pytest.mark.parametrize("text", ["1. one", "- one", "+ one", "12) one", "  - one"])
def test_no_text_begins_a_list(text: str) -> None:
    kinds = {
        token.type for token in MarkdownIt("gfm-like", {"linkify": False}).parse(escaped(text))
    }
    assert not kinds & {"ordered_list_open", "bullet_list_open"}


def test_a_command_line_can_be_copied_whole_and_runs_nothing_into_the_text() -> None:
    line = 'tidewatch incidents assign inc-1 WHO --reason "WHY"'
    report = Report("t", "m", (Steps((("Assign it", line), ("Wait", ""))),))
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(to_markdown(report))
    (steps,) = [
        token for token in tokens if token.type == "inline" and "Assign it" in token.content
    ]
    assert [child.content for child in steps.children or () if child.type == "code_inline"] == [
        line
    ]
    page = to_html(report)
    (shown,) = re.findall("<kbd>.*?</kbd>", page)
    assert Text(shown).text == line
    assert "<span>--reason</span>" in shown, "no line ends within a word of it"
    hostile = Report("t", "m", (Steps((("a", "b`<img>` ![c](d)"),)),))
    for text in (
        to_html(hostile),
        MarkdownIt("gfm-like", {"linkify": False}).render(to_markdown(hostile)),
    ):
        assert "<img" not in text


def test_a_picture_is_whole_on_a_screen_and_in_strips_on_paper() -> None:
    whole, strips = '<svg><g id="d"/></svg>', ('<svg><use href="#d"/></svg>', "<svg></svg>")
    page = to_html(Report("t", "m", (Picture("a", whole, strips),)))
    assert f'<div class="picture screen">{whole}</div>' in page
    assert f'<div class="paper" aria-hidden="true">{"".join(strips)}</div>' in page
    style, _, print_style = page.partition("@media print")
    assert ".paper{display:none}" in style
    assert ".screen{display:none}.paper{display:block" in print_style


def test_a_key_can_be_copied_whole_from_where_it_is_broken() -> None:
    page = to_html(REPORT)
    assert f"sha256:{DIGEST}" in Text(page).text
    assert DIGEST not in page, "a narrow column breaks it"
    longest = max(re.split(r"<[^>]+>|\s", page.partition("</style>")[2]), key=len)
    assert len(longest) <= 24


def test_times_are_not_broken_and_each_cell_knows_its_column() -> None:
    page = to_html(REPORT)
    assert '<td class="whole" data-name="when">2026-11-20 08:15</td>' in page
    assert 'data-name="what"' in page


def test_a_page_has_a_look_for_print_for_dark_and_for_narrow_screens() -> None:
    page = to_html(REPORT)
    for part in ("@media print", "prefers-color-scheme:dark", "max-width:48rem", "<svg>"):
        assert part in page
    assert "http" not in page
