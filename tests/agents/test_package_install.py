"""Caching of installs saves work and changes no record."""

import contextlib
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agents.checks.packages.judgements as judgements_module
from agents.checking import REMEMBERED, SightingDeduplicator, checking_agent
from agents.checks.packages.judgements import Judgements
from agents.domain.knowledge import MemoryKnowledge
from agents.install_sightings import InstallSightings
from agents.package_install import install_check
from agents.ports import Delivery, Record
from schemas.cloudevents import read_event
from schemas.intel import IntelFact, IntelKind
from schemas.policy import Internal, Policy, Trusted
from tests.each import each

START = datetime(2026, 11, 20, 8, tzinfo=UTC)
INSIDE = "https://packages.acme.example/simple"
PUBLIC = "https://index.example/simple"
DIGESTS = [letter * 64 for letter in "abc"]
POLICIES = [
    None,
    Policy(tenant="", internal=Internal(prefixes=("acme-",), indexes=(INSIDE,))),
    Policy(tenant="", trusted=Trusted(indexes=(INSIDE,))),
    Policy(tenant="", required_checks=("hashes", "names")),
]
FACTS = [
    IntelFact(key="pypi:requests", kind=IntelKind.MALICIOUS, versions=("2.0",), sources=("x",)),
    IntelFact(key=f"sha256:{DIGESTS[1]}", kind=IntelKind.MALICIOUS, sources=("x",)),
    IntelFact(key="pypi:reqests", kind=IntelKind.KNOWN_GOOD, sources=("x",)),
]

_packages = st.builds(
    lambda name, version, digest, more: {
        "name": name,
        "version": version,
        **({"hashes": {"sha256": digest}} if digest else {}),
        **more,
    },
    st.sampled_from(["requests", "reqests", "acme-tools", "Requests"]),
    st.sampled_from(["1.0", "2.0"]),
    st.sampled_from([None, *DIGESTS[:2]]),
    st.sampled_from(
        [{}, {}, {"publisher": "p"}, {"uploaded_at": "2026-11-19T08:00:00Z"}, {"editable": True}]
    ),
)
_installs = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from(["acme", "globex"]),
        "source": st.sampled_from(["//ci", "//other"]),
        "minutes": st.sampled_from([0, 1, 2, 24 * 60]),
        "data": st.fixed_dictionaries(
            {
                "system": st.sampled_from(["a", "b"]),
                "packages": st.lists(_packages, min_size=1, max_size=3),
            },
            optional={
                "requirements": st.sampled_from(
                    [["requests==1.0"], [f"requests==1.0 --hash=sha256:{DIGESTS[0]}"]]
                ),
                "lock": st.sampled_from([{"requests==1.0": [f"sha256:{DIGESTS[0]}"]}]),
                "index_url": st.sampled_from([INSIDE, PUBLIC]),
                "extra_index_urls": st.just([PUBLIC]),
                "identities": st.just(["secret-ref:cloud"]),
            },
        ),
    }
)
_steps = st.one_of(
    st.tuples(st.just("batch"), st.lists(_installs, min_size=1, max_size=4), st.booleans()),
    st.tuples(st.just("policy"), st.sampled_from(["acme", "globex"]), st.sampled_from(POLICIES)),
    st.tuples(st.just("fact"), st.sampled_from(FACTS), st.booleans()),
    st.tuples(st.just("again"), st.integers(0, 3), st.booleans()),
)


class Worker:
    """The checks of one partition, with what they know."""

    def __init__(self, *, remember=True, limit=REMEMBERED):
        self.knowledge = MemoryKnowledge()
        deduplicator = SightingDeduplicator(limit)
        check = install_check(self.knowledge, deduplicator, remember=remember)
        self.agent = checking_agent(check, deduplicator)

    def take(self, events, *, abandoned):
        """Return the records of a batch; an abandoned one's are never delivered."""
        found, undone = [], []

        class Publish:
            def __call__(self, message):
                found.append(message)

            def caused_by(self, entered_ms):
                pass

            def on_abandoned(self, undo):
                undone.append(undo)

            def refuse(self, *refused):
                raise AssertionError(refused)

        record = Record(topic="t", partition=0, offset=0, timestamp_ms=0, key=None, value=None)
        deliveries = [Delivery(record=record, value=event) for event in events]
        coroutine = self.agent(SimpleNamespace(deliveries=deliveries), Publish())
        with contextlib.suppress(StopIteration):
            coroutine.send(None)
        if abandoned:
            for undo in undone:
                undo()
        return found


def event_of(install, number):
    value = {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": install["source"],
        "type": "tidewatch.package.install.v1",
        "subject": "host:x",
        "time": (START + timedelta(minutes=install["minutes"])).isoformat(),
        "tenantid": install["tenant"],
        "data": install["data"],
    }
    appended = int((START + timedelta(days=2)).timestamp() * 1000) + number
    return read_event(orjson.dumps(value), (), timestamp_ms=appended, max_bytes=1 << 20)


def played(steps, *, remember):
    """Return all records of a history."""
    worker, number, batches, found = Worker(remember=remember), 0, [], []
    for kind, what, how in steps:
        if kind == "policy":
            worker.knowledge.set_policy(what, how)
        elif kind == "fact":
            worker.knowledge.set_fact(what.key, what if how else None)
        else:
            if kind == "again" and not batches:
                continue
            installs = what if kind == "batch" else batches[what % len(batches)]
            batches.append(installs)
            events = []
            for install in installs:
                events.append(event_of(install, number))
                number += 1
            found.append(worker.take(events, abandoned=how))
    return found


@pytest.mark.slow
@given(st.lists(_steps, max_size=8))
@settings(deadline=None)
def test_the_records_are_the_same_whether_anything_is_remembered_or_not(steps):
    assert played(steps, remember=True) == played(steps, remember=False)


@pytest.mark.parametrize("appended", [False, True])
def test_a_record_of_encoded_parts_equals_one_encoded_whole(appended):
    odd = 'a"\\ü\u2028'
    packages = [
        {"name": "requests", "version": "1.0", "hashes": {"sha256": DIGESTS[0]}, "filename": odd},
        {"name": "acme-tools", "version": odd, "publisher": f"@{odd}"},
    ]
    event = event_of(quiet("x", packages=packages, identities=[odd], index_url=INSIDE), 1)
    event = msgspec.structs.replace(
        event, id=odd, subject=f"host:{odd}", source=f"//{odd}", tenantid=f"t{odd}"
    )
    if appended:
        event = msgspec.structs.replace(event, position=(1_796_000_000_000, odd, 3, 4))
    elsewhere = msgspec.structs.replace(event.data, system=f"y{odd}")
    events = [event, msgspec.structs.replace(event, id=f"2{odd}", data=elsewhere)]
    found = []
    for remember in (True, False):
        check = install_check(MemoryKnowledge(), SightingDeduplicator(), remember=remember)
        found.append([message for event in events for message in check(event)])
    assert found[0] == found[1]
    assert [message.channel for message in found[0]].count("observations") == 7


def test_sighting_that_the_deduplicator_forgot_is_sent_again():
    worker = Worker(limit=2)
    first, filling, again = (
        worker.take([event_of(quiet(system), number)], abandoned=False)
        for number, system in enumerate("aba")
    )
    assert [len(first), len(filling), len(again)] == [len(first)] * 3


def quiet(system, **more):
    packages = [{"name": "requests", "version": "1.0", "hashes": {"sha256": DIGESTS[0]}}]
    data = {"system": system, "packages": packages, **more}
    return {"tenant": "acme", "source": "//ci", "minutes": 0, "data": data}


def test_an_install_is_judged_once_for_all_systems_and_again_after_a_new_fact(monkeypatch):
    judged = []
    judge = judgements_module.judge
    monkeypatch.setattr(
        judgements_module, "judge", lambda *args: judged.append(args) or judge(*args)
    )
    knowledge = MemoryKnowledge()
    judgements = Judgements(knowledge)
    for number, system in enumerate("abcab"):
        judgements.of(event_of(quiet(system), number), Policy(tenant="acme"))
    assert len(judged) == 1
    knowledge.set_fact(FACTS[1].key, FACTS[1])
    judgements.of(event_of(quiet("a"), 9), Policy(tenant="acme"))
    assert len(judged) == 2


@each("policy", POLICIES[1:3])
def test_a_repeated_install_is_judged_by_the_policy_of_today(policy):
    named = [{"name": "acme-tools", "version": "1.0", "hashes": {"sha256": DIGESTS[0]}}]
    install = quiet("a", packages=named, index_url=PUBLIC)
    before, after = ("batch", [install], False), ("again", 0, False)
    steps = [before, ("policy", "acme", policy), after]
    remembered = played(steps, remember=True)
    assert remembered == played(steps, remember=False)
    assert remembered[1] != played([before, after], remember=True)[1]


def test_memory_of_installs_is_bounded():
    knowledge = MemoryKnowledge()
    judgements, unsent = Judgements(knowledge, limit=4), InstallSightings(SightingDeduplicator(), 4)
    policy = Policy(tenant="acme")
    for number in range(20):
        event = event_of(quiet(f"host-{number}", index_url=f"https://{number}.example"), number)
        list(unsent.news(event, judgements.of(event, policy)))
        assert len(judgements) <= 4
        assert len(unsent) <= 4


def test_sightings_of_a_repeated_install_are_not_built(monkeypatch):
    built = []
    made = SightingDeduplicator.noted
    monkeypatch.setattr(
        SightingDeduplicator, "noted", lambda self, *said: built.append(said) or made(self, *said)
    )
    worker = Worker()
    first, again, elsewhere = (
        worker.take([event_of(quiet(system), number)], abandoned=False)
        for number, system in enumerate("aab")
    )
    assert len(built) == 4
    assert len(first) - len(again) >= 2
    assert len(elsewhere) > len(again)
