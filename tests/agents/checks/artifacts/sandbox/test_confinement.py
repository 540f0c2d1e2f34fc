"""A scanning process gives up files, network, programs and privileges, and says which."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from agents.checks.artifacts.sandbox import worker
from agents.checks.artifacts.sandbox.confinement import Confinement
from agents.checks.artifacts.sandbox.pool import Sandbox
from agents.checks.artifacts.sandbox.protocol import Limits
from schemas.severity import Verdict

WHOLE = Confinement(network=True, seccomp=True, landlock=1, capabilities=True, unprivileged=True)
TRY = """
import fcntl, os, resource, signal, socket, struct, sys
sys.path[:0] = {path!r}
from agents.checks.artifacts.sandbox.confinement import confine
(ready, told), (until, ended) = os.pipe(), os.pipe()
near, far = socket.socketpair()
other = os.fork()  # the process that scans another tenant's files
held = confine({path!r})
if not other:
    os.close(ended)
    os.write(told, b"x")
    os._exit(len(os.read(until, 1)))
os.read(ready, 1)
def refused(what):
    try:
        what()
    except OSError as error:
        return True
    return False
print(held.landlock > 0, held.seccomp, held.capabilities)
print(refused(lambda: open({secret!r})), refused(lambda: os.listdir({folder!r})))
print(refused(socket.socket), refused(os.fork), refused(lambda: os.execv("/bin/true", ["true"])))
print(refused(lambda: os.mkdir({folder!r} + "/made")), refused(lambda: os.kill(os.getppid(), 0)))
limit = resource.RLIMIT_CPU
print(refused(lambda: os.sched_setaffinity(other, {{0}})),
      refused(lambda: resource.prlimit(other, limit)),
      refused(lambda: os.setpriority(os.PRIO_PROCESS, other, 19)))
owner = struct.pack("i", other)
print(refused(lambda: fcntl.fcntl(ready, fcntl.F_SETOWN, other)),
      refused(lambda: fcntl.fcntl(ready, 10, signal.SIGKILL)),
      refused(lambda: fcntl.fcntl(ready, 15, struct.pack("ii", 1, other))),
      refused(lambda: fcntl.ioctl(near, 0x8901, owner)),
      refused(lambda: fcntl.ioctl(near, 0x8902, owner)))
print(fcntl.fcntl(ready, fcntl.F_GETFD) >= 0, fcntl.ioctl(near, 0x541B, bytes(4)) == bytes(4))
sent = []
signal.signal(signal.SIGUSR1, lambda *_: sent.append(True))
signal.raise_signal(signal.SIGUSR1)
print(sent == [True], resource.prlimit(0, limit) == resource.prlimit(os.getpid(), limit))
import colorsys, threading
thread = threading.Thread(target=print, args=("a thread",)); thread.start(); thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what confines a process is the kernel's")
def test_kernel_refuses_what_the_process_gave_up(tmp_path: Path) -> None:
    """Without the interpreter's own hook, which an attacker in the parser would remove."""
    secret = tmp_path / "secret"
    secret.write_text("of another tenant")
    script = TRY.format(path=sys.path, secret=str(secret), folder=str(tmp_path))

    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )

    first, *rest = ran.stdout.splitlines()
    landlock, seccomp, capabilities = (word == "True" for word in first.split())
    if not (landlock and seccomp):
        pytest.skip("this kernel, or the container's policy, has no landlock or seccomp")
    assert capabilities
    assert rest == [
        "True True", "True True True", "True True", "True True True",
        "True True True True True", "True True", "True True", "a thread",
    ], ran.stderr  # fmt: skip


def test_each_report_says_how_confined_its_scan_was() -> None:
    with Sandbox() as sandbox:
        report = sandbox.scan_bytes("a.txt", b"text")

    assert report.confinement
    assert "capabilities" in report.confinement


def test_missing_confinement_is_named() -> None:
    assert WHOLE.missing == ()
    assert str(WHOLE) == "seccomp, landlock 1, no network, no capabilities, not root"
    none = Confinement()
    assert none.missing == ("a network namespace", "seccomp", "landlock", "dropped capabilities")
    assert str(none).startswith("as root; without a network namespace, seccomp")


@pytest.mark.parametrize("landlock", [0, 7])
def test_a_process_that_must_be_confined_scans_nothing_without(
    landlock: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Confinement(network=True, seccomp=True, landlock=landlock, capabilities=True)
    limits = Limits(confined=True)
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(worker._Clock, "run", lambda _self, scan, _request: scan())
    with ours, theirs:
        request = worker.Request(path="a.txt", size=4, content=b"text")
        worker.send(ours, msgspec.msgpack.encode(request))
        ours.shutdown(socket.SHUT_WR)
        worker.serve(theirs, limits, held)
        done = msgspec.msgpack.decode(worker.receive(ours), type=worker.Done)
    if landlock:
        assert done.report.verdict is Verdict.CLEAN
    else:
        assert done.report.verdict is Verdict.INCOMPLETE
        assert done.report.reasons == ("the scanning process may not run without landlock",)
    assert done.report.confinement == str(held)
