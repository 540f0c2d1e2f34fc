"""For random histories: a tenant's claims change only advice for others."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.basis import Basis, BasisKind
from schemas.decisions import Decision, DecisionKind
from schemas.intel import IntelFact, IntelKind
from schemas.policy import default_policy
from schemas.severity import ExposureLevel
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import finding, held, sighting
from tests.agents.triage.test_trust import AUTOMATIC
from tests.depth import examples

NAMES = ("model:hub/base", "model:hub/tuned", "dataset:hub/corpus", "pypi:torch")
DIGESTS = tuple(str(number) * 64 for number in range(1, 5))
VERSIONS = ("v1", "v2")
CLAIMANT, READER = "a", "b"

names, digests, versions = map(st.sampled_from, (NAMES, DIGESTS, VERSIONS))
minutes = st.integers(0, 300)
kinds = st.sampled_from(["seen", "pushed", "made", "used", "pulled"])
made_from = st.lists(
    st.one_of(
        st.builds(lambda name, version: f"{name}@{version}", names, versions),
        st.builds(lambda digest: f"sha256:{digest}", digests),
        names,
    ),
    max_size=2,
).map(tuple)
VERIFIED = Basis(kind=BasisKind.VERIFIED)


def holding(tenant):
    def make(name, version, digest, minute, kind, of, second):
        return held(
            name,
            tenant,
            f"gpu-{minute % 3}",
            minute,
            version=version,
            digest=digest,
            kind=kind,
            made_from=tuple(entry for entry in of if not entry.startswith(name)),
            appended=(second, "in", 0, second),
            publisher="publisher:hub/acme",
            exposure=ExposureLevel.EXECUTED,
        )

    return st.builds(
        make, names, versions, digests, minutes, kinds, made_from, st.integers(1, 10**6)
    )


def claim(tenant):
    def make(kind, name, version, digest, minute, by_digest):
        return (
            finding(
                kind,
                tenant,
                name,
                digest=digest if by_digest else None,
                version=version,
                minutes=minute,
                basis=None,
                publisher="publisher:hub/acme",
            ),
        )

    return st.builds(
        make,
        st.sampled_from(["malicious_payload", "package_hash_mismatch", "poisoned_dataset"]),
        names,
        versions,
        digests,
        minutes,
        st.booleans(),
    )


facts = st.builds(
    lambda name, version, digest, by: (
        IntelFact(
            key=name if by else f"sha256:{digest}",
            kind=IntelKind.COMPROMISED if by else IntelKind.MALICIOUS,
            versions=(version,) if by else (),
            digests=() if by else (digest,),
            sources=("one", "two"),
        ),
    ),
    names,
    versions,
    digests,
    st.booleans(),
)
scans = st.builds(
    lambda digest, minute: (
        finding("malicious_payload", "lab", "model:hub/lab", digest=digest, minutes=minute),
    ),
    digests,
    minutes,
)
ATTESTED = Basis(kind=BasisKind.ATTESTED, by=("builder@hub.example",))
statements = st.builds(
    lambda child, parent, name, version, binds: (
        sighting(
            f"sha256:{child}",
            "lab",
            "hub",
            version=version,
            digest=child,
            name=name,
            kind="pushed",
            made_from=(f"sha256:{parent}",) if parent != child else (),
            attested=(ATTESTED,),
            bound_by=(ATTESTED,) if binds else (),
        ),
    ),
    digests,
    digests,
    names,
    versions,
    st.booleans(),
)
"""What a signature under the operator's trust root says of a digest."""
decisions = st.builds(
    lambda kind, place: ("decide", kind, place),
    st.sampled_from(
        [
            DecisionKind.FALSE_POSITIVE,
            DecisionKind.CLOSE,
            DecisionKind.REOPEN,
            DecisionKind.APPROVE,
            DecisionKind.REJECT,
        ]
    ),
    st.integers(0, 3),
)
withheld = st.builds(
    lambda findings: ("withheld", *findings), st.one_of(claim(CLAIMANT), claim("lab"))
)
"""What its tenant's policy suppresses."""
own_bytes = st.builds(
    lambda name, number, minute: (
        finding(
            "malicious_payload",
            CLAIMANT,
            name,
            digest=f"{number}" * 64,
            version="v1",
            minutes=minute,
            publisher="publisher:hub/acme",
        ),
    ),
    st.sampled_from([*NAMES, "model:hub/more", "image:hub/app"]),
    st.integers(6, 9),
    minutes,
)
"""A scan of bytes that nobody else holds, under names and a publisher that others know."""
signed = st.builds(
    lambda name, version, digest, minute: held(
        name,
        CLAIMANT,
        "registry",
        minute,
        version=version,
        digest=digest,
        kind="pushed",
        signed=True,
        verified=True,
        publisher="publisher:github/a/x",
        appended=(1, "in", 0, minute),
    ),
    names,
    versions,
    digests,
    minutes,
)
"""A push that the tenant signed itself, before all others."""
step = st.one_of(
    st.tuples(
        st.just("both"),
        st.one_of(holding(READER), claim(READER), facts, scans, statements),
    ),
    st.tuples(
        st.just("claims"),
        st.one_of(holding(CLAIMANT), claim(CLAIMANT), decisions, withheld, own_bytes, signed),
    ),
)


def played(history, *, with_claims):
    flow = Flow(k=10)  # so that no count is published
    for tenant in (CLAIMANT, READER, "lab"):
        policy = default_policy(tenant)
        flow.policy(msgspec.structs.replace(policy, automatic=AUTOMATIC, dry_run=False))
    for whose, inputs in history:
        if whose == "claims" and not with_claims:
            continue
        if inputs[0] == "decide":
            _, kind, place = inputs
            mine = flow.alerts_of(CLAIMANT)
            if place < len(mine):
                flow.decide(
                    Decision(
                        id=f"dec-{len(flow.sent)}",
                        incident=mine[place].incident,
                        actor="a@a",
                        decision=kind,
                        reason="x",
                        time=at(1000),
                        tenant=CLAIMANT,
                    )
                )
            continue
        if inputs[0] == "withheld":
            flow.withheld(*inputs[1:])
            continue
        flow.put(*inputs)
        flow.run()
    flow.tick(60)
    return flow


def full_part(view):
    """Return what a person would act on in an alert, without what depends on when it came."""
    plain: dict[str, Any] = msgspec.to_builtins(view)
    for name in ("processing", "activity", "timeline", "correlation_ids", "tasks"):
        plain.pop(name, None)
    for command in plain["commands"]:
        command["spec"].pop("expires", None)
    return plain


def got(flow):
    return {
        view.incident: full_part(view)
        for view in flow.alerts_of(READER)
        if not any(finding.advice for finding in view.findings)
    }


def contained(flow):
    """Return the reader's commands and proposals, whole but for when they were issued."""
    return sorted(
        msgspec.json.encode(msgspec.structs.replace(command, expires=None)).decode()
        for command in (*flow.issued, *flow.proposals.values())
        if command.tenant == READER and command.action != "investigate"
    )


def held_versions(flow):
    """Return what is held of the reader's components, by thing, and by which incidents."""
    return {
        (view.component, thing.action, thing.target): (
            thing.state,
            thing.generation,
            sorted((reason.incident, reason.state) for reason in thing.reasons),
        )
        for view in flow.holds.values()
        if view.tenant == READER
        for thing in view.things
    }


@settings(max_examples=examples(12), deadline=None)
@given(st.lists(step, min_size=3, max_size=12))
def test_claims_of_another_tenant_change_only_advice(history):
    with_claims = played(history, with_claims=True)
    without = played(history, with_claims=False)
    assert got(with_claims) == got(without)
    assert contained(with_claims) == contained(without)
    assert held_versions(with_claims) == held_versions(without)


@settings(max_examples=examples(8), deadline=None)
@given(st.lists(step, min_size=3, max_size=12))
def test_advice_never_contains(history):
    flow = played(history, with_claims=True)
    advised = {
        (view.incident, view.tenant)
        for views in flow.history.values()
        for view in views[-1:]
        if any(finding.advice for finding in view.findings)
    }
    for view in flow.alerts.values():
        if (view.incident, view.tenant) not in advised:
            continue
        assert view.score.band.value == "medium"
        assert {command.spec.action for command in view.commands} <= {"investigate"}
        assert not view.tasks
    always = {
        (view.incident, view.tenant)
        for views in flow.history.values()
        for view in views[:1]
        if all(any(finding.advice for finding in view.findings) for view in views)
    }
    assert not [command for command in flow.issued if (command.incident, command.tenant) in always]


def test_the_histories_hold_advice_and_alerts():
    """The two properties would hold of a Tidewatch that says nothing."""
    story = [
        ("claims", held("model:hub/base", "a", "gpu-1", version="v1", digest=DIGESTS[0],
                        kind="made", made_from=("dataset:hub/corpus@v1",),
                        appended=(1, "in", 0, 1))),
        ("both", held("model:hub/base", "b", "gpu-1", 5, version="v1", digest=DIGESTS[0],
                      appended=(2, "in", 0, 2))),
        ("both", (sighting("dataset:hub/other", "b", "lake", version="v2"),)),
        ("both", (IntelFact(key="dataset:hub/other", kind=IntelKind.COMPROMISED,
                            versions=("v2",), sources=("one", "two")),)),
        ("both", (IntelFact(key="dataset:hub/corpus", kind=IntelKind.COMPROMISED,
                            versions=("v1", "v2"), sources=("one", "two")),)),
    ]  # fmt: skip
    flow = played(story, with_claims=True)
    assert sorted(
        any(finding.advice for finding in view.findings) for view in flow.alerts_of("b")
    ) == [
        False,
        True,
    ]
