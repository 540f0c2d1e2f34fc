"""Determines which containment of a component a person may release, and the decisions for it."""

from __future__ import annotations

import msgspec

from schemas.errors import TidewatchError
from schemas.incidents.holds import HoldState, HoldView, ThingView


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One release decision: an incident's reason for one hold ends."""

    incident: str
    target: str
    """The id of the command that contains it."""


def releasable(view: HoldView) -> list[ThingView]:
    """Return the releasable holds: those of closed incidents only.

    Args:
        view: The holds of one component in one tenant.

    Raises:
        TidewatchError: Nothing is held, or an open incident still holds it.
    """
    held = [thing for thing in view.things if thing.state is HoldState.HELD]
    if not held:
        raise TidewatchError(
            f"nothing of {view.component} is contained for {view.tenant}",
            remedy="see: tidewatch holds list",
        )
    still = sorted(
        {
            reason.incident
            for thing in held
            for reason in thing.reasons
            if reason.state.stands and not reason.closed
        }
    )
    if still:
        raise TidewatchError(
            f"{', '.join(still)} is open and still holds {view.component}",
            where=view.tenant,
            remedy="close it, or run: tidewatch incidents false-positive",
        )
    return held


def releases(thing: ThingView) -> list[Release]:
    """Return the decisions that release one hold: one for each reason in force.

    If none stands, it is held since there were more reasons than are kept: each that is kept can
    end that.

    Args:
        thing: The hold.
    """
    if thing.command is None:
        return []
    standing = [reason for reason in thing.reasons if reason.state.stands]
    return [
        Release(incident=reason.incident, target=thing.command.command_id)
        for reason in standing or thing.reasons
    ]
