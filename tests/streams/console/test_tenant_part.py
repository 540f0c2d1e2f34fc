"""A tenant's view of an incident equals its own alert."""

from __future__ import annotations

import msgspec
import orjson
import pytest

from schemas.documents.ocsf import detection_finding
from streams.console.tenant_part import TenantAlert, tenant_document
from streams.reports.incident import markdown

NAMES = {"northwind", "globex", "initech", "umbra", "acme"}


def texts(value) -> set[str]:
    """Return every text within a value, names of fields left out."""
    if isinstance(value, dict):
        return set().union(*map(texts, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(texts, value))
    return {value} if isinstance(value, str) else set()


@pytest.fixture(scope="module")
def parts(played):
    """Each tenant's view, and what is built of its published alert and the operator's record."""
    found = []
    for view in played.flow.alerts.values():
        raw = orjson.dumps(detection_finding(view), default=str)
        alert = msgspec.json.decode(raw, type=TenantAlert)
        whole = played.flow.incidents[view.incident]
        found.append((view, alert, whole, tenant_document(alert, whole)))
    assert len(found) == 8
    return found


def test_it_says_what_the_tenants_view_says(parts):
    for view, _, _, made in parts:
        assert (made.id, made.status, made.phase, made.title) == (
            view.incident, view.status, view.phase, view.title,
        )  # fmt: skip
        assert made.score == view.score
        assert made.commands == view.commands
        assert made.tasks == view.tasks
        assert [finding.id for finding in made.findings] == [
            finding.id for finding in view.findings
        ]
        assert [finding.evidence for finding in made.findings] == [
            finding.evidence for finding in view.findings
        ]
        assert [(system.system, system.component, system.path) for system in made.systems] == [
            (system.system, system.component, system.path) for system in view.systems
        ]
        assert made.processing.detected_at == view.processing.detected_at


def test_it_holds_no_text_that_the_tenants_view_does_not(parts):
    for view, _, _, made in parts:
        known = texts(msgspec.to_builtins(view))
        found = texts(msgspec.to_builtins(made))
        assert found - known <= {"claimed"}


def test_no_report_of_it_names_another_tenant(parts):
    shared = 0
    for view, _, whole, made in parts:
        others = NAMES - {view.tenant}
        assert not others & set(markdown(made).replace("/", " ").replace("|", " ").split())
        shared += len({part.tenant for part in whole.tenants}) > 1
    assert shared >= 5


def test_it_can_be_read_before_the_operators_record_is(parts):
    for view, alert, _, _ in parts:
        made = tenant_document(alert, None)
        assert [command.spec.command_id for command in made.commands] == [
            command.spec.command_id for command in view.commands
        ]
        assert texts(msgspec.to_builtins(made)) - texts(msgspec.to_builtins(view)) <= {
            "claimed", "component", *(f"{task.kind} on {task.system}" for task in made.tasks), "",
        }  # fmt: skip
