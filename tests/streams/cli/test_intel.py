"""Feeds and policies reach their topics, once, and can be taken back."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from streams.cli import intel, policy
from tests.samples import osv_archive

run = CliRunner()


def called(app, *words):
    result = run.invoke(app, [*words, "--format", "json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.kafka
def test_import_list_show_withdraw(kafka, prefix, monkeypatch, tmp_path):
    monkeypatch.setenv("TIDEWATCH_KAFKA", kafka)
    monkeypatch.setenv("TIDEWATCH_TOPIC_PREFIX", f"{prefix}.")
    monkeypatch.setenv("TIDEWATCH_GROUP_PREFIX", prefix)
    file = tmp_path / "all.zip"
    file.write_bytes(osv_archive())
    archive = str(file)
    _, first = called(intel.app, "import", archive, "--allow-unsigned")
    assert first["published"] == 7
    _, second = called(intel.app, "import", archive, "--allow-unsigned")
    assert (second["published"], second["unchanged"]) == (0, 7)
    code, fact = called(intel.app, "show", "LiteLLM")
    assert (code, fact["versions"]) == (1, ["1.82.7", "1.82.8"])
    called(intel.app, "withdraw", "pypi:litellm")
    assert called(intel.app, "show", "litellm") == (0, None)
    _, listed = called(intel.app, "list", "--prefix", "pypi:ultralytics")
    assert [entry["key"] for entry in listed] == ["pypi:ultralytics"]


@pytest.mark.kafka
def test_policy_is_set_and_shown(kafka, prefix, monkeypatch, tmp_path):
    monkeypatch.setenv("TIDEWATCH_KAFKA", kafka)
    monkeypatch.setenv("TIDEWATCH_TOPIC_PREFIX", f"{prefix}.")
    monkeypatch.setenv("TIDEWATCH_GROUP_PREFIX", prefix)
    file = tmp_path / "p.toml"
    file.write_text('tenant = "t"\nversion = 4\nautomatic = ["block"]\n', encoding="utf-8")
    called(policy.app, "set", str(file))
    _, shown = called(policy.app, "show", "t")
    assert (shown["version"], shown["automatic"]) == (4, ["block"])
    _, default = called(policy.app, "show", "nobody")
    assert default["automatic"] == []
