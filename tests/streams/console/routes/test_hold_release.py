"""Releases in the console: rights, preview and record."""

from __future__ import annotations

import msgspec
import pytest

from schemas.channels import Channel
from schemas.decisions import DecisionKind
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import HoldState, HoldView, ReasonState, ReasonView, ThingView
from schemas.incidents.states import Action, Mode, TargetType
from streams.console.pages import link
from streams.console.viewer import Role, Viewer
from streams.kafka.client import BrokerUnreachableError
from tests.streams.console.played import fill, indexed, letter, record
from tests.streams.console.routes.test_decisions import form_of
from tests.streams.console.site import ACME, OPERATOR, Decided, site
from tests.streams.console.test_pages import check_page

APPROVER = Viewer(name="app@acme.example", role=Role.APPROVER, tenants=("acme",))
ANALYST = Viewer(name="ann@acme.example", role=Role.ANALYST, tenants=("acme",))
ELSEWHERE = Viewer(name="gus@globex.example", role=Role.ADMIN, tenants=("globex",))
BOTH = Viewer(name="bo@soc.example", role=Role.APPROVER, tenants=("acme", "globex"))
COMPONENT = "model:huggingface/acme/churn"
FIRST, SECOND = "inc-" + "1" * 32, "inc-" + "2" * 32


def reason(incident: str, state: ReasonState = ReasonState.AUTOMATIC, *, closed: bool = True):
    return ReasonView(incident=incident, state=state, closed=closed)


def thing(action: Action, *reasons: ReasonView, state: HoldState = HoldState.HELD) -> ThingView:
    target = f"{COMPONENT}@r2"
    command = CommandSpec(
        command_id=f"cmd-{action}",
        incident=FIRST,
        tenant="acme",
        action=action,
        target=target,
        target_type=TargetType.COMPONENT,
        mode=Mode.AUTOMATIC,
        reason="it runs code when it is loaded",
        dry_run=False,
        undo="restore" if action is Action.QUARANTINE else None,
    )
    return ThingView(
        action=action, target=target, state=state, generation=0, reasons=reasons, command=command
    )


HELD = HoldView(
    tenant="acme",
    component=COMPONENT,
    things=(
        thing(
            Action.QUARANTINE, reason(FIRST), reason(SECOND), reason("inc-3", ReasonState.REFUTED)
        ),
        thing(Action.REVOKE, reason(FIRST)),
        thing(Action.BLOCK, reason(FIRST), state=HoldState.RELEASED),
    ),
)
OPEN = msgspec.structs.replace(
    HELD, things=(thing(Action.QUARANTINE, reason(FIRST), reason(SECOND, closed=False)),)
)
FREE = msgspec.structs.replace(
    HELD, things=(thing(Action.QUARANTINE, reason(FIRST), state=HoldState.RELEASED),)
)


def held_by(hold: HoldView):
    value = msgspec.json.encode(hold)
    return Channel.HOLDS, record(Channel.HOLDS, f"{hold.tenant}|{hold.component}", value)


@pytest.fixture
def desk(tmp_path):
    """Return a console over an index that holds one hold, and what is decided there."""
    opened = []

    def made(hold: HoldView = HELD, decided: Decided | None = None):
        index = indexed(tmp_path / str(len(opened)), [held_by(hold)])
        serving = site(index, decide=decided or Decided())
        opened.append((serving, index))
        return serving.__enter__()

    yield made
    for serving, index in opened:
        serving.__exit__(None, None, None)
        index.close()


def address(path: str, tenant: str = "acme") -> str:
    return link(path, tenant=tenant, component=COMPONENT)


@pytest.mark.parametrize("viewer", [APPROVER, BOTH, OPERATOR], ids=["own", "both", "operator"])
def test_release_is_previewed_and_ends_each_reason(desk, viewer):
    decided = Decided()
    browser = desk(decided=decided).browser(viewer)
    page = browser.get(address("/hold")).text
    assert "/hold/release?" in page
    asked = browser.get(address("/hold/release"))
    check_page("release", asked.text)
    assert "undone by restore" in asked.text
    assert "nothing undoes it" in asked.text
    assert "3 decisions are written" in asked.text
    assert decided.calls == [], "nothing is written before it is confirmed"
    answer = browser.post("/hold/release", {**form_of(asked.text), "reason": "verified by hand"})
    assert answer.status_code == 303
    assert decided.calls == [
        (viewer.name, DecisionKind.RELEASE, incident, "verified by hand", "acme", target, None)
        for incident, target in (
            (FIRST, "cmd-quarantine"),
            (SECOND, "cmd-quarantine"),
            (FIRST, "cmd-revoke"),
        )
    ]
    after = browser.get(answer.headers["location"])
    check_page("released", after.text)
    assert after.text.count("not yet taken<") == 3


@pytest.mark.parametrize(("hold", "said"), [(OPEN, f"{SECOND} is open"), (FREE, "nothing of")])
def test_hold_of_an_open_incident_is_not_released(desk, hold, said):
    decided = Decided()
    browser = desk(hold, decided).browser(APPROVER)
    assert "/hold/release?" not in browser.get(address("/hold")).text
    assert said in browser.get(address("/hold/release")).text
    fields = {"csrf": browser.csrf(), "tenant": "acme", "component": COMPONENT, "reason": "x"}
    answer = browser.post("/hold/release", fields)
    assert answer.status_code == 409
    assert said in answer.text
    assert decided.calls == []


def test_viewer_without_rights_releases_nothing(desk):
    decided = Decided()
    made = desk(decided=decided)
    for viewer, status in ((ANALYST, 403), (ELSEWHERE, 404)):
        browser = made.browser(viewer)
        fields = {"csrf": browser.csrf(), "tenant": "acme", "component": COMPONENT, "reason": "x"}
        for tenant in ("acme", "globex"):
            answer = browser.post("/hold/release", {**fields, "tenant": tenant})
            assert answer.status_code == status
            for path in ("/hold/release", "/hold/released"):
                assert browser.get(address(path, tenant)).status_code == status
    assert "/hold/release?" not in made.browser(ANALYST).get(address("/hold")).text
    unsigned = made.browser(ACME)
    fields = {"csrf": "x", "tenant": "acme", "component": COMPONENT, "reason": "x"}
    assert unsigned.post("/hold/release", fields).status_code == 403
    assert decided.calls == []


@pytest.mark.parametrize(("why", "said"), [(" ", "Say why"), ("\u00e9" * 151, "300 bytes")])
def test_a_release_needs_a_reason(desk, why, said):
    decided = Decided()
    browser = desk(decided=decided).browser(APPROVER)
    fields = {"csrf": browser.csrf(), "tenant": "acme", "component": COMPONENT, "reason": why}
    answer = browser.post("/hold/release", fields)
    assert answer.status_code == 400
    assert said in answer.text
    check_page("form", answer.text)
    assert decided.calls == []


def test_a_release_that_is_refused_or_not_written_is_said_to_be_so(desk):
    made = desk(decided=Decided(BrokerUnreachableError("the records were not delivered")))
    fill(
        made.services.index,
        [(Channel.DEAD_LETTER, letter("x.decisions", b'{"id":"dec-two"}', "not-authorised"))],
    )
    browser = made.browser(OPERATOR)
    fields = {"csrf": browser.csrf(), "tenant": "acme", "component": COMPONENT, "reason": "x"}
    assert browser.post("/hold/release", fields).status_code == 503
    page = browser.get(link("/hold/released", tenant="acme", component=COMPONENT,
                            id=[f"{FIRST}.dec-one", f"{SECOND}.dec-two", "odd"]))  # fmt: skip
    check_page("released", page.text)
    assert "refused" in page.text
    assert "not-authorised" in page.text
    assert page.text.count("not yet taken<") == 1
