"""One broker for all processes that run tests, started for the first that asks."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.shared_kafka import SharedKafka, address_of


class Broker:
    """A fake broker."""

    bootstrap = "127.0.0.1:9"

    def __init__(self, folder: Path, fault: str = "") -> None:
        self.folder, self.fault = folder, fault
        self.log: list[str] = []

    def start(self) -> None:
        self.log.append("start")
        (self.folder / "data").write_text("x")
        if self.fault:
            raise OSError(self.fault)

    def stop(self) -> None:
        self.log.append("stop")


def test_it_starts_once_for_all_who_ask_and_leaves_nothing() -> None:
    made: list[Broker] = []

    def make(folder: Path) -> Broker:
        made.append(Broker(folder))
        return made[-1]

    shared = SharedKafka(make)
    assert not made
    got: list[str] = []
    asking = [
        threading.Thread(target=lambda: got.append(address_of(shared.where))) for _ in range(3)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    shared.close()
    assert got == ["127.0.0.1:9"] * 3
    (broker,) = made
    assert broker.log == ["start", "stop"]
    assert not broker.folder.exists()


def test_a_broker_that_does_not_start_is_reported_to_every_caller() -> None:
    shared = SharedKafka(lambda folder: Broker(folder, "no Java"))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no Java"):
            address_of(shared.where)
    shared.close()
