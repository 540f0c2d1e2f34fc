"""For random histories: what is in use is neither held nor under an open finding."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.decisions import Decision, DecisionKind
from schemas.intel import IntelFact, IntelKind
from schemas.policy import default_policy
from schemas.severity import ExposureLevel, Severity
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import finding, held
from tests.agents.triage.test_trust import AUTOMATIC
from tests.depth import examples

TENANT = "b"
MODEL = "model:hub/base"
VERSIONS = ("r0", "r1", "r2", "r3")
DIGESTS = tuple(str(number) * 64 for number in range(1, 5))
ENDED = frozenset({"false-positive", "withdrawn", "closed"})

which = st.integers(0, 3)
minutes = st.integers(0, 300)


def holding(number: int, late: int = 0) -> tuple[Any, ...]:
    """Return the sightings of a version that the tenant ran, made from a corpus of its own."""
    return held(
        MODEL,
        TENANT,
        "gpu",
        number * 10 + late,
        version=VERSIONS[number],
        digest=DIGESTS[number],
        exposure=ExposureLevel.EXECUTED,
        made_from=(f"dataset:hub/c{number}@v1",),
    )


def fact(number: int, by: str, kind: IntelKind) -> IntelFact:
    return IntelFact(
        key=f"sha256:{DIGESTS[number]}" if by == "digest" else MODEL,
        kind=kind,
        versions=() if by == "digest" else (VERSIONS[number],),
        digests=() if by == "version" else (DIGESTS[number],),
        sources=("one", "two"),
    )


sightings = st.builds(
    lambda number, late: ("put", *holding(number, late)), which, st.integers(0, 3)
)
scans = st.builds(
    lambda number, tenant, minute: (
        "put",
        finding(
            "malicious_payload",
            tenant,
            MODEL if tenant == TENANT else "model:hub/lab",
            digest=DIGESTS[number],
            version=VERSIONS[number],
            minutes=minute,
        ),
    ),
    which,
    st.sampled_from([TENANT, "lab"]),
    minutes,
)
claims = st.builds(
    lambda number, kind, severity, minute, by_digest: (
        "put",
        finding(
            kind,
            TENANT,
            MODEL,
            digest=DIGESTS[number] if by_digest else None,
            version=VERSIONS[number],
            minutes=minute,
            severity=severity,
            basis=None,
        ),
    ),
    which,
    st.sampled_from(["malicious_payload", "poisoned_dataset", "suspicious_code"]),
    st.sampled_from([Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL]),
    minutes,
    st.booleans(),
)
facts = st.builds(
    lambda number, by, kind: ("put", fact(number, by, kind)),
    which,
    st.sampled_from(["version", "digest", "both"]),
    st.sampled_from([IntelKind.MALICIOUS, IntelKind.COMPROMISED, IntelKind.KNOWN_GOOD]),
)
poisoned = st.builds(
    lambda number: (
        "put",
        IntelFact(
            key=f"dataset:hub/c{number}",
            kind=IntelKind.COMPROMISED,
            versions=("v1",),
            sources=("one", "two"),
        ),
    ),
    which,
)
withdrawn = st.tuples(
    st.just("withdraw"),
    st.sampled_from(
        [
            MODEL,
            *(f"sha256:{digest}" for digest in DIGESTS),
            *(f"dataset:hub/c{number}" for number in range(4)),
        ]
    ),
)
decided = st.tuples(
    st.just("decide"),
    st.sampled_from(
        [
            DecisionKind.FALSE_POSITIVE,
            DecisionKind.REOPEN,
            DecisionKind.APPROVE,
            DecisionKind.REJECT,
            DecisionKind.CLOSE,
        ]
    ),
    st.integers(0, 4),
)
answers = st.tuples(st.just("answer"), st.sampled_from([200, 404, 500]))
time = st.tuples(st.just("tick"), st.sampled_from([1, 30, 1500]))
steps = st.lists(
    st.one_of(sightings, scans, claims, facts, facts, poisoned, withdrawn, decided, answers, time),
    min_size=3,
    max_size=12,
)


def perform(flow: Flow, step: tuple[Any, ...]) -> None:
    match step:
        case ("decide", kind, place):
            mine = flow.alerts_of(TENANT)
            if place < len(mine):
                flow.decide(
                    Decision(
                        id=f"dec-{len(flow.sent)}",
                        incident=mine[place].incident,
                        actor="a@a",
                        decision=kind,
                        reason="x",
                        time=at(1000 + len(flow.sent)),
                        tenant=TENANT,
                    )
                )
        case ("withdraw", key):
            flow.withdraw(key)
        case ("answer", status):
            for command in flow.issued[-4:]:
                flow.answer(command, status)
        case ("tick", passed):
            flow.tick(passed)
        case ("put", *inputs):
            flow.put(*inputs)
            flow.run()


@settings(max_examples=examples(12), deadline=None)
@given(
    st.lists(which, min_size=2, max_size=4, unique=True),
    steps,
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_the_version_in_use_is_neither_held_nor_under_an_open_finding(order, history, chance, calm):
    flow = Flow(k=10) if calm else Flow(k=10, shuffle=chance, again=0.2)
    policy = default_policy(TENANT)
    flow.policy(msgspec.structs.replace(policy, automatic=AUTOMATIC, dry_run=False))
    for number in order:
        flow.saw(*holding(number))
    for step in history:
        perform(flow, step)
    flow.tick(60)
    for view in flow.holds.values():
        for thing in view.things:
            reasons = [
                reason for reason in thing.reasons if reason.state in {"automatic", "approved"}
            ]
            if thing.state == "held":
                assert reasons, "held without a reason"
                if thing.action == "rollback":
                    spec = thing.command
                    assert_in_use(flow, view, spec.rollback_version, spec.rollback_digest)
            else:
                # A rollback may have no version left to go back to.
                assert not reasons or thing.action == "rollback"


def assert_in_use(flow: Flow, view: Any, version: str | None, digest: str | None) -> None:
    for other in view.things:
        if other.action == "quarantine" and other.state == "held":
            assert other.target != f"{view.component}@{version}"
            assert other.command.digest != digest
    for alert in flow.alerts_of(TENANT):
        for found in alert.findings if alert.status not in ENDED else ():
            if not found.active or found.advice or found.severity.rank < Severity.MEDIUM.rank:
                continue
            assert (found.component, found.version) != (view.component, version)
            assert (found.component, found.indicator_key) != (view.component, f"sha256:{digest}")


def test_the_histories_go_back_and_forth():
    """The property would hold of a Tidewatch that never rolls back."""
    flow = Flow(k=10)
    policy = default_policy(TENANT)
    flow.policy(msgspec.structs.replace(policy, automatic=AUTOMATIC, dry_run=False))
    for number in range(3):
        flow.saw(*holding(number))
    goals = []
    for step in (
        ("put", fact(2, "digest", IntelKind.MALICIOUS)),
        ("put", fact(1, "version", IntelKind.MALICIOUS)),
    ):
        perform(flow, step)
        (thing,) = [
            thing
            for thing in flow.holds[TENANT, MODEL].things
            if thing.action == "rollback" and thing.state == "held"
        ]
        goals.append(thing.command.rollback_version)
    assert goals == ["r1", "r0"]
