"""`tidewatch intel`, `policy` and `lock` where no broker is needed."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile

import pytest
from typer.testing import CliRunner

from schemas.errors import TidewatchError
from streams.cli import intel, lock, policy, send
from streams.cli.intel import FeedKind, read_feed
from tests.wheels import write_wheel

run = CliRunner()
H = "a" * 64


@pytest.fixture
def index(tmp_path):
    """Options that name an index of small wheels; `top` asks for an extra of `middle`."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    write_wheel(folder, "tiny-thing", "1.0")
    write_wheel(folder, "top", "1.0", requires=["middle[mail]<3,>=2"])
    for version in ("2.0", "2.1"):
        write_wheel(folder, "middle", version, requires=['low; extra == "mail"'], extras=["mail"])
        write_wheel(folder, "low", version)
    write_wheel(folder, "old", "1.0", requires=["middle<2"])
    return f"--no-index\n--find-links {folder}\n"


def write_lock(path, index, *packages):
    lines = [f"{name} --hash=sha256:{H}\n" for name in packages]
    path.write_text(index + "".join(lines), encoding="utf-8")
    return str(path)


def test_a_whole_lock_passes_and_a_leaky_one_is_a_finding(tmp_path, index):
    whole = write_lock(tmp_path / "whole.txt", index, "tiny-thing==1.0")
    leaky = tmp_path / "leaky.txt"
    leaky.write_text("numpy>=2\nscipy==1.1\n", encoding="utf-8")
    result = run.invoke(lock.app, [whole, "--check"])
    assert result.exit_code == 0, result.exception
    assert "1 package, pinned and hashed; nothing is left to resolve" in result.stdout
    result = run.invoke(lock.app, [str(leaky), "--check", "--format", "json"])
    assert result.exit_code == 1
    problems = json.loads(result.stdout)["problems"]
    assert "numpy is not pinned" in problems
    assert "scipy has no hash" in problems


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        (("top==1.0", "middle[mail]==2.0", "low==2.0"), None),
        (("top==1.0", "Middle[MAIL]==2.0", "low==2.0"), None),
        (
            ("top==1.0", "middle==2.0", "low==2.0"),
            "line 4: middle is locked without its extra mail, which top asks for",
        ),
        (("top==1.0", "middle[mail]==2.0"), "low is not locked, which middle asks for"),
        (("top==1.0",), "middle[mail] is not locked, which top asks for"),
        (("old==1.0", "middle==2.0"), "the locked versions conflict"),
    ],
)
def test_a_lock_that_leaves_something_to_resolve_is_a_finding(tmp_path, index, packages, said):
    file = write_lock(tmp_path / "lock.txt", index, *packages)
    result = run.invoke(lock.app, [file, "--check", "--format", "json"])
    assert result.exit_code == (0 if said is None else 1), result.exception
    problems = json.loads(result.stdout)["problems"]
    if said is None:
        assert problems == []
    else:
        assert any(said in problem and "tidewatch lock" in problem for problem in problems)


def test_a_lock_whose_packages_can_not_be_looked_up_is_not_called_whole(tmp_path, index):
    file = write_lock(tmp_path / "lock.txt", index, "nobody-knows==1.0")
    result = run.invoke(lock.app, [file, "--check"])
    assert isinstance(result.exception, TidewatchError)
    assert "nobody-knows" in str(result.exception)
    assert str(tmp_path) in str(result.exception)


def test_a_package_without_a_wheel_is_built_only_if_asked(tmp_path, index):
    project = tmp_path / "wheels" / "source-1.0"
    project.mkdir()
    (project / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: source\nVersion: 1.0\n")
    (project / "setup.py").write_text(
        "open(r'%s', 'w').close()\nfrom setuptools import setup\n"
        "setup(name='source', version='1.0', py_modules=[])\n" % (tmp_path / "ran")
    )
    with tarfile.open(f"{project}.tar.gz", "w:gz") as archive:
        archive.add(project, project.name)
    file = write_lock(tmp_path / "lock.txt", index, "source==1.0")
    result = run.invoke(lock.app, [file, "--check"])
    assert isinstance(result.exception, TidewatchError)
    assert "--build" in result.exception.remedy
    assert not (tmp_path / "ran").exists()


def test_where_uv_is_not_installed_the_extra_is_named(tmp_path, index, monkeypatch):
    monkeypatch.setitem(sys.modules, "uv", None)
    file = write_lock(tmp_path / "lock.txt", index, "tiny-thing==1.0")
    for arguments in ([file], [file, "--check"]):
        result = run.invoke(lock.app, arguments)
        assert isinstance(result.exception, TidewatchError)
        assert "tidewatch[lock]" in result.exception.remedy


def test_lock_pins_extras_against_later_releases(tmp_path, index):
    """The lock names the extra; without it pip resolves afresh as soon as 2.2 is released."""
    asked = tmp_path / "in.txt"
    asked.write_text(f"{index}top\nmiddle<2.1\n", encoding="utf-8")
    output = tmp_path / "out.txt"
    result = run.invoke(lock.app, [str(asked), "-o", str(output)])
    assert result.exit_code == 0, result.exception
    text = output.read_text(encoding="utf-8")
    assert "middle[mail]==2.0" in text
    assert "low==2.1" in text
    output.write_text(index + text, encoding="utf-8")
    write_wheel(tmp_path / "wheels", "middle", "2.2")
    write_wheel(tmp_path / "wheels", "low", "2.2")
    assert run.invoke(lock.app, [str(output), "--check"]).exit_code == 0
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--require-hashes", "--quiet"]
    command += ["--ignore-installed", "--report", "-", "--requirement", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = {
        f"{entry['metadata']['name']}=={entry['metadata']['version']}"
        for entry in json.loads(done.stdout)["install"]
    }
    assert names == {"top==1.0", "middle==2.0", "low==2.1"}


def test_requirements_are_locked_with_hashes_from_an_index(tmp_path, index):
    (tmp_path / "in.txt").write_text(f"{index}tiny-thing\n")
    output = tmp_path / "out.txt"
    arguments = [str(tmp_path / "in.txt"), "-o", str(output), "--offline"]
    result = run.invoke(lock.app, arguments)
    assert result.exit_code == 0, result.exception
    text = output.read_text(encoding="utf-8")
    assert "tiny-thing==1.0" in text
    assert "--hash=sha256:" in text


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


def test_the_kind_of_a_feed_is_recognised_by_its_content():
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
