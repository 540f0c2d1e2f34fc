"""Fetching never blocks the event loop: what waits for a server waits in a thread."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any

from agents.checks.provenance.planning import plan_scan
from agents.checks.provenance.scan_push import scan_push
from schemas.events import File
from schemas.severity import Verdict
from tests.agents.checks.provenance.pushes import knowing, push_event
from tests.agents.checks.provenance.scanning import FileResult, MemoryFetch, MemorySource


class Waiting:
    """Notes each call that would hold up an event loop if a server were slow."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.on_the_loop: list[str] = []

    def note(self, what: str) -> None:
        self.calls.append(what)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self.on_the_loop.append(what)


class Source(MemorySource):
    def __init__(self, raw: bytes, waiting: Waiting) -> None:
        super().__init__(raw)
        self.waiting = waiting

    def read(self, offset: int, length: int) -> bytes:
        self.waiting.note("read")
        return super().read(offset, length)  # type: ignore[no-any-return]


class Fetch(MemoryFetch):
    def __init__(self, contents: dict[str, bytes], waiting: Waiting) -> None:
        super().__init__(contents)
        self.contents = contents
        self.waiting = waiting

    def open(self, uri: str) -> Source:
        self.waiting.note("open")
        return Source(self.contents[uri], self.waiting)

    def listing(self, uri: str) -> tuple[File, ...]:
        self.waiting.note("listing")
        del uri
        return tuple(File(path=name.rpartition("/")[2], uri=name) for name in self.contents)


async def in_a_thread(path: str, source: Any, siblings: frozenset[str]) -> FileResult:
    """Scan as the pool does: the source is read by a thread."""
    del path, siblings
    await asyncio.to_thread(source.read, 0, 100)
    return FileResult(verdict=Verdict.CLEAN)


def test_opening_listing_and_reading_happen_off_the_loop() -> None:
    waiting = Waiting()
    knowledge = knowing({"roots": ["hf://acme-labs"]})
    event = push_event(
        repository="acme-labs/m", registry="huggingface", revision="9" * 40, files=[]
    )
    request = plan_scan(event, knowledge.policy("tenant-a"))
    assert request is not None
    contents = {
        f"hf://acme-labs/m@{'9' * 40}/{name}": raw
        for name, raw in {"README.md": b"# card", "m.safetensors": b"x" * 100}.items()
    }
    asyncio.run(
        scan_push(
            request, knowledge, Fetch(contents, waiting), in_a_thread, now_ms=1, turn=nullcontext
        )
    )
    assert {"listing", "open", "read"} <= set(waiting.calls)
    assert not waiting.on_the_loop
