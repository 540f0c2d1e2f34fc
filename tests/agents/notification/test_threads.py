"""When people are notified of an incident, of which changes, and the escalation if nobody acts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agents.notification.book import THREADS
from agents.notification.threads import MESSAGES, REFUSALS, STALE_MS, DeliveryOutcome
from tests.agents.notification.making import (
    CONFIG,
    DOWN,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    TAKEN,
    Desk,
    alert,
    config,
    operator_alert,
    proposal,
)

ESCALATION = """
[[routes.escalation]]
after_seconds = 900
send_to = ["phone"]
[[routes.escalation]]
after_seconds = 3600
send_to = ["phone", "chat"]
min_severity = "critical"
"""
QUIET = """
[routes.quiet_hours]
time_zone = "UTC"
from = "{:02d}:00"
until = "{:02d}:00"
"""
AT = datetime.fromtimestamp(NOW / 1000, UTC)
TONIGHT = QUIET.format(AT.hour, (AT.hour + 8) % 24)
QUIET_LEFT = 8 * HOUR - AT.minute * MINUTE - AT.second * SECOND


@pytest.fixture
def desk():
    return Desk(config())


def test_an_incident_is_sent_once_its_first_updates_are_gathered(desk):
    desk.take(alert(severity="medium"))
    desk.now_ms += 10 * SECOND
    desk.take(alert(at_ms=NOW + 1, severity="high"))
    desk.pass_time(19 * SECOND)
    assert desk.got == []
    desk.pass_time(1 * SECOND)
    (one,) = desk.got
    assert one.message.event == "opened"
    assert one.message.title == "[HIGH] Malicious payload in acme/model"
    assert "tidewatch incidents show inc-1" in one.message.body
    desk.pass_time(HOUR, step=MINUTE)
    assert len(desk.got) == 1


def test_updates_within_the_interval_become_one_message_that_says_what_changed(desk):
    desk.take(alert())
    desk.pass_time(MINUTE)
    desk.take(alert(at_ms=NOW + 1, status="acknowledged"))
    desk.pass_time(MINUTE)
    desk.take(alert(at_ms=NOW + 2, status="contained", assignee="ann"))
    desk.pass_time(10 * MINUTE)
    assert desk.events() == ["opened", "updated"]
    assert "status from new to contained; assigned to ann" in desk.got[1].message.body


def test_a_rise_in_severity_does_not_wait_for_the_interval(desk):
    desk.take(alert())
    desk.pass_time(MINUTE)
    desk.take(alert(at_ms=NOW + 1, severity="critical"))
    desk.pass_time(30 * SECOND)
    assert desk.events() == ["opened", "updated"]


def test_a_return_to_the_state_that_was_sent_is_no_news(desk):
    desk.take(alert())
    desk.pass_time(MINUTE)
    desk.take(alert(at_ms=NOW + 1, status="acknowledged"))
    desk.take(alert(at_ms=NOW + 2))
    desk.take(alert(at_ms=NOW + 3, score=72))
    desk.pass_time(HOUR, step=MINUTE)
    assert desk.events() == ["opened"]


def test_closing_and_reopening_are_sent(desk):
    for number, status in enumerate(("new", "closed", "new")):
        desk.take(alert(at_ms=NOW + number, status=status))
        desk.pass_time(10 * MINUTE)
    assert desk.events() == ["opened", "closed", "reopened"]


def test_below_the_severity_of_the_route_nothing_is_sent_until_it_rises(desk):
    desk.take(alert(severity="low"))
    desk.pass_time(MINUTE)
    desk.take(alert(at_ms=NOW + 1, severity="high"))
    desk.pass_time(MINUTE)
    desk.take(alert(at_ms=NOW + 2, severity="low", status="closed"))
    desk.pass_time(10 * MINUTE)
    assert desk.events() == ["opened", "closed"]


def test_a_tenant_without_a_route_is_sent_to_nobody(desk):
    desk.take(alert(tenant="globex"), operator_alert())
    desk.pass_time(HOUR, step=MINUTE)
    assert desk.got == []
    assert desk.rows == {}


def test_proposals_are_listed_with_the_alert_and_again_when_they_come_later(desk):
    desk.take(proposal(), alert())
    desk.pass_time(MINUTE)
    desk.take(proposal(), proposal(command_id="cmd-2", action="block"))
    desk.pass_time(MINUTE)
    assert desk.events() == ["opened", "proposed"]
    assert "Approval needed: quarantine model:huggingface/acme/m" in desk.got[0].message.body
    assert desk.got[1].message.body.count("Approval needed") == 1
    assert "block model:huggingface/acme/m" in desk.got[1].message.body


def test_a_proposal_that_was_decided_meanwhile_is_not_asked_for(desk):
    desk.take(alert())
    desk.pass_time(MINUTE)
    desk.take(proposal())
    done = [{"command_id": "cmd-1", "mode": "approved", "state": "done"}]
    desk.take(alert(at_ms=NOW + 1, commands=done))
    desk.pass_time(HOUR, step=MINUTE)
    assert "To approve" not in "".join(delivery.message.body for delivery in desk.got)


def test_many_proposals_are_listed_in_part_and_counted(desk):
    desk.take(alert(), *(proposal(command_id=f"cmd-{number}") for number in range(30)))
    desk.pass_time(MINUTE)
    body = desk.got[0].message.body
    assert body.count("Approval needed") == 5
    assert "and 25 further proposals" in body


def test_quiet_hours_hold_back_what_is_not_severe_enough():
    desk = Desk(config(TONIGHT))
    desk.take(alert())
    desk.take(alert(incident="inc-2", severity="critical"))
    desk.pass_time(QUIET_LEFT - SECOND, step=15 * MINUTE)
    assert [delivery.message.incident for delivery in desk.got] == ["inc-2"]
    desk.pass_time(SECOND)
    assert [delivery.message.incident for delivery in desk.got] == ["inc-2", "inc-1"]


def test_rise_in_severity_breaks_through_quiet_hours():
    desk = Desk(config(TONIGHT))
    desk.take(alert())
    desk.pass_time(HOUR, step=MINUTE)
    desk.take(alert(at_ms=NOW + 1, severity="critical"))
    desk.pass_time(MINUTE)
    assert desk.events() == ["opened"]


def test_nobody_acknowledges_and_it_is_escalated_step_by_step():
    desk = Desk(config(ESCALATION))
    desk.take(alert(severity="critical"))
    desk.pass_time(2 * HOUR, step=MINUTE)
    assert desk.events("phone") == ["escalated", "escalated"]
    assert desk.events() == ["opened", "escalated"]
    assert "Not acknowledged for 15 minutes." in desk.got[1].message.body


def test_a_step_for_critical_incidents_is_left_out_for_others():
    desk = Desk(config(ESCALATION))
    desk.take(alert(severity="high"))
    desk.pass_time(2 * HOUR, step=MINUTE)
    assert desk.events("phone") == ["escalated"]


@pytest.mark.parametrize(
    "taken_on",
    [
        {"status": "acknowledged"},
        {"status": "closed"},
        {"assignee": "ann"},
        {"commands": [{"command_id": "c", "mode": "approved", "state": "issued"}]},
        {"commands": [{"command_id": "c", "mode": "proposal", "state": "rejected"}]},
    ],
)
def test_an_acknowledgement_ends_escalation(taken_on):
    desk = Desk(config(ESCALATION))
    desk.take(alert(severity="critical"))
    desk.pass_time(10 * MINUTE)
    desk.take(alert(at_ms=NOW + 1, severity="critical", **taken_on))
    desk.pass_time(2 * HOUR, step=MINUTE)
    assert desk.events("phone") == []


def test_containment_by_itself_is_no_acknowledgement():
    desk = Desk(config(ESCALATION))
    desk.take(alert(severity="critical", status="contained"))
    desk.pass_time(20 * MINUTE)
    assert desk.events("phone") == ["escalated"]


def test_escalation_keeps_quiet_hours():
    desk = Desk(config(ESCALATION + TONIGHT.replace("[routes.", "[routes.", 1)))
    desk.now_ms = NOW - AT.minute * MINUTE - AT.second * SECOND - 10 * MINUTE
    desk.take(alert())
    desk.pass_time(8 * HOUR, step=MINUTE)
    assert (desk.events(), desk.events("phone")) == (["opened"], [])
    desk.pass_time(HOUR, step=MINUTE)
    assert desk.events("phone") == ["escalated"]


def test_an_incident_that_ended_before_the_first_notice_is_not_sent():
    desk = Desk(config(), now_ms=NOW + STALE_MS + MINUTE)
    desk.take(alert(incident="inc-1", status="new"), alert(incident="inc-2", status="closed"))
    desk.pass_time(MINUTE)
    assert [delivery.message.incident for delivery in desk.got] == ["inc-1"]
    assert desk.book.stale == 1


def test_ended_thread_is_forgotten_after_a_week(desk):
    desk.take(alert(incident="inc-1", status="closed"), alert(incident="inc-2"))
    desk.pass_time(8 * 24 * HOUR, step=HOUR)
    assert [key.rpartition("|")[2] for key in desk.rows] == ["inc-2"]


def test_operator_alerts_go_to_routes_of_all_tenants():
    desk = Desk(
        config(
            '[[routes]]\nname = "ops"\ntenants = ["*"]\nkinds = ["operator-alert"]\n'
            'send_to = ["phone"]\n'
        )
    )
    desk.take(operator_alert(), operator_alert("source-silent", "//ci/7", id="opa-2"))
    desk.pass_time(MINUTE)
    desk.take(operator_alert("source-recovered", "//ci/7", id="opa-3"))
    desk.pass_time(HOUR, step=MINUTE)
    assert desk.events("phone") == ["operator"] * 3
    assert desk.events() == []
    titles = [delivery.message.title for delivery in desk.got]
    assert "[HIGH] topic paused: t-0" in titles
    assert titles[-1] == "[INFORMATIONAL] source recovered: //ci/7"


# -- delivery --------------------------------------------------------------------------------------


def test_a_message_keeps_its_id_and_its_bytes_until_it_is_taken(desk):
    tried = []
    desk.answer = lambda one: (tried.append(one.message), TAKEN if len(tried) > 3 else DOWN)[1]
    desk.take(alert())
    desk.pass_time(5 * MINUTE)
    assert len(tried) == 4
    assert len({(attempt.id, attempt.title, attempt.body, attempt.at_ms) for attempt in tried}) == 1
    assert desk.letters == {}


def test_message_undelivered_for_a_day_becomes_a_replayable_dead_letter(desk):
    desk.answer = lambda _: DOWN
    desk.take(alert())
    desk.pass_time(25 * HOUR, step=5 * MINUTE)
    ((key, row),) = desk.letters.items()
    desk.answer = lambda _: TAKEN
    desk.restart(replayed=[(key, row)])
    desk.pass_time(MINUTE)
    (one,) = desk.got
    assert one.message.event == "opened"
    assert one.message.id in key
    assert key not in desk.rows


def test_refused_message_does_not_block_others(desk):
    desk.answer = lambda one: (
        DeliveryOutcome(taken=False, refused=True, detail="answered 400")
        if one.message.incident == "inc-1"
        else TAKEN
    )
    desk.take(alert(), alert(incident="inc-2"))
    desk.pass_time(5 * MINUTE)
    assert [delivery.message.incident for delivery in desk.got] == ["inc-2"]
    ((_, row),) = desk.letters.items()
    assert b'"incident":"inc-1"' in row
    assert REFUSALS > 1


def test_a_destination_that_asks_to_wait_is_left_alone_as_a_whole(desk):
    asked = []

    def answer(_):
        asked.append(desk.now_ms)
        return TAKEN if len(asked) > 1 else DeliveryOutcome(taken=False, retry_after=120.0)

    desk.answer = answer
    desk.take(alert(), alert(incident="inc-2"), alert(incident="inc-3"))
    desk.pass_time(10 * MINUTE, step=SECOND)
    assert len(desk.got) == 3
    assert asked[1] - asked[0] >= 120 * SECOND


def test_failing_destination_does_not_delay_another():
    desk = Desk(config('[[routes]]\nname = "b"\ntenants = ["acme"]\nsend_to = ["phone", "chat"]'))
    desk.answer = lambda one: DOWN if one.destination == "phone" else TAKEN
    for number in range(MESSAGES + 3):
        desk.take(alert(at_ms=NOW + number, assignee=f"ann-{number}"))
        desk.pass_time(6 * MINUTE, step=MINUTE)
    both = [delivery for delivery in desk.got if delivery.message.route == "b"]
    assert len(both) == MESSAGES + 3
    # what gave way to later messages is not lost without a word
    assert len(desk.letters) == 3


def test_slow_destination_is_shared_fairly_between_tenants():
    desk = Desk(config('[[routes]]\nname = "all"\ntenants = ["*"]\nsend_to = ["phone"]'))
    desk.take(*(alert(tenant="noisy", incident=f"inc-{number}") for number in range(200)))
    desk.take(alert(tenant="quiet", incident="inc-q"))
    desk.now_ms += MINUTE
    desk.deliver()
    desk.deliver()
    assert {delivery.message.tenant for delivery in desk.got} == {"noisy", "quiet"}


def test_more_incidents_of_a_tenant_than_are_sent_one_by_one_share_a_message(desk):
    desk.take(*(alert(incident=f"inc-{number}") for number in range(THREADS + 40)))
    desk.take(*(alert(incident=f"inc-{number}", at_ms=NOW - 1) for number in range(THREADS + 40)))
    desk.pass_time(MINUTE, step=MINUTE)
    assert len(desk.got) == THREADS + 1
    folded = next(delivery for delivery in desk.got if "further" in delivery.message.title)
    assert folded.message.title == "[HIGH] 40 further incidents of acme"
    assert folded.message.incident is None


def test_a_destination_that_is_configured_no_longer_leaves_dead_letters():
    desk = Desk(config())
    desk.answer = lambda _: DOWN
    desk.take(alert())
    desk.pass_time(MINUTE)
    desk.config = config()
    del desk.config.destinations["chat"]
    desk.restart()
    desk.pass_time(MINUTE)
    assert len(desk.letters) == 1


def test_a_route_that_is_configured_no_longer_is_forgotten():
    desk = Desk(config())
    desk.take(alert())
    desk.pass_time(MINUTE)
    desk.config = config().__class__(
        destinations=config().destinations,
        routes=config(CONFIG[CONFIG.index("[[routes]]") :].replace('"soc"', '"new"')).routes[1:],
    )
    desk.restart()
    desk.pass_time(MINUTE)
    assert desk.rows == {}
