"""Writes a report of headings, paragraphs, tables, lists and a picture as Markdown and as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from streams.cli.output import plain

KEPT: Final = 400
"""Most characters of a text from an event."""
_MARKDOWN_ACTIVE: Final = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>|#&~$"})
_LINKED: Final = re.compile(r"(?<=[A-Za-z]):(?=//)|(?<=\bwww)\.", re.IGNORECASE)
"""Bare text that a renderer would turn into a link."""
_LIST_START: Final = re.compile(r"^(\s*\d*)([-+.)])(?=\s)")
_AFTER_SEPARATOR: Final = re.compile(r"(?<=[/:@_=,])(?=[^\s/])")
_WORD: Final = re.compile(r"\S{17,}")
"""A word that may be broken at its separators."""
_RUN: Final = re.compile(r"[^\s/:@_=,-]{24,}")
"""A word that is broken anywhere because it is too long, such as a digest."""
_PIECE: Final = 16
_BREAK: Final = "\0"
"""Marks where a line may break; no text contains it, since `plain` escapes control characters."""


class Heading(msgspec.Struct, frozen=True):
    """A heading below the title."""

    text: str
    level: int = 2


class Paragraph(msgspec.Struct, frozen=True):
    """A paragraph, perhaps with a label in front."""

    text: str
    label: str = ""


class Table(msgspec.Struct, frozen=True):
    """A table; a cell with several texts shows each on its own line."""

    head: tuple[str, ...]
    rows: tuple[tuple[str | tuple[str, ...], ...], ...]
    whole: frozenset[str] = frozenset()
    """Columns whose cells are never broken: times, numbers, states."""


class Bullets(msgspec.Struct, frozen=True):
    """A list."""

    items: tuple[str, ...]
    ordered: bool = False


class Steps(msgspec.Struct, frozen=True):
    """A list of steps, each with its command line, if it has one."""

    items: tuple[tuple[str, str], ...]


class Picture(msgspec.Struct, frozen=True):
    """A picture, as text and as SVG."""

    text: str
    svg: str
    strips: tuple[str, ...] = ()
    """The picture cut into a column of SVGs, between which a printed page may break."""


Block = Heading | Paragraph | Table | Bullets | Steps | Picture


class Report(msgspec.Struct, frozen=True):
    """A report: title, marking and blocks."""

    title: str
    marking: str
    blocks: tuple[Block, ...]


def escaped(value: object) -> str:
    """Return text from an event as a line of inert Markdown: no tag, image, link or code."""
    text = plain(str(value), KEPT).translate(_MARKDOWN_ACTIVE)
    return _LIST_START.sub(r"\1\\\2", _LINKED.sub(r"\\\g<0>", text))


def to_markdown(report: Report) -> str:
    """Return a report as Markdown, inert whatever its texts hold.

    Args:
        report: The report.
    """
    lines = [f"# {escaped(report.title)}", "", escaped(report.marking), ""]
    for block in report.blocks:
        lines.extend(_markdown_of(block))
    return "\n".join(lines)


def _markdown_of(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        yield f"{'#' * block.level} {escaped(block.text)}"
    elif isinstance(block, Paragraph):
        label = f"**{escaped(block.label)}.** " if block.label else ""
        yield label + escaped(block.text)
    elif isinstance(block, Table):
        yield f"| {' | '.join(block.head)} |"
        yield f"|{'---|' * len(block.head)}"
        for row in block.rows:
            yield f"| {' | '.join('; '.join(map(escaped, _parts(cell))) for cell in row)} |"
    elif isinstance(block, Bullets):
        for number, item in enumerate(block.items, 1):
            yield f"{f'{number}.' if block.ordered else '-'} {escaped(item)}"
    elif isinstance(block, Steps):
        for text, command in block.items:
            yield f"- {escaped(text)}"
            if command:
                line = plain(command, KEPT).replace("`", "'")
                yield f"  `{line}`"
    else:
        yield "```text"
        yield block.text.replace("`", "'")
        yield "```"
    yield ""


def _parts(cell: str | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(filter(None, (cell,) if isinstance(cell, str) else cell))


def to_html(report: Report) -> str:
    """Return a report as one HTML page without scripts or links, for any screen and for print.

    Args:
        report: The report.
    """
    body = "\n".join(_html_of(report.blocks))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(plain(report.title, KEPT))}</title><style>{_STYLE}</style></head>"
        f'<body><p class="marking">{_shown(report.marking)}</p><h1>{_shown(report.title)}</h1>\n'
        f"{body}\n</body></html>\n"
    )


def _html_of(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Heading):
            yield f"<h{block.level}>{_shown(block.text)}</h{block.level}>"
        elif isinstance(block, Paragraph):
            label = f"<strong>{_shown(block.label)}.</strong> " if block.label else ""
            yield f"<p>{label}{_shown(block.text)}</p>"
        elif isinstance(block, Table):
            yield from _html_table(block)
        elif isinstance(block, Bullets):
            kind = "ol" if block.ordered else "ul"
            yield f"<{kind}>{''.join(f'<li>{_shown(item)}</li>' for item in block.items)}</{kind}>"
        elif isinstance(block, Steps):
            items = (f"<li>{_shown(text)}{_command(line)}</li>" for text, line in block.items)
            yield f"<ul>{''.join(items)}</ul>"
        elif block.strips:
            yield f'<div class="picture screen">{block.svg}</div>'
            yield f'<div class="paper" aria-hidden="true">{"".join(block.strips)}</div>'
        else:
            yield f'<div class="picture">{block.svg}</div>'


def _html_table(table: Table) -> Iterator[str]:
    yield "<table><thead><tr>"
    yield "".join(f"<th>{_shown(name)}</th>" for name in table.head)
    yield "</tr></thead><tbody>"
    for row in table.rows:
        cells = []
        for name, cell in zip(table.head, row, strict=True):
            whole = name in table.whole
            write = _unbroken if whole else _shown
            texts = "<br>".join(map(write, _parts(cell)))
            kind = ' class="whole"' if whole else ""
            cells.append(f'<td{kind} data-name="{html.escape(name)}">{texts}</td>')
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table>"


def _shown(value: object) -> str:
    """Return text as HTML that may break within keys and digests."""
    text = plain(str(value), KEPT)
    text = _RUN.sub(_in_pieces, text)
    text = _WORD.sub(lambda word: _AFTER_SEPARATOR.sub(_BREAK, word[0]), text)
    return html.escape(text).replace(_BREAK, "<wbr>")


def _command(line: str) -> str:
    """Return a command line as HTML, which breaks between words only."""
    if not line:
        return ""
    words = (f"<span>{html.escape(word)}</span>" for word in plain(line, KEPT).split())
    return f"<br><kbd>{' '.join(words)}</kbd>"


def _unbroken(value: object) -> str:
    return html.escape(plain(str(value), KEPT))


def _in_pieces(run: re.Match[str]) -> str:
    text = run[0]
    return _BREAK.join(text[at : at + _PIECE] for at in range(0, len(text), _PIECE))


_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b1f24;--quiet:#59636e;--line:#d1d9e0;--page:#fff}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--quiet:#9198a1;--line:#3d444d;
--page:#0d1117}}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
color:var(--ink);background:var(--page);max-width:68rem;margin:1.5rem auto;padding:0 1rem;
overflow-wrap:break-word}
h1{font-size:1.55rem;line-height:1.25;margin:.2rem 0 1rem}
h2{font-size:1.15rem;margin:2rem 0 .5rem;padding-top:.6rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.2rem 0 .3rem}
p,ul,ol{margin:.4rem 0;max-width:52rem}
.marking{color:var(--quiet);font-size:.85rem}
table{border-collapse:collapse;width:100%;margin:.6rem 0 1rem;font-size:.86rem}
td,th{border-bottom:1px solid var(--line);padding:.35rem .6rem .35rem 0;text-align:left;
vertical-align:top}
th{color:var(--quiet);font-weight:600;white-space:nowrap}
.whole{white-space:nowrap}
kbd{font:.92em ui-monospace,"DejaVu Sans Mono",monospace}kbd span{white-space:nowrap}
li{margin:.15rem 0}.paper{display:none}
.picture{overflow-x:auto;margin:.6rem 0}.picture svg{max-width:100%;height:auto}
@media screen and (max-width:48rem){
thead{display:none}tr{display:block;padding:.5rem 0;border-bottom:1px solid var(--line)}
td{display:flow-root;border:0;padding:.1rem 0 .1rem 7.5rem;min-height:1.3em}
td::before{content:attr(data-name);float:left;margin-left:-7.5rem;width:7rem;color:var(--quiet)}
td:empty{display:none}.whole{white-space:normal}}
@media print{@page{size:A4;margin:16mm 14mm}
:root{--ink:#000;--quiet:#444;--line:#bbb;--page:#fff}
body{font-size:9.5pt;margin:0;padding:0;max-width:none}table{font-size:8pt}
h2,h3{break-after:avoid}tr,li,.picture{break-inside:avoid}thead{display:table-header-group}
.screen{display:none}.paper{display:block;margin:.6rem 0}
.paper svg{display:block;width:100%;height:auto;break-inside:avoid}}
""".replace("\n", "")
