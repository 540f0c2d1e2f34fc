"""Each record on `incident-updates` reads back as it was written."""

from __future__ import annotations

from typing import get_args

import msgspec

from schemas.basis import BareFinding
from schemas.decisions import Decision
from schemas.findings import Finding
from schemas.incidents.holds import Goal, HoldNotice, HoldReason, HoldState, ReasonState, Suspicion
from schemas.incidents.states import Action
from schemas.incidents.updates import (
    DecisionUpdate,
    Exposure,
    FindingUpdate,
    ForgedResult,
    IncidentMessage,
    KnownGood,
    Prevalence,
    Proof,
    Related,
    ResultUpdate,
    Withdrawal,
)
from schemas.ledger import Tick
from tests.each import each
from tests.schemas import examples

ROOT = f"sha256:{examples.DIGEST}"
OF_A_TENANT = {"incident": "inc-1", "tenant": "acme"}
COMMAND = msgspec.convert(msgspec.to_builtins(examples.command()), type(examples.command()))
"""Its states are enumerations, as in what is read from a topic."""


def finding():
    ioc = msgspec.structs.asdict(examples.ioc())
    fields = {name: ioc[name] for name in Finding.__struct_fields__ if name in ioc}
    return Finding(**fields | {"source": "//huggingface/acme-labs", "id": "fnd-1"})


UPDATES = (
    FindingUpdate(incident="inc-1", root=ROOT, finding=finding(), revision=(4, 1), withheld=True),
    Exposure(
        **OF_A_TENANT,
        root=ROOT,
        system="ci-7",
        component=examples.MODEL,
        occurred_at=examples.TIME,
        event_id="evt-1",
        path=(examples.MODEL,),
        found=BareFinding(rule_id="TW-EXAMPLE", ioc_type="malicious_payload", severity="critical"),
        active=False,
    ),
    Prevalence(incident="inc-1", root=ROOT, indicator=ROOT, threshold=3, rule_id="TW-EXAMPLE"),
    KnownGood(**OF_A_TENANT, component=examples.MODEL, seen_at=examples.TIME, signed=True),
    Withdrawal(**OF_A_TENANT, finding="fnd-1", reason="the feed withdrew it", at=examples.TIME),
    DecisionUpdate(
        incident="inc-1",
        decision=Decision(
            id="dec-1",
            incident="inc-1",
            actor="ana",
            decision="close",
            reason="replaced",
            time=examples.TIME,
        ),
    ),
    ResultUpdate(
        **OF_A_TENANT,
        id="res-1",
        command_id=COMMAND.command_id,
        status=200,
        at=examples.TIME,
        results={"changed": True},
        hold=examples.MODEL,
    ),
    Proof(
        **OF_A_TENANT,
        system="ci-7",
        component=examples.MODEL,
        event_id="evt-2",
        occurred_at=examples.TIME,
        kind="clean-run",
        passed=("evaluation",),
    ),
    Related(incident="inc-1", other="inc-2", via=examples.MODEL, tenant="acme"),
    ForgedResult(**OF_A_TENANT, id="res-2", at=examples.TIME, detail="no key of acme"),
    HoldReason(
        incident="inc-1",
        state=ReasonState.APPROVED,
        revision=3,
        spec=COMMAND,
        goals=(Goal(by_intel=False, signed=True, before=True, seen_ms=1, digest="ab"),),
    ),
    HoldNotice(
        **OF_A_TENANT,
        revision=3,
        action=Action.QUARANTINE,
        target=examples.MODEL,
        state=HoldState.HELD,
        generation=1,
        command=COMMAND,
    ),
    Suspicion(**OF_A_TENANT, component=examples.MODEL, suspected=("@1.0", "ab"), revision=2),
    Tick(time_ms=1, partition=2),
)


def test_every_record_has_a_sample():
    assert {type(update) for update in UPDATES} == set(get_args(IncidentMessage))


@each("update", UPDATES)
def test_a_record_reads_back_as_it_was(update):
    raw = msgspec.json.encode(update)
    read = msgspec.json.decode(raw, type=IncidentMessage)
    assert type(read) is type(update)
    assert msgspec.json.encode(read) == raw
