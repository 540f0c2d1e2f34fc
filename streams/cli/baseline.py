"""`tidewatch baseline`: record what is already in use, without alerts."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.counting import counted
from schemas.errors import TidewatchError
from streams.cli.frame import connected_settings, example, new_app
from streams.cli.output import Format, FormatOption, plain, print_json, print_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.baseline.units import BaselineOrigin, Unit
    from streams.settings import Settings

app = new_app("Record what is already in use.")

AT_ONCE = 500
"""Events that are delivered together."""
PROGRESS_SECONDS = 5.0


@app.command(
    epilog=example(
        "tidewatch baseline requirements.txt --tenant tenant-a --check",
        "tidewatch baseline model/ --tenant tenant-a --system build-7",
    )
)
def baseline(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="environments, folders of models, lock files, SBOMs, listings of registries,"
            " OpenLineage history"
        ),
    ],
    *,
    tenant: Annotated[str, typer.Option(help="the tenant")],
    system: Annotated[str | None, typer.Option(help="its host; default: this host's name")] = None,
    registry: Annotated[
        str | None, typer.Option(help="the registry of folders and listings")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--as", help="the format of the files, as in `send --as`, or listing"),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="deliver again what was already delivered")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="read everything, send nothing")] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Publish what is already in use, so that the ledger knows it, without alerts.

    Only components known to be malicious, by intelligence or by a scan of their bytes, are
    reported. An interrupted run continues where it stopped; repeated delivery adds nothing. Exit
    code 2: something could not be read; the rest was delivered.
    """
    from streams.baseline.units import BaselineOrigin  # noqa: PLC0415 -- only this command

    origin = BaselineOrigin(tenant=tenant, system=system or socket.gethostname(), registry=registry)
    summary = BaselineCounts(quiet=form is Format.JSON)
    if check:
        for unit in summary.units(paths, origin, kind):
            summary.read(unit)
    else:
        asyncio.run(_deliver(connected_settings(), summary, paths, origin, kind, again=again))
    summary.write(form, check=check)


class BaselineCounts:
    """The counts of what was read and delivered."""

    def __init__(self, *, quiet: bool) -> None:
        """Begin."""
        self.by_type: Counter[str] = Counter()
        self.known = 0
        self.problems: list[str] = []
        self._quiet = quiet
        self._next = time.monotonic() + PROGRESS_SECONDS

    def units(self, paths: list[Path], origin: BaselineOrigin, kind: str | None) -> Iterator[Unit]:
        """Yield the units of all paths; note unreadable ones and continue."""
        for path in paths:
            try:
                yield from _units(path, origin, kind)
            except TidewatchError as error:
                self.problems.append(error.explain())

    def read(self, unit: Unit) -> list[Any]:
        """Return the events of a unit; note unreadable parts."""
        try:
            read = unit.events()
        except TidewatchError as error:
            self.problems.append(error.explain())
            return []
        self.problems += [event.explain() for event in read if isinstance(event, TidewatchError)]
        found = [event for event in read if not isinstance(event, TidewatchError)]
        self.by_type.update(event.type for event in found)
        return found

    def progress(self) -> None:
        """Print progress from time to time."""
        if not self._quiet and time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_SECONDS
            count = sum(self.by_type.values())
            read, known = counted(count, "event"), counted(self.known, "unit")
            sys.stderr.write(f"{read} read, {known} known before\n")

    def write(self, form: Format, *, check: bool) -> None:
        """Print the outcome, and exit with its code."""
        count = sum(self.by_type.values())
        if form is Format.JSON:
            print_json(
                {
                    "read": count,
                    "sent": 0 if check else count,
                    "known": self.known,
                    "by_type": self.by_type,
                    "problems": self.problems,
                }
            )
        else:
            for name, number in sorted(self.by_type.items()):
                print_line(f"{number:8} {name}")
            print_line(f"{count:8} {'read, none sent' if check else 'delivered as baseline'}")
            if self.known:
                print_line(f"{self.known:8} delivered before, and left out")
            for problem in self.problems:
                print_line(f"not read  {plain(problem)}")
        if self.problems:
            raise typer.Exit(2)


def _units(path: Path, origin: BaselineOrigin, kind: str | None) -> Iterator[Unit]:
    from streams.baseline.environments import (  # noqa: PLC0415 -- only this command
        environment_unit,
        site_folders,
    )
    from streams.baseline.files import file_units  # noqa: PLC0415 -- the same
    from streams.baseline.folders import folder_units  # noqa: PLC0415 -- the same

    if not path.exists():
        raise TidewatchError("the file does not exist", where=str(path), remedy="name one")
    if not path.is_dir():
        yield from file_units(path, origin, kind)
    elif site_folders(path):
        yield environment_unit(path, origin)
    else:
        yield from folder_units(path, origin)


async def _deliver(
    settings: Settings,
    summary: BaselineCounts,
    paths: list[Path],
    origin: BaselineOrigin,
    kind: str | None,
    *,
    again: bool,
) -> None:
    from streams.baseline.journal import BaselineJournal  # noqa: PLC0415 -- the same
    from streams.cli.send import publish  # noqa: PLC0415 -- the same
    from streams.event_records import EventRecord, written  # noqa: PLC0415 -- the same

    with BaselineJournal(
        settings.state_dir, origin.tenant, str(settings.kafka), settings.topic_prefix
    ) as journal:
        held: list[EventRecord] = []
        units: list[str] = []

        async def flush() -> None:
            if held:
                await publish(settings, held)
            journal.add(units)
            held.clear()
            units.clear()

        for unit in summary.units(paths, origin, kind):
            if not again and journal.has(unit.fingerprint):
                summary.known += 1
                continue
            before = len(summary.problems)
            events = summary.read(unit)
            records = [written(event) for event in events]
            too_large = [
                record for record in records if len(record.value) > settings.max_event_bytes
            ]
            if too_large:
                summary.problems.append(f"{unit.place}: an event is larger than max_event_bytes")
                summary.by_type.subtract(record.event.type for record in too_large)
                records = [record for record in records if record not in too_large]
            held += records
            if len(summary.problems) == before:
                units.append(unit.fingerprint)
            if len(held) >= AT_ONCE:
                await flush()
            summary.progress()
        await flush()
