"""Tests that share what a module sets up share a process; long ones that share nothing do not."""

from __future__ import annotations

from tests.scheduling import group_of, others_first


def test_a_module_that_sets_something_up_for_its_tests_is_one_group() -> None:
    module = "tests/e2e/test_poison.py"
    assert {group_of(f"{module}::test_one"), group_of(f"{module}::test_two[a]")} == {module}


def test_modules_for_which_their_folder_sets_something_up_are_one_group() -> None:
    folder = "tests/streams/console"
    quick = (f"{folder}/{name}.py::test_one" for name in ("test_pages", "routes/test_changes"))
    assert {group_of(nodeid) for nodeid in quick} == {folder}
    assert group_of(f"{folder}/test_browser.py::test_one") != folder


def test_long_tests_of_other_modules_go_where_there_is_room() -> None:
    one, two = (f"tests/streams/engine/test_lossless.py::test_{name}" for name in ("one", "two"))
    assert group_of(one) == one
    assert group_of(two) == two


def test_quick_tests_stay_together() -> None:
    module = "tests/agents/domain/test_rules.py"
    assert group_of(f"{module}::test_one[pypi::x]") == module


def test_each_process_collects_all_files_from_another_place_on() -> None:
    files = [f"tests/test_{letter}.py" for letter in "abcdefg"]
    orders = [others_first(files, process, 3) for process in range(3)]
    assert [sorted(order) for order in orders] == [files] * 3
    assert [order[0] for order in orders] == [files[0], files[2], files[4]]
