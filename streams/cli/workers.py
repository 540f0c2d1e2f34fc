"""The worker process that `tidewatch up` starts, and that ends with it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import streams
from schemas.errors import TidewatchError
from streams.broker.errors import disk_errors

if TYPE_CHECKING:
    from streams.settings import Settings

STOP_SECONDS: Final = 25.0
_TAIL_BYTES: Final = 64 << 10
_OWN: Final = "tidewatch: "
"""The prefix of lines for people among those of the log."""
_START: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); "
    "from streams.cli import main; raise SystemExit(main())"
)
"""The folder that this product was imported from comes last: it need not be on the import path of
another process, and must not take the place of anything there. `-m` would import from the
working directory."""


class Workers:
    """All apps, supervised in one process of their own."""

    def __init__(self, settings: Settings) -> None:
        """Start it; it loads its apps while the broker starts.

        Args:
            settings: Their state folder is where its log goes.

        Raises:
            BrokerError: The state folder can't be written.
        """
        self._log = settings.state_dir / "worker.log"
        with disk_errors(settings.state_dir):
            self._log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            opened = self._log.open("ab")
            os.fchmod(opened.fileno(), 0o600)
        with opened:
            self._said = opened.tell()
            root = str(Path(next(iter(streams.__path__))).absolute().parent)
            self.process = subprocess.Popen(  # noqa: S603 -- our own interpreter and code
                [sys.executable, "-P", "-c", _START, root, "worker", "--await-kafka"],
                env={**os.environ, "TIDEWATCH_STATE_DIR": str(settings.state_dir)},
                stdin=subprocess.PIPE,
                stdout=opened,
                stderr=opened,
            )

    def tell_address(self, settings: Settings) -> None:
        """Let the apps begin."""
        assert self.process.stdin is not None, "it was opened as a pipe"
        with contextlib.suppress(BrokenPipeError):  # it ended: reported with its exit code
            self.process.stdin.write(f"{settings.kafka}\n".encode())
            self.process.stdin.close()

    def check(self) -> None:
        """Check that the process runs.

        Raises:
            TidewatchError: It has ended.
        """
        code = self.process.poll()
        if code is None:
            return
        words = self._last_words()
        if words:
            raise TidewatchError(f"the workers ended: {words}", where=str(self._log))
        raise TidewatchError(
            f"the workers ended with exit code {code}",
            where=str(self._log),
            remedy="read its last lines; tidewatch doctor checks what is needed",
        )

    def _last_words(self) -> str:
        """Return the last message that this process wrote to the log."""
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._said, end - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).decode("utf-8", "replace").splitlines()
            return next(
                (line.removeprefix(_OWN) for line in reversed(lines) if line.startswith(_OWN)), ""
            )
        return ""

    def stop(self) -> None:
        """Terminate the process; kill it if it does not end in time."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
