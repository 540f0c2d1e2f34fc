"""Scanning processes keep their limits, die alone, and are replaced."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import py7zr
import pytest

from agents.checks.artifacts.sandbox import worker
from agents.checks.artifacts.sandbox.pool import Sandbox, SandboxPool
from agents.checks.artifacts.sandbox.protocol import Batch, Limits, Small
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.corpus.pickles import evil


@pytest.fixture
def sandbox():
    with Sandbox(Limits(wall_seconds=20.0)) as one:
        yield one


class Stuck:
    """A file that is never read to its end."""

    size = 1 << 20

    def __init__(self, head: bytes = b"") -> None:
        self.head = head
        self.pid = 0
        self.asked = threading.Event()
        self.released = threading.Event()

    def read(self, offset: int, length: int) -> bytes:
        self.asked.set()
        if offset + length <= len(self.head):
            return self.head[offset : offset + length]
        self.released.wait(60)
        return b""


def test_empty_file_is_clean_and_file_of_unknown_size_is_not(sandbox, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.touch()
    assert sandbox.scan_path(empty).verdict is Verdict.CLEAN
    for path in (Path("/proc/self/status"), Path("/proc/self/mem")):
        assert path.stat().st_size == 0
        assert sandbox.scan_path(path).verdict is Verdict.INCOMPLETE


def test_a_file_is_scanned_by_path_bytes_and_ranges(sandbox, tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(evil(2))
    for report in (
        sandbox.scan_path(path, name="m/model.pkl", digest=True),
        sandbox.scan_bytes("m/model.pkl", evil(2)),
        sandbox.scan_source("m/model.pkl", BytesSource(evil(2))),
    ):
        assert (report.verdict, report.path) == (Verdict.MALICIOUS, "m/model.pkl")
    assert sandbox.starts == 1


def test_the_digest_is_given_when_asked_for(sandbox, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"abc")
    assert sandbox.scan_path(path).sha256 is None
    digest = sandbox.scan_path(path, digest=True).sha256
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_killed_process_is_replaced_and_its_file_incomplete(sandbox):
    source = Stuck()
    killer = threading.Thread(
        target=lambda: (
            source.asked.wait(30),
            os.kill(sandbox.pid, signal.SIGKILL),
            source.released.set(),
        )
    )
    killer.start()
    report = sandbox.scan_source("a.pkl", source)
    killer.join()
    assert report.verdict is Verdict.INCOMPLETE
    assert "died" in report.reasons[0]
    assert sandbox.scan_bytes("b.pkl", evil(2)).verdict is Verdict.MALICIOUS
    assert sandbox.starts == 2


def test_each_process_knows_the_other_files_of_the_folder(sandbox):
    """They are sent once, again when others follow, and again to a replacement process."""
    config = b'{"model_type": "x", "auto_map": {"AutoModel": "modeling.Model"}}'
    one, other = frozenset({"m/config.json", "m/modeling.py"}), frozenset({"m/config.json"})
    here = "TW-MODEL-REMOTE-CODE"
    for siblings, expected in (
        (one, here), (one, here), (other, f"{here}-UNSEEN"), (one, here), (None, here), (one, here),
    ):  # fmt: skip
        if siblings is None:
            sandbox.close()
            continue
        report = sandbox.scan_bytes("m/config.json", config, siblings)
        assert [found.rule_id for found in report.detections] == [expected]


def test_finding_survives_the_death_of_its_process(sandbox):
    body = b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.".ljust(8192, b"\0")

    class Dying(BytesSource):
        def read(self, offset: int, length: int) -> bytes:
            if 0 < offset < 8000 and length == 1 << 20:  # looks for further streams
                os.kill(sandbox.pid, signal.SIGKILL)
            return super().read(offset, length)

    report = sandbox.scan_source("a.pkl", Dying(body + bytes(3 << 20)))
    assert report.verdict is Verdict.MALICIOUS
    assert report.reasons


def test_an_unreadable_remote_file_is_incomplete(sandbox):
    class Broken:
        size = 100

        def read(self, offset: int, length: int) -> bytes:
            raise ConnectionResetError(f"{offset} {length}")

    report = sandbox.scan_source("a.pkl", Broken())
    assert report.verdict is Verdict.INCOMPLETE
    assert "ConnectionResetError" in report.reasons[0]


@pytest.mark.slow
def test_a_hang_ends_incomplete_and_the_next_file_is_scanned():
    with Sandbox(Limits(wall_seconds=3.0, grace_seconds=2.0)) as sandbox:
        source = Stuck()
        threading.Timer(6.0, source.released.set).start()
        started = time.monotonic()
        report = sandbox.scan_source("a.pkl", source)
        assert report.verdict is Verdict.INCOMPLETE
        assert time.monotonic() - started < 60
        assert sandbox.scan_bytes("b.pkl", pickle.dumps([1])).verdict is Verdict.CLEAN


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_ends_without_harm(sandbox, layers):
    bomb = gzip.compress(bytes(150 << 20), mtime=0)
    for _ in range(layers - 1):
        bomb = bz2.compress(bomb)
    report = sandbox.scan_bytes("a.bin", bomb)
    assert report.verdict is Verdict.MALICIOUS
    assert sandbox.scan_bytes("b.pkl", pickle.dumps([1])).verdict is Verdict.CLEAN


@pytest.mark.slow
def test_too_little_memory_ends_incomplete():
    with Sandbox(Limits(memory_bytes=200 << 20)) as sandbox:
        raw = b"\x80\x04(" + b"N" * (16 << 20) + b"l."
        assert sandbox.scan_bytes("a.pkl", raw).verdict is Verdict.INCOMPLETE
        assert sandbox.scan_bytes("b.pkl", pickle.dumps([1])).verdict is Verdict.CLEAN


def test_cpu_time_is_limited():
    with Sandbox(Limits(cpu_seconds=0.3)) as sandbox:
        report = sandbox.scan_bytes("a.pkl", b"\x80\x04" + b"N0" * (8 << 20) + b"N.")
        assert report.verdict is Verdict.INCOMPLETE
        assert any("CPU" in reason for reason in report.reasons)


def test_a_process_has_no_network_and_writes_no_files(tmp_path):
    probe = (
        "import socket, os, sys, json\n"
        "from agents.checks.artifacts.sandbox.protocol import Limits\n"
        "from agents.checks.artifacts.sandbox.worker import confine\n"
        "confine(Limits())\n"
        "denied = []\n"
        "for what in (lambda: socket.socket(), lambda: open(sys.argv[1], 'w'),\n"
        "             lambda: os.system('true'), lambda: os.remove(sys.argv[1])):\n"
        "    try: what()\n"
        "    except PermissionError: denied.append(1)\n"
        "print(len(denied))\n"
    )
    root = str(Path(__file__).resolve().parents[5])
    done = subprocess.run(
        [sys.executable, "-c", probe, str(tmp_path / "x")],
        capture_output=True, text=True, cwd=root, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "4", done.stderr


def test_a_pool_serves_an_event_loop(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(evil(4))

    async def scan_all():
        with SandboxPool(2) as pool:
            return await asyncio.gather(
                *(pool.scan("m.pkl", path) for _ in range(4)),
                pool.scan("r.pkl", BytesSource(pickle.dumps({}))),
            )

    *first, last = asyncio.run(scan_all())
    assert {report.verdict for report in first} == {Verdict.MALICIOUS}
    assert last.verdict is Verdict.CLEAN


class Watching:
    """A file that notes which scanning processes run while it is read."""

    def __init__(self, raw: bytes) -> None:
        self._source = BytesSource(raw)
        self.seen: frozenset[int] = frozenset()

    @property
    def size(self) -> int:
        return self._source.size

    def read(self, offset: int, length: int) -> bytes:
        self.seen = frozenset(children())
        return self._source.read(offset, length)


def children() -> set[int]:
    """Return the scanning processes of this one: the forks of its templates."""
    templates = [
        pid
        for pid in children_of(os.getpid())
        if b"sandbox.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return {pid for template in templates for pid in children_of(template)}


def children_of(parent: int) -> set[int]:
    listed = Path(f"/proc/{parent}/task").glob("*/children")
    return {int(pid) for path in listed for pid in path.read_text().split()}


def scanned_by(pool: SandboxPool, tenant: str) -> frozenset[int]:
    """Return the processes that run while a tenant's file is scanned."""
    source = Watching(pickle.dumps({"a": 1}))
    assert pool.scan_source("m.pkl", source, tenant=tenant).verdict is Verdict.CLEAN
    return source.seen


def test_a_process_scans_the_files_of_one_tenant_alone() -> None:
    with SandboxPool(1) as pool:
        acme = scanned_by(pool, "acme")
        both = scanned_by(pool, "globex")
        assert len(acme) == 1
        assert acme < both, "globex's file was scanned by another process"
        assert scanned_by(pool, "acme") == both == scanned_by(pool, "globex")


def test_idle_processes_are_bounded_and_the_one_used_longest_ago_ends() -> None:
    with SandboxPool(1, idle=2) as pool:
        first = scanned_by(pool, "a")
        scanned_by(pool, "b")
        assert len(scanned_by(pool, "c")) == 3, "two idle and the one that scans"
        assert len(children()) == 2
        assert not first & children()


def test_a_tenants_processes_are_shared_by_its_own_pushes_alone() -> None:
    async def scan_all() -> set[int]:
        with SandboxPool(2) as pool:
            for tenant in ("acme", "globex", "acme", "globex"):
                await pool.for_tenant(tenant)("a.txt", BytesSource(b"words"), frozenset())
            return children()

    assert len(asyncio.run(scan_all())) == 2


def test_a_process_started_from_a_folder_on_the_import_path_scans_too():
    """`python -c` puts an empty entry there, which stands for the folder it was started in."""
    root = Path(__file__).parents[5]
    code = (
        "from agents.checks.artifacts.sandbox.pool import Sandbox\n"
        "with Sandbox() as one: print(one.scan_bytes('a.txt', b'words\\n').verdict)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "clean"


@pytest.mark.parametrize("suffix", [".7z", ".zip", ".tar", ".tar.gz", ".tar.xz", ".tar.bz2"])
def test_a_confined_process_unpacks_every_kind_of_archive(sandbox, tmp_path, suffix):
    """A library may read a file of the system that confinement keeps from it."""
    member, archive = tmp_path / "data.pkl", tmp_path / f"model{suffix}"
    member.write_bytes(evil(2))
    if suffix == ".7z":
        with py7zr.SevenZipFile(archive, "w") as opened:
            opened.write(member, "data.pkl")
    elif suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as opened:
            opened.write(member, "data.pkl")
    else:
        with tarfile.open(archive, f"w:{suffix.removeprefix('.tar').removeprefix('.')}") as opened:
            opened.add(member, "data.pkl")
    report = sandbox.scan_path(archive)
    assert report.verdict is Verdict.MALICIOUS, report.reasons


SLOW = b"\x80\x04" + b"N0" * (1 << 18) + b"N."
"""A pickle that takes a scan some tenths of a second of CPU."""
SMALL_FILES = (
    ("a/one.txt", b"hello\n"),
    ("a/evil.pkl", evil(2)),
    ("a/empty.json", b""),
    ("a/slow.pkl", SLOW),
    ("a/broken.json", b"{"),
    ("a/evil.bin", evil(4)),
)


@pytest.fixture(scope="module")
def alone():
    """The reports of files that are scanned one by one."""
    with Sandbox() as one:
        return [one.scan_bytes(name, content) for name, content in SMALL_FILES]


def test_small_files_together_are_reported_as_each_alone(sandbox, alone):
    assert sandbox.scan_small(SMALL_FILES) == alone
    assert {report.verdict for report in alone} >= {Verdict.CLEAN, Verdict.MALICIOUS}
    assert sandbox.starts == 1


def test_file_that_exceeds_a_batch_is_scanned_alone(alone):
    with Sandbox(Limits(batch_seconds=0.05)) as sandbox:
        assert sandbox.scan_small(SMALL_FILES) == alone
        assert sandbox.starts == 2, "a process that was interrupted is replaced"


def test_a_batch_that_waits_for_the_processor_is_not_stopped(monkeypatch):
    timers = {}
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(signal, "setitimer", lambda kind, *after: timers.setdefault(kind, after[0]))
    limits = Limits(batch_seconds=3, wall_seconds=100)
    worker._batch(Batch(files=(Small("a.txt", b"words"),), siblings=None), frozenset(), limits)
    assert timers == {signal.ITIMER_PROF: 3, signal.ITIMER_REAL: 100}


def test_files_whose_process_dies_are_scanned_alone(sandbox, alone):
    assert sandbox.scan_bytes("first.txt", b"words").verdict is Verdict.CLEAN
    pid = sandbox.pid
    spent = cpu_seconds(pid)

    def kill() -> None:
        deadline = time.monotonic() + 60
        while cpu_seconds(pid) < spent + 0.1:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    reports = sandbox.scan_small(SMALL_FILES)
    killer.join()
    assert reports == alone
    assert sandbox.starts == 2


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_small_files_are_not_scanned_where_no_process_is_confined(monkeypatch):
    """Each result has the reason, as for a file that is scanned alone."""
    monkeypatch.setattr(
        "agents.checks.artifacts.sandbox.pool.ScanProcess", lambda _: (_ for _ in ()).throw(OSError)
    )
    with Sandbox() as sandbox:
        reports = sandbox.scan_small(SMALL_FILES)
    assert {report.verdict for report in reports} == {Verdict.INCOMPLETE}
    assert all("can't be started" in report.reasons[0] for report in reports)


def test_gathered_results_keep_their_order():
    first_may_end = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert first_may_end.wait(60)
        elif number == 7:
            first_may_end.set()
        return number * 10

    with SandboxPool(2) as pool:
        assert pool.gather(work, range(8)) == [number * 10 for number in range(8)]
        assert pool.gather(work, ()) == []


def test_an_error_in_what_is_gathered_is_raised():
    with SandboxPool(2) as pool, pytest.raises(ZeroDivisionError):
        pool.gather(lambda number: 1 // number, (1, 0, 1))
