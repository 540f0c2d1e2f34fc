"""States of incidents, commands and holds: what ends them, and what takes them back."""

from __future__ import annotations

import pytest

from schemas.incidents.commands import UNDO
from schemas.incidents.holds import HELD, ReasonState
from schemas.incidents.states import Action, IncidentStatus


def test_refutation_ends_an_incident():
    refuting = {status for status in IncidentStatus if status.refuted}
    assert refuting == {IncidentStatus.FALSE_POSITIVE, IncidentStatus.WITHDRAWN}
    assert {status for status in IncidentStatus if status.ended} == {
        *refuting,
        IncidentStatus.CLOSED,
    }


def test_only_containing_actions_are_reversed():
    """A revoked credential stays revoked: a new one is issued instead."""
    assert set(UNDO) == HELD - {Action.REVOKE}


@pytest.mark.parametrize("action", UNDO)
def test_a_reversal_contains_nothing_and_belongs_to_one_action(action):
    reversal = UNDO[action]
    assert reversal not in HELD
    assert [contained for contained, undone in UNDO.items() if undone is reversal] == [action]


@pytest.mark.parametrize("state", ReasonState)
def test_a_reason_is_in_force_unless_it_needs_approval(state):
    assert state.stands is (state in {ReasonState.AUTOMATIC, ReasonState.APPROVED})
