"""Recognises programs by their text, not their name: scripts, markup, Python, site files.

Also programs wrapped as base64 or hexadecimal text; the decoded content is scanned instead.
"""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

import ast
import base64
import binascii
import re
from typing import Final

from agents.checks.artifacts.formats.executables import has_commands, report_script, runs_unasked
from agents.checks.artifacts.formats.format import FileName, Format, Suffix, Trait, endings
from agents.checks.artifacts.formats.markup import report_markup
from agents.checks.artifacts.python.syntax import parse_source
from agents.checks.artifacts.readers.embedded import FILE_HEADS
from agents.checks.artifacts.readers.window import controls, decode_text, read_document
from agents.checks.artifacts.scanning import BytesSource, Scan, Source
from agents.domain.late_pattern import late_pattern

MAX_TEXT: Final = 4 << 20
"""Bytes of a text that may be a program; longer ones are data."""
SHELL: Final = late_pattern(
    r"(?im)^[^\S\n]*(#!|<\?php|<%[@=\s]|@echo\b|(cmd(\.exe)?\s+/[ck]|powershell(\.exe)?|pwsh)\s|"
    r"\$\w+\s*=\s*(New-Object|\[)|Set-ExecutionPolicy|Invoke-\w+|On Error Resume|"
    r"(Private |Public )?Sub \w+\(|"
    r"(sudo\s+)?(curl|wget|bash|sh|nc|ncat|python\d?|perl|ruby|php)\s+-?\S)"
)
"""A line of a program that a shell or a server runs."""
_MARKUP: Final = late_pattern(r"(?i)<(script|iframe|object|embed|hta:application|svg\s+on\w+)\b")
_PAGE: Final = late_pattern(r"(?i)\s*<(!doctype html|html|head|body|script|svg|hta:|\?php|%)")
_IMPORTS: Final = late_pattern(
    r"(?m)^[^\S\n]*(import\s+[A-Za-z_]|from\s+[A-Za-z_.]+\s+import\s)|\b__import__\s*\("
)
_CALLS: Final = late_pattern(r"(?m)^[^\S\n]*(exec|eval|print|open|os\.\w+|subprocess\.\w+)\s*\(")
_SITE: Final = late_pattern(r"(?m)^import[ \t]")
_ARMOUR: Final = late_pattern(rb"[A-Za-z0-9+/_=-]+(?:\r?\n[A-Za-z0-9+/_=-]+)*\s*")
_HEX: Final = late_pattern(rb"(?:0x)?(?:[0-9a-fA-F]{2}\s*)+")
MIN_ARMOUR: Final = 24


def _report_python(scan: Scan, text: str, key: str) -> None:
    # Imported on first use: few files need it, and it takes time in each process.
    from agents.checks.artifacts.python.code import report_python  # noqa: PLC0415

    report_python(scan, text, key)


def matches_site(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is a `.pth` file with imports, which Python runs at its start."""
    return (
        name.lower().endswith(_SITE_NAMED)
        and source.size <= MAX_TEXT
        and _is_text(head)
        and not head.startswith((b"(", b"]", b"}"))
        and (b"\n" in head or _SITE.search(head.decode("utf-8", "replace")) is not None)
        and not re.match(rb"[ci][A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n", head)
    )


def parse_site(scan: Scan, name: str, source: Source) -> None:
    """Judge the lines of a site file that Python runs at each start.

    Source: Python's `site` module.
    """
    del name
    text = decode_text(read_document(scan, source))
    for number, line in enumerate(text.splitlines(), 1):
        if _SITE.match(line):
            _report_python(scan, line, f"line {number}")


def matches_wrapped(name: FileName, head: bytes, source: Source) -> bool:
    """Return whether a file is all base64 or hexadecimal that encodes a file or a program."""
    if source.size > MAX_TEXT or source.size < MIN_ARMOUR or not _may_hide(name):
        return False
    return bool(_unwrapped(head if source.size <= len(head) else source.read(0, source.size)))


def parse_wrapped(scan: Scan, name: str, source: Source) -> None:
    """Scan the decoded text."""
    inner = _unwrapped(read_document(scan, source))
    scan.descend(f"{name.rsplit('/', 1)[-1]}:decoded", BytesSource(inner))


def _unwrapped(raw: bytes) -> bytes:
    """Return what a text encodes; empty if that is not a file, program or further such text."""
    flat = raw.strip()
    found: list[bytes] = []
    if _HEX.fullmatch(flat):
        found.append(_hex(flat))
    if _ARMOUR.fullmatch(flat):
        found.append(_base64(flat))
    for inner in found:
        if inner.startswith(FILE_HEADS) or (_is_text(inner[:4096]) and _is_program(inner)):
            return inner
        if len(inner) >= MIN_ARMOUR and (_ARMOUR.fullmatch(inner.strip())) and _unwrapped(inner):
            return inner
    return b""


def _hex(raw: bytes) -> bytes:
    try:
        return bytes.fromhex(raw.removeprefix(b"0x").decode("ascii"))
    except ValueError:
        return b""


def _base64(raw: bytes) -> bytes:
    flat = re.sub(rb"[\s=]", b"", raw).translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(flat + b"=" * (-len(flat) % 4))
    except (ValueError, binascii.Error):
        return b""


def _is_program(raw: bytes) -> bool:
    text = decode_text(raw)
    return bool(has_commands(text) or SHELL.search(text)) or _is_python(text)


def matches(name: FileName, head: bytes, source: Source) -> bool:
    """Return whether a file of no text format is the text of a program."""
    if source.size > MAX_TEXT or not _is_text(head):
        return False
    text = decode_text(head)
    if has_commands(text) or _PAGE.match(text):
        return True
    return _may_hide(name) and (
        bool(SHELL.search(text)) or _is_python(decode_text(source.read(0, MAX_TEXT)))
    )


def parse(scan: Scan, name: FileName, source: Source) -> None:
    """Report the program, and what it runs."""
    text = decode_text(read_document(scan, source))
    if name.has(Trait.WEIGHTS):
        scan.report("TW-MODEL-PROGRAM-DISGUISED", "a program under the name of weights", offset=0)
    if match := _MARKUP.search(text):
        report_markup(scan, text, match, drawing=False)
    if _is_python(text):
        _report_python(scan, text, "")
        return
    report_script(scan, text, unasked=runs_unasked(name))


def _may_hide(name: FileName) -> bool:
    return name.has(Trait.WEIGHTS) or name.endswith(":decoded")


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    return bool(head.strip()) and not controls(head[:4096]) and head[0] < 0x80


def _is_python(text: str) -> bool:
    """Return whether a text is Python that imports or calls something."""
    if not (_IMPORTS.search(text) or _CALLS.search(text)) or len(text) > MAX_TEXT:
        return False
    try:
        tree = parse_source(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(
        isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
        for node in tree.body
    )


SITE: Final = Format(
    name="site",
    suffixes=(Suffix(".pth", Trait.NAMED),),
    firsts=b"",
    matches=matches_site,
    parse=parse_site,
)
ENCODED: Final = Format(name="encoded", matches=matches_wrapped, parse=parse_wrapped)
PROGRAM: Final = Format(
    name="program",
    matches=matches,
    parse=parse,
    rules=(
        "TW-MODEL-MARKUP-SCRIPT",
        "TW-MODEL-PROGRAM-DISGUISED",
    ),
)
_SITE_NAMED: Final = endings(SITE.suffixes, Trait.NAMED)
