"""Scanning processes are forks of one that knows the parsers and nothing else."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from agents.checks.artifacts.sandbox import forking, process, template, worker
from agents.checks.artifacts.sandbox.pool import Sandbox
from agents.checks.artifacts.sandbox.protocol import Fork, send_with
from schemas.severity import Verdict
from tests.corpus.pickles import evil

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")

HOLDER = """
import os, sys
from agents.checks.artifacts.sandbox.pool import Sandbox
one = Sandbox()
assert one.scan_bytes("a.txt", b"words").verdict == "clean"
print(one.pid, flush=True)
sys.stdin.readline()
"""
DEADLINE = 60.0


def template_of(pid: int) -> int:
    """Return the process that a scanning process was forked from."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def scanned(sandbox: Sandbox) -> int:
    """Return the process that scanned a file."""
    assert sandbox.scan_bytes("a.txt", b"words").verdict is Verdict.CLEAN
    assert sandbox.pid is not None
    return sandbox.pid


def test_processes_of_all_sandboxes_have_one_template() -> None:
    with Sandbox() as one, Sandbox() as other:
        first, second = scanned(one), scanned(other)
        assert first != second
        template = template_of(first)
        assert template == template_of(second)
        assert template != os.getpid()


def test_another_working_folder_is_no_reason_for_another_template(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend("__editable__.x-1.0.finder.__path_hook__")
    with Sandbox() as one, Sandbox() as other:
        template = template_of(scanned(one))
        monkeypatch.chdir(tmp_path)
        assert template_of(scanned(other)) == template


def test_a_fork_holds_its_own_connection_alone() -> None:
    """Not that of another fork, nor the template's, nor a file of the process it scans for."""
    with Path(__file__).open("rb"), Sandbox() as one, Sandbox() as other:
        scanned(one)
        pid = scanned(other)
        held = {
            int(entry.name): str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()
        }
        kinds = sorted(target.partition(":")[0] for target in held.values())
        assert kinds == ["/dev/null", "/dev/null", "pipe", "socket"], held


def test_no_setting_and_no_secret_reaches_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEWATCH_KAFKA_PASSWORD", "secret")
    with Sandbox() as sandbox:
        pid = scanned(sandbox)
        for process in (pid, template_of(pid)):
            names = {
                line.partition(b"=")[0]
                for line in Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
                if line
            }
            assert names <= {
                *(b"OPENBLAS_NUM_THREADS", b"OMP_NUM_THREADS", b"LC_ALL", b"LD_LIBRARY_PATH"),
            }


@pytest.mark.fault
def test_a_killed_template_is_replaced_and_only_running_scans_are_incomplete() -> None:
    with Sandbox() as one:
        pid = scanned(one)
        template = template_of(pid)
        os.kill(template, signal.SIGKILL)
        until(lambda: gone(pid), "the fork of a killed template ends")
        assert one.scan_bytes("b.pkl", evil(2)).verdict is Verdict.MALICIOUS
        assert one.pid is not None
        assert template_of(one.pid) != template


@pytest.mark.fault
def test_a_killed_parent_takes_template_and_forks_with_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        template = template_of(pid)
        assert template_of(template) == parent.pid
        parent.kill()
    until(lambda: gone(pid) and gone(template), "both end with the parent")


def test_another_import_path_has_a_template_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The one before runs on for its forks, and ends with the last of them."""
    with Sandbox() as one:
        before = template_of(scanned(one))
        monkeypatch.syspath_prepend(str(tmp_path))
        with Sandbox() as other:
            assert template_of(scanned(other)) != before
        assert template_of(scanned(one)) == before
    until(lambda: gone(before), "a template that nobody uses ends")


def test_a_fork_of_this_process_leaves_its_template_alone() -> None:
    code = (
        "import os, sys\n"
        "from agents.checks.artifacts.sandbox.pool import Sandbox\n"
        "def scans(one): return one.scan_bytes('a.txt', b'words').verdict == 'clean'\n"
        "one = Sandbox()\n"
        "assert scans(one)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    with Sandbox() as own: code = 0 if scans(own) else 1\n"
        "    os._exit(code)\n"
        "code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "assert code == 0 and scans(one) and one.starts == 1, code\n"
        "one.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_template_loads_the_parsers_and_no_more() -> None:
    """What one kind of file needs is loaded by the process that scans it."""
    code = (
        "import sys\n"
        "import agents.checks.artifacts.formats.registry\n"
        "import agents.checks.artifacts.sandbox.worker\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rare = {"structlog", "pydantic", "typer", "numpy", "h5py", "py7zr", "yaml", "fickling"}
    needless = rare | {"asyncio", "aiokafka", "cryptography", "packaging", "stix2", "subprocess"}
    assert not needless & set(done.stdout.split())


LATE = """
import sys
before = {*sys.modules}  # by what the environment starts an interpreter with
from agents.checks.artifacts.sandbox import worker
early = sys.modules.keys() - before
sys.exit(" ".join(sorted(early & {*worker.COMMON, *sys.argv[1:]})) or 0)
"""


def test_a_template_has_imported_nothing_that_only_some_files_need() -> None:
    checks = "agents.checks.artifacts"
    late = ["tomllib", "hashlib", "lzma", "bz2", "safetensors", "agents.domain.findings",
            f"{checks}.pickle.machine", f"{checks}.python.faults"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", LATE, *late], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.returncode) == ("", 0)


def test_what_most_files_need_is_imported_once_a_second_process_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    pids = iter((11, 12, 13))

    def fork() -> tuple[int, int]:
        asked.append("fork")
        return next(pids), 0

    monkeypatch.setattr(forking, "_fork", fork)
    ours, theirs = socket.socketpair()
    with ours:
        for _ in range(3):
            send_with(ours, msgspec.msgpack.encode(Fork(b"{}")), [0, 0])
        ours.shutdown(socket.SHUT_WR)
        assert forking.fork_on_request(theirs, lambda: asked.append("import")) is None
    theirs.close()
    assert asked == ["fork", "import", "fork", "fork"]


def test_what_a_template_imports_for_later_processes_is_there() -> None:
    for module in worker.COMMON:
        assert importlib.import_module(module)


def test_a_template_that_is_prepared_is_that_of_the_first_process() -> None:
    template._current.replaced()
    process.prepare()
    assert template._current.made is not None
    prepared = template._current.made[1]
    with Sandbox() as one:
        assert template_of(scanned(one)) == prepared._process.pid


def test_a_template_that_cannot_be_prepared_is_reported_by_the_first_scan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> template.Template:
        raise OSError(11, "no room")

    monkeypatch.setattr(process, "template_for", refuse)
    process.prepare()
    with Sandbox() as one:
        report = one.scan_bytes("a.txt", b"words")
    assert report.verdict is Verdict.INCOMPLETE
    assert "no room" in report.reasons[0]
