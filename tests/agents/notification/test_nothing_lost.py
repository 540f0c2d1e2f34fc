"""Each incident's last state is sent exactly once, whatever fails."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.notification.notices import Notice
from agents.notification.threads import DeliveryOutcome
from schemas.notifications import NotificationThread
from tests.agents.notification.making import (
    DOWN,
    HOUR,
    MINUTE,
    NOW,
    TAKEN,
    Desk,
    alert,
    config,
    proposal,
)
from tests.agents.notification.test_threads import ESCALATION, TONIGHT
from tests.depth import examples

CONFIGS = [config(), config(ESCALATION), config(TONIGHT), config(ESCALATION + TONIGHT)]

alerts = st.tuples(
    st.just("alert"),
    st.sampled_from(["inc-1", "inc-2"]),
    st.sampled_from(["low", "medium", "high", "critical"]),
    st.sampled_from(["new", "acknowledged", "contained", "closed"]),
)
steps = st.lists(
    st.one_of(
        alerts,
        st.tuples(st.just("proposal"), st.sampled_from(["inc-1", "inc-2"]), st.integers(0, 3)),
        st.tuples(st.just("time"), st.sampled_from([1, 40, 400, 4000, 40_000])),
        st.tuples(st.just("answer"), st.sampled_from(["taken", "down", "refused", "busy"])),
        st.tuples(st.just("deliver")),
        st.tuples(st.just("crash")),
        st.tuples(st.just("replay"), st.integers(0, 4), st.integers(1, 4)),
    ),
    min_size=6,
    max_size=30,
)

ANSWERS = {
    "taken": TAKEN,
    "down": DOWN,
    "refused": DeliveryOutcome(taken=False, refused=True, detail="answered 400"),
    "busy": DeliveryOutcome(taken=False, retry_after=60.0, detail="answered 429"),
}


@settings(max_examples=examples(100))
@given(st.sampled_from(CONFIGS), steps)
def test_the_last_state_is_sent_and_nothing_is_sent_twice(chosen, done):
    desk = Desk(chosen)
    read: list[tuple[Notice, int]] = []
    crashes = 0
    for step in done:
        match step:
            case ("alert", incident, severity, status):
                at_ms = NOW + len(read)
                read.append(
                    (alert(at_ms, incident=incident, severity=severity, status=status), at_ms)
                )
                desk.take(read[-1][0], at_ms=at_ms)
            case ("proposal", incident, number):
                at_ms = NOW + len(read)
                read.append((proposal(incident, command_id=f"cmd-{number}"), at_ms))
                desk.take(read[-1][0], at_ms=at_ms)
            case ("time", seconds):
                desk.now_ms += seconds * 1000
            case ("answer", name):
                desk.answer = lambda _, name=name: ANSWERS[name]
            case ("deliver",):
                desk.deliver()
            case ("crash",):
                crashes += 1
                desk.deliver(crash=True)
            case ("replay", first, count):
                for notice, at_ms in read[first : first + count]:
                    desk.take(notice, at_ms=at_ms)
    desk.answer = lambda _: TAKEN
    desk.pass_time(36 * HOUR, step=20 * MINUTE)

    # one id is one message, and one message is taken once but for what a crash cut short
    by_id: dict[str, set[tuple[str, str, int]]] = {}
    for delivery in desk.got:
        by_id.setdefault(delivery.message.id, set()).add(
            (delivery.message.title, delivery.message.body, delivery.message.at_ms)
        )
    assert all(len(versions) == 1 for versions in by_id.values())
    taken = Counter((delivery.message.id, delivery.destination) for delivery in desk.got)
    assert max(taken.values(), default=0) <= 1 + crashes

    last: dict[str, Notice] = {}
    for notice, _ in read:
        if notice.standing is not None:
            last[notice.subject] = notice
    lost = b"".join(desk.letters.values())
    for incident, notice in last.items():
        assert notice.standing is not None
        thread = thread_of(desk, incident)
        sent = [
            delivery.message
            for delivery in desk.got
            if delivery.message.incident == incident and delivery.destination == "chat"
        ]
        if thread is None:
            # never severe enough for anybody to be sent
            assert notice.severity is not None
            assert notice.severity.rank < chosen.routes[0].min_severity.rank
            continue
        assert thread.now is not None
        assert thread.now.digest == notice.standing.digest
        assert thread.due_ms is None
        assert thread.messages == ()
        if thread.sent is not None:
            assert thread.sent.digest == notice.standing.digest
            assert sent or incident.encode() in lost
            said = [message for message in sent if message.event not in {"escalated", "proposed"}]
            assert (said and f"Status {thread.now.status}" in said[-1].body) or (
                incident.encode() in lost
            )
        # each step of escalation once, and none once it is acknowledged
        if thread.sent_ms is not None and not thread.now.acknowledged:
            wanted = [
                number
                for number, step in enumerate(chosen.routes[0].escalation, 1)
                if thread.now.severity.rank >= step.min_severity.rank
            ]
            assert thread.step >= max(wanted, default=0)


def thread_of(desk: Desk, incident: str) -> NotificationThread | None:
    """Return the thread of an incident."""
    return desk.book.thread(f"default|soc|acme|{incident}")
