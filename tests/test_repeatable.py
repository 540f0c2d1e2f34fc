"""The examples of a property are the same on every run, whatever modules are loaded by then."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture.providers import HypothesisProvider


def test_no_example_comes_from_the_sources_that_happen_to_be_loaded() -> None:
    assert len(HypothesisProvider(None)._local_constants) == 0


def test_a_property_is_tried_on_the_same_examples_again() -> None:
    def drawn() -> list[str]:
        seen: list[str] = []

        @settings(max_examples=50, suppress_health_check=list(HealthCheck))
        @given(st.text(max_size=40))
        def look(text: str) -> None:
            seen.append(text)

        look()
        return seen

    assert drawn() == drawn()
