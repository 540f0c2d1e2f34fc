"""Ends this process when its parent process ends for any reason."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from typing import Final

from streams.engine.crash import EXIT_CRASH

PR_SET_PDEATHSIG: Final = 1
LOOK_SECONDS: Final = 0.5


def end_with_parent(parent: int) -> None:
    """Have this process killed when its parent dies.

    Linux does it; elsewhere a thread looks for the parent. A kill is safe: nothing is acknowledged
    before it is done.

    Args:
        parent: The parent's process id, read while it was certainly alive.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(EXIT_CRASH)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(EXIT_CRASH)
