"""`tidewatch gate`: wait for an event's assessment; pass or fail by it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from schemas.severity import Severity, Status
from streams.cli.frame import connected_settings, example, new_app
from streams.cli.output import Format, FormatOption, plain, print_json, print_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.gates import Assessed, EventName
    from streams.settings import Settings

app = new_app("Wait for the assessment of an event.")

FailOnOption = Annotated[
    Severity, typer.Option("--fail-on", help="the least severe finding that fails")
]
TimeoutOption = Annotated[
    str, typer.Option("--timeout", help="how long to wait, as 30s, 10m or 1h")
]


@app.command(
    epilog=example(
        "tidewatch gate 5f0f6c1e-0002 --tenant tenant-a --timeout 30s",
        "tidewatch gate host:runner-7 --fail-on critical --timeout 30s",
    )
)
def gate(
    named: Annotated[str, typer.Argument(help="the id of an event, or a subject")],
    *,
    tenant: Annotated[str | None, typer.Option(help="the event's tenant")] = None,
    source: Annotated[str | None, typer.Option(help="the source of the event")] = None,
    fail_on: FailOnOption = Severity.MEDIUM,
    timeout: TimeoutOption = "10m",
    since: Annotated[
        str, typer.Option("--since", help="how far back to look for it, as 30m or 24h")
    ] = "24h",
    form: FormatOption = Format.TEXT,
) -> None:
    """Wait for an event's final assessment, print it, and pass or fail by it.

    For a subject, the newest event counts. Exit code 0: nothing at or above --fail-on; 1: a
    finding, or a failed check; 2: not assessed in time, or something could not be checked.
    """
    from streams.gates import NOT_DONE, read_duration, verdict  # noqa: PLC0415 -- this command's

    seconds, back = read_duration(timeout, "--timeout"), read_duration(since, "--since")
    found = asyncio.run(_wait(connected_settings(), named, tenant, source, seconds, back))
    if found is None:
        if form is Format.JSON:
            print_json({"named": named, "final": False, "assessment": None, "code": NOT_DONE})
        else:
            print_line(f"{plain(named)}: no assessment within {timeout}")
        raise typer.Exit(NOT_DONE)
    code = verdict(found, fail_on)
    if form is Format.JSON:
        print_json(shown(found, code))
    else:
        print_assessed(found, code)
    raise typer.Exit(code)


async def _wait(
    settings: Settings,
    named: str,
    tenant: str | None,
    source: str | None,
    seconds: float,
    back: float,
) -> Assessed | None:
    from streams.gates import following, wait_for_named  # noqa: PLC0415 -- the same

    async with following(settings, since_seconds=back) as follower:
        return await wait_for_named(follower, named, tenant=tenant, source=source, seconds=seconds)


def shown(assessed: Assessed, code: int) -> dict[str, Any]:
    """Return the JSON output: the last assessment, and the gate's verdict."""
    return {
        "final": assessed.final,
        "status": assessed.status,
        "severity": assessed.severity,
        "code": code,
        "assessment": msgspec.to_builtins(assessed.last),
    }


def print_assessed(assessed: Assessed, code: int) -> None:
    """Print an assessment for people: what failed, and the verdict."""
    last = assessed.last
    severity = f", most severe finding: {assessed.severity}" if assessed.severity else ""
    print_line(f"{assessed.status}  {plain(last.subject)}  (event {plain(last.event_id)})")
    for check in last.checks:
        if check.status is not Status.PASS:
            detail = f"  {check.detail}" if check.detail else ""
            print_line(f"  {check.status:<10}  {plain(check.name)}{plain(detail, 200)}")
    count = sum(check.status is Status.PASS for check in last.checks)
    print_line(f"  {count} of {len(last.checks)} checks passed{severity}")
    if not assessed.final:
        print_line("  no final assessment in time")
    print_line("passed" if code == 0 else "failed" if code == 1 else "undecided")


def print_all(found: Mapping[EventName, Assessed | None], fail_on: Severity) -> list[int]:
    """Print the outcomes of several events, and return the gate's code for each."""
    from streams.gates import NOT_DONE, verdict  # noqa: PLC0415 -- the same

    codes: list[int] = []
    for (_, _, event), assessed in found.items():
        if assessed is None:
            codes.append(NOT_DONE)
            print_line(f"event {plain(event)}: no assessment in time")
            continue
        codes.append(verdict(assessed, fail_on))
        print_assessed(assessed, codes[-1])
    return codes
