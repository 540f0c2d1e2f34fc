"""Choice of a command or task by number, id or prefix."""

from __future__ import annotations

import pytest
from msgspec import structs

from schemas.decisions import DecisionKind
from schemas.errors import TidewatchError
from schemas.incidents.commands import CommandView
from schemas.incidents.holds import HoldState, HoldView, ReasonState, ReasonView, ThingView
from streams.cli.choices import chosen_command, chosen_task
from streams.cli.holds import hold_rows, one_hold
from streams.releases import releasable
from tests.agents.triage.incidents.incident_flow import CASE, hostile
from tests.agents.triage.stories import MODEL


@pytest.fixture(scope="module")
def document():
    return hostile("a").incidents[CASE]


def refusal(call, *arguments):
    with pytest.raises(TidewatchError) as caught:
        call(*arguments)
    return caught.value.explain()


def test_a_command_is_named_by_number_by_id_or_by_the_beginning_of_its_id(document):
    for number, command in enumerate(document.commands, 1):
        name = command.spec.command_id
        for named in (str(number), name, name[:13]):
            assert chosen_command(document, named, DecisionKind.APPROVE) == command


def test_unknown_ambiguous_or_foreign_choice_is_refused(document):
    assert "no command" in refusal(chosen_command, document, "0", DecisionKind.APPROVE)
    assert "no command" in refusal(chosen_command, document, "zzz", DecisionKind.APPROVE)
    assert "no command" in refusal(chosen_command, document, "1", DecisionKind.APPROVE, "b")
    twin = structs.replace(document, commands=(*document.commands, *document.commands))
    name = document.commands[0].spec.command_id
    assert "more than one" in refusal(chosen_command, twin, name, DecisionKind.APPROVE)


@pytest.mark.parametrize(
    ("state", "kind", "said"),
    [
        ("done", DecisionKind.APPROVE, "already done"),
        ("rejected", DecisionKind.REJECT, "rejected"),
        ("proposed", DecisionKind.RETRY, "proposed"),
        ("done", DecisionKind.RETRY, "already done"),
    ],
)
def test_inapplicable_choice_is_refused(document, state, kind, said):
    one = CommandView(spec=document.commands[0].spec, state=state)
    changed = structs.replace(document, commands=(one,))
    assert said in refusal(chosen_command, changed, "1", kind)


def test_a_rollback_without_a_version_is_refused(document):
    (one,) = [command for command in document.commands if command.spec.action == "rollback"]
    spec = structs.replace(one.spec, rollback_version=None, rollback_digest=None)
    changed = structs.replace(document, commands=(CommandView(spec=spec, state="advised"),))
    assert "no version" in refusal(chosen_command, changed, "1", DecisionKind.APPROVE)


def test_a_task_is_named_alike_and_not_completed_twice(document):
    for number, task in enumerate(document.tasks, 1):
        assert chosen_task(document, str(number)) == task
        assert chosen_task(document, task.id) == task
    done = tuple(structs.replace(task, state="done", proof="evt-1") for task in document.tasks)
    assert "already done" in refusal(
        chosen_task, structs.replace(document, tasks=done), document.tasks[0].id
    )


def held(*reasons: ReasonView) -> HoldView:
    thing = ThingView(
        action="quarantine",
        target=f"{MODEL}@r2",
        state=HoldState.HELD,
        generation=0,
        reasons=reasons,
    )
    return HoldView(tenant="a", component=MODEL, things=(thing,))


def test_only_what_closed_incidents_hold_is_released():
    closed = ReasonView(incident="inc-1", state=ReasonState.AUTOMATIC, closed=True)
    still = ReasonView(incident="inc-2", state=ReasonState.APPROVED)
    assert releasable(held(closed))
    assert "inc-2 is open" in refusal(releasable, held(closed, still))
    nothing = HoldView(tenant="a", component=MODEL, things=())
    assert "nothing" in refusal(releasable, nothing)


def test_a_hold_is_found_by_tenant_and_the_beginning_of_its_component():
    view = held()
    assert one_hold([view], "a", MODEL[:12]) is view
    assert "nothing" in refusal(one_hold, [view], "b", MODEL)


def test_the_host_of_a_hold_is_shown_defanged_and_read_either_way():
    thing = structs.replace(held().things[0], action="block", target="domain:bad.example")
    view = HoldView(tenant="a", component="domain:bad.example", things=(thing,))
    ((*_, target, _answer, _reasons),) = hold_rows(view)
    assert target == "domain:bad[.]example"
    for name in (target, view.component):
        assert one_hold([view], "a", name) is view
