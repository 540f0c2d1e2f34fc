"""Entries in blocklist and constraint files are added and removed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.response.blocklist import MARK, added, constraint, removed
from tests.agents.response.bench import Bench, spec_of


def test_a_source_is_blocked_once_and_unblocked(bench: Bench) -> None:
    path = bench.folder / "etc/model-blocklist.txt"
    path.write_text("bad-org/by-hand\n")
    path.chmod(0o644)
    spec = spec_of("block", "model:huggingface/evil-org/model")
    for attempt in (1, 2):
        assert bench.status(spec_of("block", spec.target, attempt=attempt)) == 200
    note, line = path.read_text().splitlines()[1:]
    assert line == "evil-org/model"
    assert note.startswith(f"{MARK}{spec.command_id} 2026-11-20T08:00:00.000Z inc-1")
    assert path.stat().st_mode & 0o777 == 0o644
    assert bench.status(spec_of("unblock", spec.target, undoes=spec.command_id)) == 200
    assert path.read_text() == "bad-org/by-hand\n"


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("model:huggingface/evil/m@abc", "evil/m@abc"),
        ("model:mlflow/churn", "mlflow/churn"),
        ("publisher:huggingface/evil", "evil/*"),
        ("domain:evil.example", "domain:evil.example"),
        ("sha256:" + "ab" * 32, "sha256:" + "ab" * 32),
        ("pypi:Torch_Triton@2.0.0", "torch-triton!=2.0.0"),
        ("pypi:typo", "typo<0"),
    ],
)
def test_each_kind_is_written_as_its_reader_expects(bench: Bench, target: str, line: str) -> None:
    outcome = bench.run(spec_of("block", target)).outcome
    assert outcome.results["line"] == line
    assert line in Path(outcome.results["file"]).read_text().splitlines()


@pytest.mark.parametrize("target", ["model:a/b\nevil", "pypi:x@1\n-r /etc", "pypi:-r", "nothing"])
def test_no_target_writes_more_than_its_line(bench: Bench, target: str) -> None:
    assert bench.status(spec_of("block", target)) == 400
    assert not list((bench.folder / "etc").glob("*.txt"))


def test_pip_refuses_what_is_constrained(tmp_path: Path) -> None:
    for version in ("1.0", "1.1"):
        info = f"thing-{version}.dist-info"
        with zipfile.ZipFile(tmp_path / f"thing-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: thing\nVersion: {version}\n"
            )
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    uv = [sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--no-index", "--offline"]

    def chosen(line: str) -> tuple[int, str]:
        file = tmp_path / "constraints.txt"
        file.write_text(f"{MARK}id why\n{line}\n")
        command = [*uv, f"--find-links={tmp_path}", f"--target={tmp_path}/t", "-c", str(file)]
        done = subprocess.run([*command, "thing"], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    code, said = chosen(constraint("thing", "1.1"))
    assert code == 0, said
    assert "thing==1.0" in said
    assert chosen(constraint("thing", None))[0] != 0


ids = st.sampled_from(["one", "two", "three"])
values = st.sampled_from(["a/b", "c/d", "e/*"])
steps = st.lists(st.tuples(st.booleans(), ids, values), max_size=20)


@given(steps, st.lists(values, max_size=2, unique=True))
def test_entry_stays_while_a_command_or_person_wants_it(
    steps: list[tuple[bool, str, str]], by_hand: list[str]
) -> None:
    lines = list(by_hand)
    accounts: set[tuple[str, str]] = set()
    for adding, command, value in steps:
        if adding:
            lines = added(lines, value, f"{MARK}{command} note", command)
            accounts.add((command, value))
        else:
            lines = removed(lines, value, command)
            accounts.discard((command, value))
        present = [line for line in lines if not line.startswith(MARK)]
        assert sorted(present) == sorted({*by_hand, *(value for _, value in accounts)})
