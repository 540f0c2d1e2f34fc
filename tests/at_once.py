"""Runs a call in many threads at the same time, in a process that has learned no type yet."""

from __future__ import annotations

import subprocess
import sys

TIMES = 3
_SCRIPT = """
import sys, threading
{setup}
sys.setswitchinterval(1e-6)
gate = threading.Barrier(len(items))
def at_once(item):
    gate.wait()
    {call}
threads = [threading.Thread(target=at_once, args=(item,)) for item in items]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("done")
"""


def assert_survives_threads(setup: str, call: str) -> None:
    """Assert that a call works in threads that make it for the first time: msgspec can crash there.

    Args:
        setup: Code that sets `items`, one for each thread.
        call: Code that uses `item`.
    """
    script = _SCRIPT.format(setup=setup, call=call)
    for _ in range(TIMES):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr[-500:]
        assert not done.stderr, done.stderr[-500:]
