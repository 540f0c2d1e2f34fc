"""Tallies read by the operator's register as it is now."""

from __future__ import annotations

import pytest

from agents.domain.organisations import Register
from agents.triage.bounded_sets import Tally
from agents.triage.organisation_counts import organisations_in

CAP = 64


def tally_of(*names):
    tally = Tally()
    for name in names:
        tally.add(name, CAP)
    return tally


def test_without_a_register_every_name_counts():
    assert organisations_in(tally_of("a", "b"), Register()) == 2
    assert organisations_in(tally_of("a", "b"), Register(), "a") == 1


def test_names_that_the_register_does_not_have_count_no_more():
    tally = tally_of("mallory-1", "mallory-2", "bank")
    register = Register({"b": "bank", "c": "bank", "d": "dealer"})
    assert organisations_in(tally, register) == 1
    assert organisations_in(tally, register, "bank") == 0
    assert organisations_in(tally, register, "dealer") == 1
    assert organisations_in(Tally(), register, "bank") == 0


@pytest.mark.parametrize("invented", [CAP, 10 * CAP])
def test_a_full_tally_of_made_up_names_counts_no_more_than_are_registered(invented):
    tally = tally_of(*(f"mallory-{number}" for number in range(invented)), "bank", "dealer")
    register = Register({"b": "bank", "d": "dealer"})
    assert 0 <= organisations_in(tally, register) <= 2
