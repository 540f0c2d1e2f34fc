"""Links of HTML pages, including hostile ones."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from streams.index.anchors import anchors_of

MOST = 1000
SIZE = 1_000_000


class Peer(HTMLParser):
    """Reads links as installers do."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[dict[str, str | None], list[str]]] = []
        self.is_open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links.append((dict(attrs), []))
            self.is_open = True

    def handle_data(self, data: str) -> None:
        if self.is_open:
            self.links[-1][1].append(data)

    def handle_endtag(self, tag: str) -> None:
        self.is_open = self.is_open and tag != "a"


def read(text: str) -> list[tuple[dict[str, str | None], str]]:
    return [(link.attributes, "".join(link.texts)) for link in anchors_of(text, MOST).links]


@pytest.mark.parametrize(
    "page",
    [
        '<!DOCTYPE html><html><body><a href="x">x-1.tar.gz</a><br/>\n<A HREF=y>y</A></body>',
        "<a href='x&amp;y' data-yanked data-requires-python='&gt;=3'>a &lt; b</a>",
        '<a href = "x"\n class="a b" href2=z/>text <b>bold</b> more</a> outside',
        '<a href="x">one<a href="y">two</a>',
        '<!-- <a href="no">no</a> --><a href="x">x<!-- no --></a>',
        '<script>"<a href=no>no</a>"</script><a href="x">x</a>',
        '<abbr href="no">no</abbr><a>without</a><a href>empty</a>',
        '<a href="a>b">x</a> 1 < 2 <3 <a href="y">y</a>',
        "<?xml version='1.0'?><a href=x>x</a>",
    ],
)
def test_a_page_is_read_as_installers_read_it(page: str) -> None:
    peer = Peer()
    peer.feed(page)
    peer.close()
    assert read(page) == [(attributes, "".join(texts)) for attributes, texts in peer.links]
    assert read(page), "it has a link"


def test_base_is_the_first_and_links_end_at_the_most() -> None:
    page = '<base href="https://one.example/"><base href="https://two.example/">' + "<a>x</a>" * 9
    found = anchors_of(page, 4)
    assert found.base == "https://one.example/"
    assert [link.texts for link in found.links] == [["x"]] * 4


@pytest.mark.parametrize(
    "unit",
    ["<", "<!--", "<!--x>", "<![CDATA[", "<a ", '<a x="', "<a x='>", "<a\n", "</", "<?", "<script>",
     "<base href='", "<a x=", "&", "<a" + " " * 100],
)  # fmt: skip
def test_unterminated_markup_is_searched_once(unit: str) -> None:
    # at a cost that grows with the square of the length this would not end
    page = '<a href="first">first</a>' + unit * (SIZE // len(unit))
    assert read(page)[0] == ({"href": "first"}, "first")
