"""`tidewatch holds`: list, show and release containment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from schemas.channels import Channel
from schemas.decisions import DecisionKind
from schemas.errors import TidewatchError
from schemas.incidents.holds import HoldState, HoldView
from streams.cli.frame import connected_settings, example, new_app
from streams.cli.incident_decisions import WAIT_SECONDS, WaitOption, decide
from streams.cli.incident_records import WAIT_STEP
from streams.cli.output import Format, FormatOption, print_json, print_line, print_table
from streams.releases import releasable, releases
from streams.reports.incident_words import ID_SHOWN, defanged_name, refanged

_HOLDS: Final = msgspec.json.Decoder(HoldView)

if TYPE_CHECKING:
    from streams.settings import Settings

app = new_app("List, show and release containment.")

TenantArgument = Annotated[str, typer.Argument(help="the tenant")]
ComponentArgument = Annotated[str, typer.Argument(help="the component's key, or its beginning")]


async def _read(settings: Settings) -> list[HoldView]:
    from streams.kafka.compacted import latest_values  # noqa: PLC0415 -- brings Kafka

    values = await latest_values(settings, Channel.HOLDS)
    return [_HOLDS.decode(values[key]) for key in sorted(values)]


def one_hold(views: list[HoldView], tenant: str, start: str) -> HoldView:
    """Return the hold of a component of a tenant.

    Raises:
        TidewatchError: There is none, or more than one.
    """
    start = refanged(start)
    own = [view for view in views if view.tenant == tenant]
    matching = [view for view in own if view.component == start] or [
        view for view in own if view.component.startswith(start)
    ]
    if len(matching) != 1:
        raise TidewatchError(
            f"{'nothing' if not matching else 'more than one component'} that begins with "
            f"{start!r} is held for {tenant}",
            remedy="see: tidewatch holds list",
        )
    return matching[0]


def hold_rows(view: HoldView) -> list[tuple[str, ...]]:
    """Return a line of the table for each thing that is held of a component."""
    return [
        (
            view.tenant,
            thing.action,
            thing.state.value,
            defanged_name(thing.target),
            f"{thing.status or ''} {thing.status_text}".strip(),
            ", ".join(
                f"{reason.incident[:ID_SHOWN]} {reason.state}{' (closed)' if reason.closed else ''}"
                for reason in thing.reasons
            ),
        )
        for thing in view.things
    ]


_COLUMNS = ("tenant", "action", "state", "target", "answer", "reasons")
_BELOW: Final = 3
"""Columns that a narrow terminal has no room for beside the others."""


@app.command("list", epilog=example("tidewatch holds list --format json"))
def list_holds(
    *,
    tenant: Annotated[str | None, typer.Option(help="only this tenant's")] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """List what is contained or proposed, with the incidents that require it."""
    views = [
        view
        for view in asyncio.run(_read(connected_settings()))
        if tenant is None or view.tenant == tenant
    ]
    if form is Format.JSON:
        print_json([msgspec.to_builtins(view) for view in views])
        return
    print_table(_COLUMNS, [row for view in views for row in hold_rows(view)], below=_BELOW)


@app.command(epilog=example("tidewatch holds show acme model:huggingface/acme/churn"))
def show(
    tenant: TenantArgument, component: ComponentArgument, *, form: FormatOption = Format.TEXT
) -> None:
    """Show every hold of one component."""
    view = one_hold(asyncio.run(_read(connected_settings())), tenant, component)
    if form is Format.JSON:
        print_json(msgspec.to_builtins(view))
        return
    print_table(_COLUMNS, hold_rows(view), below=_BELOW)
    for thing in view.things:
        for reason in thing.reasons:
            if reason.why:
                target = defanged_name(thing.target)
                print_line(f"{thing.action} {target}, {reason.incident}: {reason.why}")
    if view.suspected:
        names = ", ".join(map(defanged_name, view.suspected))
        print_line(f"excluded from rollback: {names}")
    for thing in view.things:
        if thing.overflowed:
            print_line(
                f"{thing.action} {defanged_name(thing.target)}: more incidents call for it than "
                "are listed: only tidewatch holds release ends it"
            )
    if view.truncated:
        print_line("not every request is kept: contain the rest manually")


@app.command(
    epilog=example(
        'tidewatch holds release acme model:huggingface/acme/churn --reason "verified by hand"'
    )
)
def release(
    tenant: TenantArgument,
    component: ComponentArgument,
    *,
    reason: Annotated[str, typer.Option(help="why; kept with the incidents")],
    wait: WaitOption = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Release what closed incidents contained; refused while an open one holds it."""
    settings = connected_settings()
    view = one_hold(asyncio.run(_read(settings)), tenant, component)
    held = releasable(view)
    for thing in held:
        for decision in releases(thing):
            decide(
                DecisionKind.RELEASE,
                decision.incident,
                reason,
                tenant=tenant,
                target=decision.target,
                form=form,
            )
        if form is Format.TEXT:
            print_line(f"released: {thing.action} {thing.target} of {tenant}")
    if wait:
        after = asyncio.run(_released(settings, view, {thing.target for thing in held}))
        if form is Format.JSON:
            print_json(msgspec.to_builtins(after))
        else:
            for thing in after.things:
                print_line(f"{thing.action} {defanged_name(thing.target)} is now {thing.state}")


async def _released(settings: Settings, before: HoldView, targets: set[str]) -> HoldView:
    """Return the holds of a component once none of what was released is held.

    Raises:
        TidewatchError: Something is still held in the end.
    """
    left = WAIT_SECONDS
    while left > 0:
        views = [
            view
            for view in await _read(settings)
            if (view.tenant, view.component) == (before.tenant, before.component)
        ]
        for view in views:
            if not any(t.state is HoldState.HELD and t.target in targets for t in view.things):
                return view
        await asyncio.sleep(WAIT_STEP)
        left -= WAIT_STEP
    raise TidewatchError(
        f"it did not take effect within {WAIT_SECONDS:.0f} s",
        where=before.component,
        remedy="the decisions are written: see whether they were refused, with tidewatch "
        "dead-letters list, and whether the workers run, with tidewatch doctor",
    )
