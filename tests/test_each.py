"""Many cases that run as one test: none is left out, and each that fails is named."""

from __future__ import annotations

import inspect

import pytest

from tests.each import each


def test_each_case_runs_and_each_that_fails_is_named() -> None:
    seen = []

    @each(("left", "right"), [(1, 1), pytest.param(2, 3, id="unequal"), (4, 4), (5, 6)])
    def equal(left: int, right: int) -> None:
        seen.append(left)
        assert left == right

    with pytest.raises(ExceptionGroup) as failed:
        equal()
    assert seen == [1, 2, 4, 5]
    assert failed.value.message == "2 of 4 cases failed: unequal, 5-6"
    assert [error.__notes__ for error in failed.value.exceptions] == [
        ["in the case unequal"],
        ["in the case 5-6"],
    ]


def test_cases_are_made_when_the_test_runs_and_fixtures_are_passed_on() -> None:
    @each("name", lambda: iter(("a", "b")))
    def noted(name: str, seen: list[str]) -> None:
        seen.append(name)

    assert list(inspect.signature(noted).parameters) == ["seen"]
    seen: list[str] = []
    noted(seen=seen)
    assert seen == ["a", "b"]


def test_a_case_may_be_one_value_that_is_a_tuple() -> None:
    @each("pair", [(1, 2)])
    def two(pair: tuple[int, int]) -> None:
        assert pair == (1, 2)

    two()


@pytest.mark.parametrize("end", [pytest.fail, pytest.skip])
def test_a_case_that_ends_its_test_fails_and_the_others_run(end) -> None:
    seen = []

    @each("number", [1, 2])
    def ends(number: int) -> None:
        seen.append(number)
        if number == 1:
            end("so")

    with pytest.raises(BaseExceptionGroup, match="1 of 2 cases failed: 1"):
        ends()
    assert seen == [1, 2]


def test_no_case_is_a_failure() -> None:
    @each("number", [])
    def never(number: int) -> None:
        raise AssertionError(number)

    with pytest.raises(AssertionError, match="there is no case"):
        never()
