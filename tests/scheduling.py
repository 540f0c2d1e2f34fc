"""Says what each of several processes that run tests collects first, and runs together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parents[1]
LONG = ("kafka", "fault", "slow")
"""Marks of tests that take longer than the others, or may."""

_SHARES = re.compile(r"scope=[\"']module[\"']|^@cache$", re.MULTILINE)
_FOLDER_SHARES = re.compile(r"scope=[\"']session[\"']")
_LONG = re.compile(rf"\bmark\.({'|'.join(LONG)})\b|(?<![\w.])(own_)?kafka(?=[:,)])")
"""Such a mark, or a fixture that is a broker among the parameters of a test."""


def group_of(nodeid: str) -> str:
    """Return what a test is run together with: its folder, its module, or nothing else.

    What a module sets up once is for its tests, so one process runs them all; and what the
    `conftest.py` of a folder sets up once, for the quick modules below it. Of other modules with
    long tests each test goes to whichever process is free. xdist's own groups are names that
    it appends to the ids of tests, which pytest 9.2 does not let it do; and the process that
    distributes the tests knows nothing of them but their ids. So the text of the module decides.
    """
    module = nodeid.partition("::")[0]
    return _group_of_module(module) or nodeid


@cache
def _group_of_module(module: str) -> str | None:
    """Return what all tests of a module are run together with, unless each goes by itself."""
    if _is_long(module):
        return module if _shares(module) else None
    folders = [str(folder) for folder in PurePosixPath(module).parents][:-2]  # not of all tests
    return next((folder for folder in folders if _folder_shares(folder)), module)


@cache
def _is_long(module: str) -> bool:
    return _LONG.search((ROOT / module).read_text()) is not None


@cache
def _shares(module: str) -> bool:
    return _SHARES.search((ROOT / module).read_text()) is not None


@cache
def _folder_shares(folder: str) -> bool:
    conftest = ROOT / folder / "conftest.py"
    return conftest.is_file() and _FOLDER_SHARES.search(conftest.read_text()) is not None


class Scheduling(LoadScopeScheduling):
    """xdist's scheduling by modules, with finer parts; its option `--dist loadscope` selects it."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def longest_first(items: list[pytest.Item]) -> None:
    """Put groups with long tests before others, by the time that their tests are given.

    Of those that are given the same, the larger come first: what many tests share took long to
    set up. So no process is left with a long test or many tests when the others are done.
    """
    longest: dict[str, float] = {}
    sizes: Counter[str] = Counter()
    for item in items:
        group = group_of(item.nodeid)
        longest[group] = max(longest.get(group, 0.0), _seconds_given(item))
        sizes[group] += 1

    def place(item: pytest.Item) -> tuple[float, int, str]:
        group = group_of(item.nodeid)
        return -longest[group], -sizes[group], item.nodeid.partition("::")[0]

    items.sort(key=place)


def _seconds_given(item: pytest.Item) -> float:
    """Return how long a test may take; 0 for the quick ones."""
    nearest: dict[str, pytest.Mark] = {}
    for mark in item.iter_markers():
        nearest.setdefault(mark.name, mark)
    if nearest.keys().isdisjoint(LONG):
        return 0.0
    return float(nearest["timeout"].args[0]) if "timeout" in nearest else 1.0


def others_first(files: Sequence[str], process: int, processes: int) -> list[str]:
    """Return files from another place on for each of the processes that collect all of them.

    What one of them imports first is compiled, with its bytecode kept, when the others come to
    it. Where nothing is compiled, as in a fresh clone, that takes longer than all else of
    collecting, and processes that go the same way at the same time would each do all of it.

    Args:
        files: In the order that they are run.
        process: Which of the processes, from 0 on.
        processes: How many there are.
    """
    start = len(files) * process // processes
    return [*files[start:], *files[:start]]
