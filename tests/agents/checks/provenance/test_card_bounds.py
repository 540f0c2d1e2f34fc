"""Reading the head of a model card takes time linear in its length."""

from __future__ import annotations

import pytest

from agents.checks.provenance.card_reading import read_card


@pytest.mark.parametrize(
    "head",
    ["a: " + "[" * 200_000, "[{a: " * 40_000, "a: [" + "a," * 120_000 + "]", "- " * 100_000],
    ids=["deep", "nested", "wide", "indented"],
)
def test_a_head_that_is_deep_or_wide_claims_nothing(head):
    assert read_card(f"---\n{head}\n---\n".encode()) is None


def test_a_number_to_the_base_of_sixty_is_a_text():
    card = read_card(("---\nlicense: " + "1:" * 100_000 + "1\n---\n").encode())
    assert card is not None
    assert card.license is not None
    assert card.license.startswith("1:1:")


def test_empty_licence_claims_nothing():
    card = read_card(b"---\nlicense: null\nbase_model: ~\n---\n")
    assert card is not None
    assert (card.license, card.base_model) == (None, ())
