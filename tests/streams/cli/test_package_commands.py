"""`tidewatch intel`, `policy` and `lock` where no broker is needed."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from schemas.errors import TidewatchError
from streams.cli import intel, lock, policy, send
from streams.cli.intel import FeedKind, read_feed

run = CliRunner()
H = "a" * 64


def test_a_whole_lock_passes_and_a_leaky_one_is_a_finding(tmp_path):
    whole, leaky = tmp_path / "whole.txt", tmp_path / "leaky.txt"
    whole.write_text(f"numpy==2.4.6 --hash=sha256:{H}\n", encoding="utf-8")
    leaky.write_text("numpy>=2\nscipy==1.1\n", encoding="utf-8")
    assert run.invoke(lock.app, [str(whole), "--check"]).exit_code == 0
    result = run.invoke(lock.app, [str(leaky), "--check", "--format", "json"])
    assert result.exit_code == 1
    problems = json.loads(result.stdout)["problems"]
    assert "numpy is not pinned" in problems
    assert "scipy has no hash" in problems


def test_requirements_are_locked_with_hashes_from_an_index(tmp_path):
    wheel = tmp_path / "tiny_thing-1.0-py3-none-any.whl"
    _write_wheel(wheel)
    (tmp_path / "in.txt").write_text(f"--find-links {tmp_path}\n--no-index\ntiny-thing\n")
    output = tmp_path / "out.txt"
    arguments = [str(tmp_path / "in.txt"), "-o", str(output), "--offline"]
    result = run.invoke(lock.app, arguments)
    assert result.exit_code == 0, result.exception
    text = output.read_text(encoding="utf-8")
    assert "tiny-thing==1.0" in text
    assert "--hash=sha256:" in text


def _write_wheel(path):
    import zipfile  # noqa: PLC0415 -- only here

    name = "tiny_thing-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tiny_thing.py", "")
        file.writestr(f"{name}/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n")
        file.writestr(f"{name}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        file.writestr(f"{name}/RECORD", "")


def test_requirements_that_do_not_resolve_are_a_clear_error(tmp_path):
    file = tmp_path / "in.txt"
    file.write_text("--no-index\nno-such-thing-here==1\n", encoding="utf-8")
    result = run.invoke(lock.app, [str(file), "--offline"])
    assert isinstance(result.exception, TidewatchError)


def test_an_unsigned_feed_is_not_imported_unless_said_so(tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("evil/model\n", encoding="utf-8")
    result = run.invoke(intel.app, ["import", str(file), "--kind", "blocklist"])
    assert isinstance(result.exception, TidewatchError)
    assert "--allow-unsigned" in str(result.exception)


def test_the_kind_of_a_feed_is_told_by_its_content():
    bundle = {
        "type": "bundle",
        "objects": [
            {"type": "indicator", "id": "i", "pattern": f"[file:hashes.'SHA-256' = '{H}']"}
        ],
    }
    feed, prefix = read_feed(json.dumps(bundle).encode(), FeedKind.AUTO, "b.json", None)
    assert (list(feed.facts), prefix) == ([f"sha256:{H}"], "STIX:")
    with pytest.raises(TidewatchError):
        read_feed(b"evil/model\n", FeedKind.AUTO, "list.txt", None)


def test_a_policy_in_order_passes(tmp_path):
    file = tmp_path / "p.toml"
    file.write_text(
        'tenant = "t"\n[internal]\nprefixes = ["acme-"]\n'
        'indexes = ["https://packages.acme.example/simple"]\n',
        encoding="utf-8",
    )
    assert run.invoke(policy.app, ["check", str(file)]).exit_code == 0


@pytest.mark.parametrize(
    "text",
    [
        'tenant = "t"\n[internal]\nnames = ["x"]\n',
        'tenant = "t"\n[trusted]\nindexes = ["http://index.example/simple"]\n',
        'tenant = "t"\n[internal]\nprefixes = ["a"]\nindexes = ["https://i.example/s"]\n',
        'tenant = "t"\nautomatic = ["block"]\n',
    ],
)
def test_a_policy_that_does_not_do_what_it_seems_to_is_a_finding(tmp_path, text):
    file = tmp_path / "p.toml"
    file.write_text(text, encoding="utf-8")
    assert run.invoke(policy.app, ["check", str(file)]).exit_code == 1


@pytest.mark.parametrize(
    "text", ["tenant = 3", "not toml", 'tenant = "t"\n[internal]\nprefixs = ["acme-"]\n', "{}"]
)
def test_a_policy_that_says_something_else_is_refused(tmp_path, text):
    file = tmp_path / "p.toml"
    file.write_text(text, encoding="utf-8")
    result = run.invoke(policy.app, ["check", str(file)])
    assert isinstance(result.exception, TidewatchError)


def test_a_report_is_sent_with_what_the_installer_does_not_record(tmp_path):
    report, locked = tmp_path / "report.json", tmp_path / "lock.txt"
    entry = {"metadata": {"name": "numpy", "version": "2.4.6"}}
    report.write_text(json.dumps({"version": "1", "install": [entry]}), encoding="utf-8")
    locked.write_text(f"numpy==2.4.6 --hash=sha256:{H}\n", encoding="utf-8")
    (record,) = send.read_records(
        report,
        kind="pip-report",
        tenant="t",
        max_bytes=1 << 20,
        options={"system": "runner-7", "lock": locked.read_bytes()},
    )
    event = record.event
    assert event.data.lock == {"numpy==2.4.6": (f"sha256:{H}",)}
    assert event.subject == "host:runner-7"
    words = [str(report), "--as", "pip-report", "--tenant", "t", "--system", "runner-7"]
    words += ["--lock", str(locked), "--index-url", "https://index.example/simple", "--check"]
    assert run.invoke(send.app, words).exit_code == 0


def test_options_for_payloads_of_others_are_refused_for_our_own_events(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text("{}", encoding="utf-8")
    result = run.invoke(send.app, [str(file), "--image", "x", "--check"])
    assert isinstance(result.exception, TidewatchError)
