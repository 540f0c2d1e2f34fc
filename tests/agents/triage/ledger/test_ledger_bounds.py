"""No row of the ledger outgrows the store, whatever the messages; reached limits are reported."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import msgspec
import pytest

from schemas.channels import Channel
from schemas.findings import Indicator
from schemas.intel import IntelFact, IntelKind
from schemas.ledger import CaseState, Derived, FindingSeen, SourceSeen, Taint
from tests.agents.triage.flow import START
from tests.agents.triage.ledger_run import take
from tests.agents.triage.memory_rows import MemoryRows
from tests.agents.triage.stories import MODEL, finding, sighting

LONG = "\U0001f40d" * 700
"""What an event may hold in any of its texts."""
ROOM = 56 * 1024
"""A row may have 64 KiB: the rows of these tests stay well below."""


def long(number: int) -> str:
    return f"{number:04}{LONG}"


def digest(number: int) -> str:
    return f"{number:064x}"


def busy(number: int, component: str = MODEL, **more: object) -> object:
    texts = {
        "version": long(number),
        "digest": digest(number),
        "filename": long(number),
        "publisher": f"publisher:{long(number)}",
        "origin": long(number),
        "stage": long(number),
        "source": long(number),
        "event_id": long(number),
        "identities": tuple(long(index) for index in range(20)),
        "made_from": tuple(f"dataset:{long(index)}" for index in range(20)),
        "kind": "pushed",
    }
    return sighting(component, str(more.pop("tenant", "a")), LONG, number, **{**texts, **more})


def versions_of_one_system() -> Iterable[object]:
    return [busy(number) for number in range(60)]


def versions_seen_as_many() -> Iterable[object]:
    return [busy(n, f"sha256:{digest(1)}", name=f"model:{long(n)}") for n in range(60)]


def tags_that_move() -> Iterable[object]:
    return [
        busy(n, tag=f"v1.{n % 110}", version=str(n), made_from=(), event_id=long(n))
        for n in range(400)
    ]


def publishers() -> Iterable[object]:
    return [busy(n, publisher_id=long(n)) for n in range(100)]


def one_file_everywhere() -> Iterable[object]:
    return [
        busy(n % 12, "pypi:x", tenant=f"{n}{LONG}", filename="x-1.whl", version="1", made_from=())
        for n in range(150)
    ]


def domains() -> Iterable[object]:
    return [busy(n, "domain:x.example", name=f"model:{long(n)}") for n in range(100)]


def builds() -> Iterable[object]:
    return [
        Derived(
            key=MODEL,
            child=f"model:{LONG}",
            tenant=LONG,
            system=LONG,
            event_id=LONG,
            occurred_at=START,
            version=long(n),
            child_version=long(n),
            child_digest=long(n),
            stage=LONG,
        )
        for n in range(200)
    ]


def findings(**more: object) -> list[FindingSeen]:
    seen = []
    for number in range(300):
        one = finding(
            "malicious_payload",
            str(more.get("tenant", f"t{number % 40}")),
            f"model:x/{number}{LONG}" if more.get("many") else MODEL,
            digest=None,
            version=long(number),
            indicator=Indicator(key=MODEL, type="component", value=LONG),
            locator=str(number),
            systems=tuple(long(n) for n in range(100)),
            identities=tuple(long(n) for n in range(100)),
            related_keys=tuple(long(n) for n in range(100)),
            publisher="publisher:hub/x",
            evidence={"fact": long(number), long(1): [long(2)] * 10},
        )
        key = "publisher:hub/x" if more.get("many") else MODEL
        seen.append(FindingSeen(key=key, incident=f"inc{number}", finding=one))
    return seen


def findings_of_one_tenant() -> Iterable[object]:
    return findings(tenant="a")


def findings_about_one_publisher() -> Iterable[object]:
    return findings(many=True, tenant="a")


def taints() -> Iterable[object]:
    return [
        Taint(
            key=MODEL,
            incident=f"inc{number}",
            root=long(number),
            cause=long(number),
            origin=long(number),
            path=tuple(f"model:{long(n)}" for n in range(8)),
            version=long(number),
            tenant=LONG,
        )
        for number in range(100)
    ]


def cases() -> Iterable[object]:
    return [CaseState(key=MODEL, incident=long(n), state=LONG, revision=(n, n)) for n in range(100)]


def sources() -> Iterable[object]:
    start = int(START.timestamp() * 1000)
    return [
        SourceSeen(
            key="source:x",
            tenant=LONG,
            source=LONG,
            event_id=str(n),
            at_ms=start + n * 3_600_000,
            outcome="incomplete",
        )
        for n in range(400)
    ]


@cache
def reported_by(story):
    """Return the rows after a story, and the operator alerts so far."""
    rows = MemoryRows()
    reported = {
        msgspec.json.decode(message.value)["detail"].partition(":")[0]
        for record in story()
        for message in take(rows, record)
        if message.channel is Channel.OPERATOR_ALERTS
    }
    return rows, reported


@pytest.mark.slow
@pytest.mark.parametrize(
    "story",
    [
        versions_of_one_system,
        versions_seen_as_many,
        tags_that_move,
        publishers,
        one_file_everywhere,
        domains,
        builds,
        findings,
        findings_of_one_tenant,
        findings_about_one_publisher,
        taints,
        cases,
        sources,
    ],
)
def test_no_text_exceeds_the_row_limit(story):
    rows, _ = reported_by(story)
    assert rows.largest < ROOM
    assert max(len(key.encode()) for key in rows.content()) < 4_096


@pytest.mark.slow
def test_facts_with_long_keys_fit():
    rows = MemoryRows()
    for number in range(100):
        fact = IntelFact(
            key=MODEL,
            kind=IntelKind.WARNINGLIST,
            versions=tuple(long(n) for n in range(200)),
            digests=tuple(digest(n) for n in range(2_000)),
            sources=tuple(long(n) for n in range(100)),
            summary=LONG,
            details={"x": LONG},
        )
        take(rows, fact, key=f"{MODEL}{long(number)}")
    assert rows.largest < ROOM


BOUNDS = {
    versions_of_one_system: "versions on one system",
    tags_that_move: "values compared in one tenant",
    domains: "components that reached one domain",
    builds: "builds of one component from another",
    findings_of_one_tenant: "findings of one indicator",
    findings_about_one_publisher: "hostile components of one publisher",
    taints: "incidents of one component",
    cases: "incidents of one component",
    one_file_everywhere: "digests of one package file",
}


@pytest.mark.slow
@pytest.mark.parametrize("story", BOUNDS)
def test_a_reached_bound_is_reported(story):
    _, reported = reported_by(story)
    assert BOUNDS[story] in reported
