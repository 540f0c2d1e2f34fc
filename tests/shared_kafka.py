"""Shares one broker among the processes that run tests; the first to ask has it started.

The process that distributes the tests owns it, so it lasts until the last test, and ends with it.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from streams.broker import EmbeddedBroker

END = "end"


class SharedKafka:
    """Answers every request with the address of the broker."""

    def __init__(self, broker: Callable[[Path], Any] = EmbeddedBroker) -> None:
        """Listen; start no broker yet.

        Args:
            broker: Makes it, of a folder for its data.
        """
        self._make = broker
        self._broker: Any = None
        self._folder = Path(tempfile.mkdtemp(prefix="tidewatch-kafka-"))
        self._key = secrets.token_bytes(32)
        self._listener = Listener(("127.0.0.1", 0), authkey=self._key)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def where(self) -> dict[str, Any]:
        """How it is asked: the argument of `address_of`, for another process."""
        return {"address": list(self._listener.address), "key": self._key}

    def _serve(self) -> None:
        while True:
            # one that ended while it asked is none of the others' business
            with contextlib.suppress(OSError, EOFError), self._listener.accept() as asking:
                if asking.recv() == END:
                    return
                asking.send(self._answer())

    def _answer(self) -> tuple[str, str]:
        """Return the address, and what went wrong if there is none."""
        if self._broker is None:
            broker = self._make(self._folder)
            try:
                # its log would stand among the dots of tests
                with contextlib.redirect_stdout(io.StringIO()):
                    broker.start()
            except Exception as error:  # noqa: BLE001 -- those who ask fail with it
                return "", str(error)
            self._broker = broker
        return self._broker.bootstrap, ""

    def close(self) -> None:
        """Stop listening, and the broker if it was started."""
        with _asking(self.where) as asking:
            asking.send(END)
        self._thread.join()
        self._listener.close()
        if self._broker is not None:
            with contextlib.redirect_stdout(io.StringIO()):
                self._broker.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def address_of(where: Mapping[str, Any]) -> str:
    """Return the broker's address, which is started if it was not.

    Args:
        where: Of `SharedKafka.where`.

    Raises:
        RuntimeError: It did not start.
    """
    with _asking(where) as asking:
        asking.send("address")
        address, fault = asking.recv()
    if fault:
        raise RuntimeError(f"the broker for the tests did not start: {fault}")
    return str(address)


def _asking(where: Mapping[str, Any]) -> Connection:
    host, port = where["address"]
    return Client((host, port), authkey=where["key"])
