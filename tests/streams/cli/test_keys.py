"""`tidewatch keys`, and that the command line signs nothing that its key may not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.decisions import DecisionKind
from schemas.key_bindings import NotAuthorisedError
from streams.cli import incident_decisions, main
from streams.signing_keys import OPERATOR, keys_dir, load_or_create_signing_key, load_trusted
from tests.streams.reports.test_incident_report import incident


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path))
    return tmp_path


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["keys", "list", "--format", "json"]) == 0
    return {binding.pop("key"): binding for binding in json.loads(capsys.readouterr().out)}


ANN = ["keys", "create", "ann", "--actor", "ann@acme.example", "--tenant", "acme"]


def test_a_key_is_made_with_what_it_may_sign(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ANN, "--decision", "approve"]) == 0
    assert listed(capsys)["ann"] == {
        "actor": "ann@acme.example",
        "tenants": ["acme"],
        "decisions": ["approve"],
        "publishes": [],
        "vouches": False,
        "until": None,
    }


def test_the_installations_own_key_may_do_everything_and_is_somebodys(state: Path) -> None:
    load_or_create_signing_key(keys_dir(state), OPERATOR)
    trusted = load_trusted(keys_dir(state) / "trusted" / OPERATOR)
    binding = trusted[OPERATOR].binding
    assert binding is not None
    assert "@" in binding.actor
    assert (binding.tenants, binding.decisions) == ("*", "*")


def test_a_retired_key_says_when_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    main(ANN)
    assert main(["keys", "retire", "ann"]) == 0
    assert listed(capsys)["ann"]["until"]


@pytest.mark.parametrize(
    "words",
    [
        [*ANN, "--decision", "destroy"],
        [*ANN, "--publish", "intel"],
        ["keys", "create", "../ann", "--actor", "x"],
        ["keys", "retire", "nobody"],
    ],
)
def test_invalid_binding_is_refused(words: list[str]) -> None:
    assert main(words) == 2


def test_doctor_names_a_key_that_is_bound_to_nobody(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(ANN)
    (keys_dir(state) / "trusted" / OPERATOR / "ann.toml").unlink()
    main(["doctor"])
    assert "bound to no actor, so they sign nothing: ann" in capsys.readouterr().out


def test_a_decision_is_refused_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    main([*ANN, "--decision", "approve"])
    monkeypatch.setenv("TIDEWATCH_SIGNING_KEY", "ann")
    monkeypatch.setenv("TIDEWATCH_KAFKA", "127.0.0.1:1")
    monkeypatch.setattr(incident_decisions, "one_incident", lambda _start: incident())
    for kind, tenant in ((DecisionKind.CLOSE, "acme"), (DecisionKind.APPROVE, None)):
        with pytest.raises(NotAuthorisedError):
            incident_decisions.decide(kind, "inc", "because", tenant=tenant)


def test_a_key_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('tenant = "acme"\n')
    monkeypatch.setenv("TIDEWATCH_SIGNING_KEY", "ann")
    monkeypatch.setenv("TIDEWATCH_SIGNED_TOPICS", '["policy"]')
    monkeypatch.setenv("TIDEWATCH_KAFKA", "127.0.0.1:1")
    assert main(["policy", "set", str(policy)]) == 2
    assert "no signing key ann" in capsys.readouterr().err
