"""Sessions: how long they last, how many there are, and that links work once."""

from __future__ import annotations

from streams.console import sessions as module
from streams.console.sessions import Sessions
from streams.console.viewer import Viewer
from tests.streams.console.site import ACME, OPERATOR


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_session_ends_when_unused_or_old():
    clock = Clock()
    made = Sessions(idle_seconds=100, session_seconds=250, clock=clock)
    token = made.start(OPERATOR)
    for _ in range(4):
        clock.now += 60
        assert made.of(token) is not None
    clock.now += 60
    assert made.of(token) is None
    token = made.start(OPERATOR)
    clock.now += 101
    assert made.of(token) is None


def test_token_opens_only_its_own_session():
    made = Sessions()
    one, other = made.start(OPERATOR), made.start(ACME)
    assert made.of(one).viewer is OPERATOR
    assert made.of(other).viewer is ACME
    assert made.of(one).csrf != made.of(other).csrf
    for wrong in (None, "", one[:-1], one + "x", "\ud800"):
        assert made.of(wrong) is None
    made.end(one)
    assert made.of(one) is None
    assert made.of(other) is not None


def test_no_person_takes_the_sessions_of_another(monkeypatch):
    monkeypatch.setattr(module, "MOST_OF_ONE", 3)
    made = Sessions()
    kept = made.start(ACME)
    tokens = [made.start(OPERATOR) for _ in range(5)]
    assert [made.of(token) is not None for token in tokens] == [False, False, True, True, True]
    assert made.of(kept) is not None


def test_number_of_sessions_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MOST_SESSIONS", 4)
    made = Sessions()
    tokens = [made.start(Viewer(name=f"n{number}")) for number in range(6)]
    assert [made.of(token) is not None for token in tokens] == [False] * 2 + [True] * 4


def test_a_link_is_used_once_ends_with_the_next_and_grows_old():
    clock = Clock()
    made = Sessions(clock=clock)
    first = made.new_link(OPERATOR)
    second = made.new_link(OPERATOR)
    assert made.use_link(first) is None
    assert made.link_waits()
    assert made.use_link(second) is OPERATOR
    assert made.use_link(second) is None
    assert not made.link_waits()
    third = made.new_link(OPERATOR)
    clock.now += module.LINK_SECONDS + 1
    assert not made.link_waits()
    assert made.use_link(third) is None
