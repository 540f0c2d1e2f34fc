"""Nothing that people read is driven by what events name: every renderer, with a hostile name."""

from __future__ import annotations

import io
import json
import logging
import pkgutil
import re
import sys
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import msgspec
import orjson
import pytest
import structlog
from markdown_it import MarkdownIt
from rich.console import Console

import streams.reports
from agents.logs import Logger, set_up
from schemas.incidents.views import IncidentDocument
from schemas.intel import IntelFact, IntelKind
from schemas.severity import Severity, Tlp, Verdict
from streams.apps.supervisor import run_app
from streams.cli import _fail, scan_run
from streams.cli.live_screen import render
from streams.cli.live_view import LiveAlert, LiveCommand, View
from streams.cli.output import plain, print_json, print_line, print_table, quiet_logs, write_raw
from streams.cli.watch import as_text
from streams.logs import configure_logs
from streams.reports import cyclonedx, entries, fact_words, incident_graph, sarif, table
from streams.reports.impact import attribution, impact
from streams.reports.incident import markdown, to_html
from streams.reports.incident_export import ExportFormat, exported
from streams.reports.incident_text import incident_text
from streams.reports.lessons import learned_facts
from streams.settings import load_settings
from tests.schemas import examples
from tests.streams.reports.test_incident_report import incident

TERMINAL = "\x1b]0;OWNED\x07\x1b[2J\x9b31m\x7f\r\b"
BIDI = "\u202egpj.exe\u2066\u200f\U000e0041\u2028"
MARKUP = (
    "`![t](https://evil.example/t.png)<img/src=x/onerror=alert(1)>|*b*_i_~~s~~ www.evil.example"
)
RICH = "[link=https://evil.example]click[/link][/nonsense]"
HOSTILE = f"{TERMINAL}{BIDI}{MARKUP}{RICH}\n# heading\n- item"
DRIVING = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def driving(text: str, *, lines: bool = True) -> set[str]:
    """Return the characters of a text that drive a terminal or disguise what it shows."""
    allowed = {"\n"} if lines else set()
    return {char for char in set(text) if unicodedata.category(char) in DRIVING} - allowed


def hostile_incident() -> IncidentDocument:
    alert = examples.alert()
    finding = msgspec.structs.replace(
        examples.finding(),
        description=HOSTILE,
        component=HOSTILE,
        evidence={"file": HOSTILE, "url": f"https://{HOSTILE}"},
        publisher=HOSTILE,
    )
    system = msgspec.structs.replace(
        alert.systems[0],
        system=HOSTILE,
        tenant=HOSTILE,
        component=HOSTILE,
        path=(HOSTILE + "1", HOSTILE + "2"),
        identities=(HOSTILE,),
    )
    spec = msgspec.structs.replace(alert.commands[0].spec, target=HOSTILE, tenant=HOSTILE)
    command = msgspec.structs.replace(alert.commands[0], spec=spec, status_text=HOSTILE)
    return incident(
        title=HOSTILE,
        root=HOSTILE,
        pattern_why=HOSTILE,
        findings=(finding,),
        systems=(system,),
        commands=(command,),
        tasks=tuple(msgspec.structs.replace(task, text=HOSTILE) for task in alert.tasks),
        timeline=tuple(msgspec.structs.replace(entry, text=HOSTILE) for entry in alert.timeline),
        publishers=(HOSTILE,),
        related=(HOSTILE,),
        campaign=HOSTILE,
    )


def hostile_files() -> tuple[tuple[entries.FileEntry, ...], entries.ScanSummary]:
    found = entries.FindingEntry(
        rule_id="TW-MODEL-INSTANTIATOR",
        ioc_type="malicious_payload",
        severity=Severity.HIGH,
        confidence=0.9,
        description=HOSTILE,
        evidence={"global": HOSTILE},
        mitre_atlas_id="AML.T0010",
        techniques=(),
        remediation="remove it",
    )
    file = entries.FileEntry(
        path=HOSTILE, verdict=Verdict.MALICIOUS, findings=(found,), reasons=(HOSTILE,)
    )
    return (file,), entries.summarise((file,), (HOSTILE,), (HOSTILE,))


def printed(work: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    work()
    out, err = capsys.readouterr()
    return out + err


def logged(form: str, monkeypatch: pytest.MonkeyPatch) -> str:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        configure_logs(load_settings(log_format=form), app="checks")
        log = structlog.get_logger()
        log.error(HOSTILE, key=HOSTILE, inner=[HOSTILE], raw=HOSTILE.encode("utf-8"))
        logging.getLogger("library").error("foreign %s", HOSTILE)
        try:
            int(HOSTILE)
        except ValueError:
            log.exception("failed")
    finally:
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
    return stream.getvalue()


def record() -> Any:
    raw = orjson.dumps({"name": HOSTILE})
    return SimpleNamespace(
        topic="t",
        partition=0,
        offset=1,
        timestamp=0,
        key=HOSTILE.encode(),
        value=raw,
        headers=[("ce_type", HOSTILE.encode()), ("ce_tenantid", HOSTILE.encode())],
    )


def live() -> str:
    alert = LiveAlert(
        id="a",
        tenant=HOSTILE,
        incident="i",
        severity="High",
        score=1,
        title=HOSTILE,
        status=HOSTILE,
        systems=1,
        updates=1,
        first_shown=0.0,
    )
    command = LiveCommand(
        id="c", tenant=HOSTILE, action=HOSTILE, target=HOSTILE, proposal=True, dry_run=True
    )
    console = Console(file=io.StringIO(), width=4000, color_system=None)
    console.print(render(View(alerts={"a": alert}, commands={"c": command}), 0.0))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert "click" in text, "the name is shown"
    assert "[link=" in text, "and not taken for markup"
    return text


def texts() -> dict[str, Callable[[], str]]:
    """Return each renderer of text by the module of `streams.reports` that it is in."""
    files, summary = hostile_files()
    document = hostile_incident()
    graph = incident_graph.incident_graph(document)
    return {
        "fact_words": lambda: "\n".join(
            fact_words.fact_lines(
                IntelFact(key=HOSTILE, kind=IntelKind.BLOCKED, details={HOSTILE: [HOSTILE]})
            )
        ),
        "incident": lambda: markdown(document) + to_html(document),
        "incident_export": lambda: "".join(
            exported(document, kind, Tlp.AMBER)
            for kind in (ExportFormat.MARKDOWN, ExportFormat.HTML)
        ),
        "incident_graph": lambda: "\n".join(
            draw(graph) for draw in (incident_graph.tree, incident_graph.dot, incident_graph.svg)
        ),
        "incident_text": lambda: "\n".join(incident_text(document)),
        "table": lambda: "\n".join(table.table(files, summary)),
    }


DOCUMENTS = {"entries", "cyclonedx", "sarif"}
"""JSON, which the command line prints."""
TO_OTHERS = {"blocks", "graph_folding", "impact", "incident_words", "lessons"}
"""Give rows to the report of an incident."""
OF_OURS = {
    "contract_events",
    "contract_pages",
    "contract_samples",
    "field_docs",
    "reference_pages",
    "rule_pages",
    "signature_vectors",
    "toml_text",
}
"""Write pages of our own rules, types and samples."""


def test_every_report_is_covered_here() -> None:
    modules = {module.name for module in pkgutil.iter_modules(streams.reports.__path__)}
    assert modules == set(texts()) | DOCUMENTS | TO_OTHERS | OF_OURS
    document = hostile_incident()
    assert impact(document)
    assert attribution(document)
    assert learned_facts(document) is not None


@pytest.mark.parametrize("name", sorted(texts()))
def test_no_report_drives_a_terminal(name: str) -> None:
    text = texts()[name]()
    assert "OWNED" in text, "the name is shown"
    assert not driving(text)


def test_documents_on_a_terminal_drive_nothing_and_stay_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    files, summary = hostile_files()
    for document in (
        entries.document(files, summary),
        sarif.sarif(files, "1"),
        cyclonedx.cyclonedx(files, "1"),
        msgspec.to_builtins(hostile_incident()),
    ):
        for work in (
            lambda one=document: print_json(one),
            lambda one=document: print_line(orjson.dumps(one, default=str).decode()),
        ):
            text = printed(work, capsys)
            assert not driving(text)
            assert json.loads(text) == json.loads(orjson.dumps(document, default=str))


def test_what_commands_print_drives_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for work in (
        lambda: print_line(HOSTILE),
        lambda: print_table(("name",), [(HOSTILE,)]),
        lambda: _fail(HOSTILE, 2),
        lambda: run_app(HOSTILE, load_settings()),
        lambda: print_line("\n".join(as_text(record()) + as_text(record(), full=True))),
    ):
        text = printed(work, capsys)
        assert "OWNED" in text
        assert not driving(text)
    assert not driving(live())


@pytest.mark.parametrize("form", ["console", "json"])
def test_log_lines_drive_nothing_but_their_own_colours(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structlog.dev, "_has_colors", False)
    text = logged(form, monkeypatch)
    for own in ("\x1b[0m", "\x1b[1m", "\x1b[2m", *(f"\x1b[{n}m" for n in range(30, 38))):
        text = text.replace(own, "")
    assert text.count("OWNED") >= 5
    assert not driving(text)


def test_a_warning_of_a_command_drives_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """As on an import of a feed that names a package so."""
    quiet_logs()
    try:
        logger = Logger()
        logger.warning("feed-entry-refused", key=HOSTILE, **{f"name{TERMINAL}": 1})
        logger.error("feed-refused", exc_info=ValueError(HOSTILE))
    finally:
        structlog.reset_defaults()
        set_up(None)
    text = capsys.readouterr().err
    assert text.count("OWNED") >= 3
    assert not driving(text)


def test_a_warning_of_a_scan_drives_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scan_run._warn(f"suppression expired: {HOSTILE}")
    text = capsys.readouterr().err
    assert "OWNED" in text
    assert not driving(text)


@pytest.mark.parametrize("terminal", [False, True])
def test_raw_bytes_drive_no_terminal_and_are_the_same_in_a_file(
    terminal: bool, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a dead letter holds, and a lock made from an index's pages."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    value = HOSTILE.encode() + b"\xff\x00\n"
    write_raw(value)
    written = capsysbinary.readouterr().out
    assert b"OWNED" in written
    assert (written == value) is not terminal
    assert not terminal or not driving(written.decode())


COMMAND_LINE = re.compile(
    r'tidewatch incidents [a-z]+ inc-[0-9a-f]* (WHO|(cmd|tsk)-[0-9a-f]+) --reason "WHY"'
)


def test_a_report_in_markdown_has_no_tag_image_or_link_of_an_event() -> None:
    document = hostile_incident()
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    seen: set[str] = set()

    def visit(tokens: list[Any]) -> None:
        for token in tokens:
            # the command line of a next step is ours: it has the id, and nothing else of an event
            own = token.type == "code_inline" and COMMAND_LINE.fullmatch(token.content)
            seen.add("own" if own else token.type)
            visit(token.children or [])

    text = markdown(document)
    visit(parser.parse(text))
    active = {"link_open", "image", "html_inline", "html_block", "code_inline", "em_open", "s_open"}
    assert not seen & active
    assert "https://evil" not in text, "no renderer makes a link of it"
    assert "www.evil" not in text


def test_a_report_in_html_and_svg_has_no_tag_of_an_event() -> None:
    seen: set[str] = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002 -- its signature
            seen.add(tag)

    document = hostile_incident()
    Tags().feed(to_html(document))
    assert not seen & {"img", "script", "a", "code", "em"}
    drawn = ET.fromstring(incident_graph.svg(incident_graph.incident_graph(document)))
    kinds = {node.tag.rpartition("}")[2] for node in drawn.iter()}
    assert kinds == {"svg", "style", "path", "g", "title", "rect", "text"}
    (style,) = [node for node in drawn.iter() if node.tag.endswith("style")]
    assert "OWNED" not in (style.text or ""), "the style is ours alone"


def test_plain_text_is_shown_as_it_is() -> None:
    assert plain("naïve 模型 model") == "naïve 模型 model"
