"""Decisions in the console: rights, preview, record and result."""

from __future__ import annotations

import re

import msgspec
import pytest

from schemas.channels import Channel
from schemas.decisions import DecisionKind
from schemas.errors import TidewatchError
from schemas.incidents.states import CommandStatus, IncidentStatus, Occurrence
from schemas.incidents.views import IncidentDocument, TimelineEntry
from schemas.key_bindings import NotAuthorisedError
from streams.console.actions import ACTS, offered, offered_for, planned
from streams.console.viewer import Role, Viewer
from streams.kafka.client import BrokerUnreachableError
from tests.agents.triage.flow import Flow
from tests.streams.console.played import fill, indexed, letter
from tests.streams.console.site import ACME, GLOBEX, OPERATOR, Decided, links, site
from tests.streams.console.test_pages import check_page

ANALYST = Viewer(name="ann@soc.example", role=Role.ANALYST, tenants="*")
READER = Viewer(name="rea@soc.example", role=Role.VIEWER, tenants="*")
APPROVER = Viewer(name="app@globex.example", role=Role.APPROVER, tenants=("globex",))


@pytest.fixture
def decided():
    return Decided()


@pytest.fixture
def desk(index, decided):
    with site(index, decide=decided) as made:
        yield made


def shared_incident(flow: Flow) -> IncidentDocument:
    return next(
        incident
        for incident in flow.incidents.values()
        if incident.tenant_count > 1 and incident.commands
    )


def incident_with(flow: Flow, state: CommandStatus) -> IncidentDocument:
    return next(
        incident
        for incident in flow.incidents.values()
        if any(view.state == state for view in incident.commands)
    )


def form_of(text: str) -> dict[str, str]:
    """Return the fields that a page's second form carries by itself."""
    form = text[text.rindex("<form") :]
    return dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form))


def test_decision_is_previewed_written_and_confirmed(desk, decided, played):
    document = incident_with(played.flow, CommandStatus.PROPOSED)
    browser = desk.browser(OPERATOR)
    page = browser.get(f"/incidents/{document.id}").text
    ask = next(path for path in links(page) if "kind=approve" in path)
    asked = browser.get(ask)
    check_page(ask, asked.text)
    view = next(view for view in document.commands if view.spec.command_id in ask)
    assert "The command is signed and issued to the responders of" in asked.text
    assert decided.calls == [], "nothing is written before it is confirmed"
    answer = browser.post(
        f"/incidents/{document.id}/decide", {**form_of(asked.text), "reason": "looked at it"}
    )
    assert answer.status_code == 303
    assert decided.calls == [
        (OPERATOR.name, DecisionKind.APPROVE, document.id, "looked at it",
         view.spec.tenant, view.spec.command_id, None),
    ]  # fmt: skip
    after = browser.get(answer.headers["location"])
    check_page("decided", after.text)
    assert "It is written, and not yet taken" in after.text


def test_it_counts_once_the_incident_says_so_and_is_refused_once_a_dead_letter_does(
    played, tmp_path
):
    document = shared_incident(played.flow)
    entry = TimelineEntry(
        at=document.first_seen, what=Occurrence.DECIDED, text="close by ann: over", ref="dec-one"
    )
    after = msgspec.structs.replace(document, timeline=(*document.timeline, entry))
    own = indexed(tmp_path, [])
    played_record = next(
        record for channel, record in played.records if channel is Channel.INCIDENTS
    )
    value = msgspec.json.encode(after)
    fill(own, [(Channel.INCIDENTS, msgspec.structs.replace(played_record, value=value))])
    fill(
        own,
        [(Channel.DEAD_LETTER, letter("x.decisions", b'{"id":"dec-two"}', "not-authorised"))],
    )
    with site(own) as made:
        browser = made.browser(OPERATOR)
        path = f"/incidents/{document.id}/decided?kind=close&id="
        assert "It counts." in browser.get(f"{path}dec-one").text
        refused = browser.get(f"{path}dec-two").text
        assert "It was refused." in refused
        assert "not-authorised" in refused
        assert "not yet taken" in browser.get(f"{path}dec-three").text
        assert "not yet taken" in browser.get(f"{path}%").text
    own.close()


@pytest.mark.parametrize("kind", [kind for kind, act in ACTS.items() if not act.target])
def test_every_decision_about_an_incident_says_what_it_will_do(desk, decided, played, kind):
    document = shared_incident(played.flow)
    browser = desk.browser(OPERATOR)
    asked = browser.get(f"/incidents/{document.id}/decide?kind={kind}")
    assert asked.status_code == 200
    check_page(kind, asked.text)
    assert re.search(r'id="effects".*?<li>[^<]{20,}', asked.text, re.DOTALL)
    answer = browser.post(
        f"/incidents/{document.id}/decide",
        {**form_of(asked.text), "reason": "because", "for": "*"},
    )
    assert answer.status_code == 303
    assert decided.calls[0][:2] == (OPERATOR.name, kind)
    assert decided.calls[0][4] is None


def test_the_operator_decides_for_one_tenant_alone_if_they_say_so(desk, decided, played):
    document = shared_incident(played.flow)
    tenant = document.tenants[0].tenant
    browser = desk.browser(OPERATOR)
    fields = {"csrf": browser.csrf(), "kind": "close", "reason": "over"}
    path = f"/incidents/{document.id}/decide"
    assert browser.post(path, {**fields, "for": tenant}).status_code == 303
    assert decided.calls[0][4] == tenant
    assert browser.post(path, {**fields, "for": "nobody"}).status_code == 400
    assert len(decided.calls) == 1


def test_a_tenants_viewer_decides_for_that_tenant_alone_whatever_the_form_says(
    desk, decided, played
):
    document = shared_incident(played.flow)
    browser = desk.browser(APPROVER)
    fields = {"csrf": browser.csrf(), "kind": "close", "reason": "over"}
    path = f"/incidents/{document.id}/decide"
    for chosen in ("*", "", "northwind", "globex"):
        assert browser.post(path, {**fields, "for": chosen}).status_code == 303
    assert {call[4] for call in decided.calls} == {"globex"}


def test_nobody_decides_about_what_they_may_not_read(desk, decided, played):
    browser = desk.browser(GLOBEX)
    csrf = browser.csrf()
    own = {incident for incident, tenant in played.flow.alerts if tenant == "globex"}
    for incident in set(played.flow.incidents) - own:
        fields = {"csrf": csrf, "kind": "close", "reason": "over"}
        assert browser.post(f"/incidents/{incident}/decide", fields).status_code == 404
    document = shared_incident(played.flow)
    foreign = next(view for view in document.commands if view.spec.tenant != "globex")
    fields = {"csrf": csrf, "kind": "approve", "reason": "x", "target": foreign.spec.command_id}
    assert browser.post(f"/incidents/{document.id}/decide", fields).status_code == 409
    assert decided.calls == []


@pytest.mark.parametrize(
    ("viewer", "kind", "status"),
    [
        (READER, "comment", 403),
        (READER, "approve", 403),
        (ANALYST, "comment", 303),
        (ANALYST, "acknowledge", 303),
        (ANALYST, "close", 403),
        (ANALYST, "approve", 403),
        (ANALYST, "share", 403),
        (ACME, "share", 403),
        (OPERATOR, "share", 303),
        (OPERATOR, "no-such-decision", 404),
        (OPERATOR, "release", 404),
        (ANALYST, "suppress", 403),
        (ANALYST, "severity", 403),
    ],
)
def test_a_role_decides_what_it_may(desk, decided, played, viewer, kind, status):
    document = next(
        played.flow.incidents[incident]
        for incident, tenant in played.flow.alerts
        if tenant == "acme"
    )
    browser = desk.browser(viewer)
    fields = {"csrf": browser.csrf(), "kind": kind, "reason": "x"}
    answer = browser.post(f"/incidents/{document.id}/decide", fields)
    assert answer.status_code == status
    assert len(decided.calls) == (status == 303)
    ask = browser.get(f"/incidents/{document.id}/decide?kind={kind}")
    assert ask.status_code == (200 if status == 303 else status)


def test_a_viewer_is_offered_nothing_to_decide(desk, played):
    document = shared_incident(played.flow)
    text = desk.browser(READER).get(f"/incidents/{document.id}").text
    assert "/decide?" not in text
    assert offered(READER, document) == []
    assert [act.kind for act in offered(ANALYST, document)] == ["acknowledge", "assign", "comment"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "comment", "reason": "  "}, "Say why"),
        ({"kind": "comment", "reason": "\u00e9" * 151}, "300 bytes"),
        ({"kind": "assign", "reason": "x", "target": ""}, "Say to whom"),
        ({"kind": "severity", "reason": "x"}, "Choose a severity"),
        ({"kind": "severity", "reason": "x", "target": "severe"}, "Choose a severity"),
        ({"kind": "suppress", "reason": "x"}, "1 to 365"),
        ({"kind": "suppress", "reason": "x", "days": "0"}, "1 to 365"),
        ({"kind": "suppress", "reason": "x", "days": "366"}, "1 to 365"),
        ({"kind": "suppress", "reason": "x", "days": "-7"}, "1 to 365"),
        ({"kind": "suppress", "reason": "x", "days": "\u0663"}, "1 to 365"),
        ({"kind": "assign", "reason": "x", "target": "y" * 201}, "Say to whom"),
    ],
)
def test_missing_field_is_named_and_input_is_kept(desk, decided, played, fields, said):
    document = shared_incident(played.flow)
    browser = desk.browser(OPERATOR)
    answer = browser.post(f"/incidents/{document.id}/decide", {"csrf": browser.csrf(), **fields})
    assert answer.status_code == 400
    assert said in answer.text
    assert fields["reason"].strip() in answer.text
    check_page("form", answer.text)
    assert decided.calls == []


def test_a_decision_that_no_longer_applies_is_refused_with_the_reason(desk, decided, played):
    document = shared_incident(played.flow)
    browser = desk.browser(OPERATOR)
    done = next(view for view in document.commands if view.state != CommandStatus.PROPOSED)
    fields = {"csrf": browser.csrf(), "kind": "reject", "reason": "x",
              "target": done.spec.command_id}  # fmt: skip
    answer = browser.post(f"/incidents/{document.id}/decide", fields)
    assert answer.status_code == 409
    assert "nothing to reject" in answer.text
    fields["target"] = "no-such-command"
    assert browser.post(f"/incidents/{document.id}/decide", fields).status_code == 409
    assert decided.calls == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BrokerUnreachableError("the records were not delivered", remedy="check the broker"), 503),
        (NotAuthorisedError("the key operator may not sign for all tenants"), 403),
        (TidewatchError("a key is unreadable"), 503),
    ],
)
def test_a_decision_that_was_not_written_is_said_to_be_so(index, played, error, status):
    document = shared_incident(played.flow)
    with site(index, decide=Decided(error)) as made:
        browser = made.browser(OPERATOR)
        fields = {"csrf": browser.csrf(), "kind": "close", "reason": "over"}
        answer = browser.post(f"/incidents/{document.id}/decide", fields)
    assert answer.status_code == status
    assert error.what.lower() in answer.text.lower()
    check_page("error", answer.text)


def test_a_task_is_completed_by_the_analyst_of_the_incident(desk, decided, played):
    document = next(incident for incident in played.flow.incidents.values() if incident.tasks)
    browser = desk.browser(ANALYST)
    page = browser.get(f"/incidents/{document.id}").text
    ask = next(path for path in links(page) if "kind=evaluation" in path)
    asked = browser.get(ask)
    assert "as you say" in asked.text
    fields = {**form_of(asked.text), "reason": "rebuilt"}
    assert browser.post(f"/incidents/{document.id}/decide", fields).status_code == 303
    (call,) = decided.calls
    task = next(task for task in document.tasks if task.id == call[5])
    assert call[1] is DecisionKind.EVALUATION
    assert call[4] == task.tenant
    assert call[6] is True


def test_a_suppression_lasts_as_many_days_as_the_form_says(desk, decided, played):
    document = shared_incident(played.flow)
    tenant = document.tenants[0].tenant
    browser = desk.browser(OPERATOR)
    asked = browser.get(f"/incidents/{document.id}/decide?kind=suppress")
    check_page("suppress", asked.text)
    assert "the alert is not published again" in asked.text
    fields = {**form_of(asked.text), "reason": "known", "days": "30", "for": tenant}
    assert browser.post(f"/incidents/{document.id}/decide", fields).status_code == 303
    assert decided.calls == [
        (OPERATOR.name, DecisionKind.SUPPRESS, document.id, "known", tenant, None, None),
    ]  # fmt: skip
    assert decided.days == [30]


@pytest.mark.parametrize("target", ["low", "computed"])
def test_a_severity_is_set_as_the_form_says(desk, decided, played, target):
    document = shared_incident(played.flow)
    browser = desk.browser(APPROVER)
    asked = browser.get(f"/incidents/{document.id}/decide?kind=severity")
    check_page("severity", asked.text)
    assert "What is contained, proposed or carried out automatically does not change" in asked.text
    fields = {**form_of(asked.text), "reason": "a test host", "target": target}
    answer = browser.post(f"/incidents/{document.id}/decide", fields)
    assert answer.status_code == 303
    assert decided.calls == [
        (APPROVER.name, DecisionKind.SEVERITY, document.id, "a test host", "globex", target, None),
    ]
    assert "Its severity now" in browser.get(answer.headers["location"]).text


@pytest.mark.parametrize(
    ("tenant", "said"), [(None, True), ("northwind", True), ("globex", False)], ids=str
)
def test_a_severity_is_not_published_while_it_is_suppressed(played, tenant, said):
    document = shared_incident(played.flow)
    parts = tuple(
        msgspec.structs.replace(
            part,
            status=IncidentStatus.SUPPRESSED if part.tenant == "northwind" else part.status,
        )
        for part in document.tenants
    )
    assert {"northwind", "globex"} <= {part.tenant for part in parts}
    quiet = msgspec.structs.replace(document, tenants=parts)
    text = " ".join(
        planned(quiet, ACTS[DecisionKind.SEVERITY], target="low", tenant=tenant).effects
    )
    assert ("It is suppressed for northwind: until that ends" in text) is said
    assert ("The alert is published again" in text) is not said


def test_holds_in_force_are_named_with_their_outcome(played):
    flow = played.flow
    document = shared_incident(flow)
    views = tuple(
        msgspec.structs.replace(
            view,
            state=CommandStatus.DONE,
            spec=msgspec.structs.replace(view.spec, dry_run=False, undo="restore"),
        )
        for view in document.commands
    )
    held = msgspec.structs.replace(document, commands=views)
    close = planned(held, ACTS[DecisionKind.CLOSE], target="", tenant=None).effects
    refute = planned(held, ACTS[DecisionKind.FALSE_POSITIVE], target="", tenant=None).effects
    assert "What it contained stays contained until a person releases it:" in close
    assert "What it contained is released, unless another incident holds it as well:" in refute
    for view in views[:5]:
        line = f"{view.spec.action} {view.spec.target} of {view.spec.tenant}"
        assert any(line in effect for effect in close if isinstance(effect, tuple))
        assert any(line in effect for effect in refute if isinstance(effect, tuple))
    nothing = planned(
        msgspec.structs.replace(document, commands=(), tasks=()),
        ACTS[DecisionKind.CLOSE],
        target="",
        tenant="acme",
    ).effects
    assert nothing == ("The part of acme is closed. New findings open it again.",)


def test_only_decisions_that_the_command_line_takes_are_offered(played):
    for document in played.flow.incidents.values():
        for view in document.commands:
            kinds = {act.kind for act in offered_for(OPERATOR, document, view)}
            if view.state is CommandStatus.PROPOSED and view.spec.action != "rollback":
                assert kinds == {"approve", "reject"}
            if view.state in {CommandStatus.DONE, CommandStatus.ISSUED}:
                assert kinds == set()
