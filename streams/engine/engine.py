"""Gives each partition of an app's bindings its runner, and chunks to the runners."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from streams.engine.context import RunnerContext
from streams.engine.runner import PartitionRunner

if TYPE_CHECKING:
    from faust.types import EventT

    from streams.engine.binding import Binding
    from streams.engine.host import Host


class Engine:
    """The runners of one app."""

    def __init__(self, host: Host, name: str) -> None:
        """Keep the host; runners are created as chunks arrive."""
        self._host = host
        self.context = RunnerContext(host, name)
        self._runners: dict[tuple[str, int], PartitionRunner] = {}
        self._open = False

    def open(self) -> None:
        """Accept chunks from now on: the assigned partitions are recovered."""
        self._open = True

    def submit(self, binding: Binding, event: EventT[Any]) -> None:
        """Give a chunk to its runner; one of a previous assignment is dropped."""
        if not self._open or event.message.generation_id != self._host.consumer_generation_id:
            return
        key = (binding.name, event.message.partition)
        runner = self._runners.get(key)
        if runner is None:
            runner = self._runners[key] = PartitionRunner(
                self.context, binding, event.message.partition
            )
        runner.submit(event)

    def resume_due(self) -> None:
        """Resume the topics whose pause is over."""
        for topic in self.context.end_due_pauses():
            for runner in self._runners.values():
                runner.resume(topic)

    async def drain(self) -> None:
        """Finish or abandon all chunks within the drain time."""
        self._open = False
        runners, self._runners = list(self._runners.values()), {}
        if runners:
            await asyncio.gather(
                *(runner.close(self.context.settings.drain_seconds) for runner in runners)
            )
