"""Reads incidents from their topic, and finds the one that an argument names."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from schemas.channels import Channel
from schemas.errors import TidewatchError
from schemas.incidents.views import IncidentDocument
from streams.cli.frame import connected_settings

_INCIDENTS: Final = msgspec.json.Decoder(IncidentDocument)

WAIT_STEP: Final = 0.5
"""Seconds between two looks at the topic while a decision is awaited."""

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.settings import Settings

IncidentArgument = Annotated[str, typer.Argument(help="the incident's id, or a prefix")]


async def _read(settings: Settings) -> dict[str, IncidentDocument]:
    """Return the last record of every incident."""
    from streams.kafka.reader import full_name, read_topic  # noqa: PLC0415 -- brings Kafka

    found: dict[str, IncidentDocument] = {}
    topic = full_name(settings, Channel.INCIDENTS)
    async for record in read_topic(settings, topic, from_start=True, follow=False):
        key = (record.key or b"").decode("utf-8", "replace")
        if record.value is None:
            found.pop(key, None)
        else:
            found[key] = _INCIDENTS.decode(record.value)
    return found


def all_incidents() -> dict[str, IncidentDocument]:
    """Return every incident by id, read from the topic."""
    return asyncio.run(_read(connected_settings()))


def one_incident(start: str) -> IncidentDocument:
    """Return the incident whose id is or begins with `start`.

    Raises:
        TidewatchError: There is none, or more than one.
    """
    incidents = all_incidents()
    if start in incidents:
        return incidents[start]
    matching = [doc for key, doc in incidents.items() if key.startswith(start)]
    if len(matching) != 1:
        raise TidewatchError(
            f"{'no' if not matching else 'more than one'} incident begins with {start!r}",
            remedy="see: tidewatch incidents list",
        )
    return matching[0]


async def _state_once(
    settings: Settings,
    incident: str,
    state: Callable[[IncidentDocument], str | None],
    seconds: float,
) -> str | None:
    from streams.kafka.reader import full_name, open_topic  # noqa: PLC0415 -- brings Kafka

    deadline = time.monotonic() + seconds
    latest: IncidentDocument | None = None
    async with open_topic(
        settings, full_name(settings, Channel.INCIDENTS), from_start=True
    ) as reader:
        while True:
            async with aclosing(reader.to_end()) as records:
                async for record in records:
                    if record.key == incident.encode():
                        latest = _INCIDENTS.decode(record.value) if record.value else None
            found = state(latest) if latest is not None else None
            if found is not None or time.monotonic() >= deadline:
                return found
            await asyncio.sleep(WAIT_STEP)


def state_once(
    incident: str, state: Callable[[IncidentDocument], str | None], seconds: float
) -> str | None:
    """Return the state of an incident once it has one, None if it has none in time.

    The topic is read once, then read on.

    Args:
        incident: The incident's id.
        state: Returns the state that is awaited, None before that.
        seconds: How long to wait.
    """
    return asyncio.run(_state_once(connected_settings(), incident, state, seconds))
