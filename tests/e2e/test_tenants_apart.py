"""Tenants apart: by the broker's access rules, and in every byte that one of them is given."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from datetime import UTC, datetime
from types import SimpleNamespace

import aiokafka
import msgspec
import orjson
import pytest
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError

from schemas.channels import Channel
from schemas.intel import IntelFact, IntelKind
from schemas.policy import Policy
from streams.demo.files import HARMLESS_COMMAND, calling_pickle, safetensors, torch_archive
from streams.demo.story_builder import StoryBuilder, digest_of, package
from streams.kafka.client import client_options
from streams.kafka.topics import TENANT_CHANNELS, tenant_group_prefix, tenant_topic_name, topic_name
from streams.settings import load_settings
from tests.e2e.chain import Chain
from tests.e2e.guarded_kafka import GuardedKafka
from tests.e2e.scenario_run import send_events, send_facts
from tests.installed import TIDEWATCH

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SECONDS = 180
ONE = "acme"
"""The tenant whose reading is looked at."""
OTHERS = {
    "a": ("globex", "initech", "hooli"),
    "b": ("zenith-labs", "quartz-nine", "vandelay"),
}
"""Who else is there, in two runs."""
WORKER = "tidewatch-worker"
SHARED = "pypi:tensor-thief"
RARE = "pypi:quiet-thief"
DATASET = digest_of("poisoned clicks")
BASE = "open-models/base"


def story(root, others, *, among_few):
    """Return what happens: all of it to ONE, around it the same to others.

    Args:
        root: Where model files are written.
        others: Their names.
        among_few: Whether one other shares what fewer than k tenants have.
    """
    story = StoryBuilder("apart", datetime(2026, 11, 16, 8, tzinfo=UTC), root)
    pickle = calling_pickle("posix", "system", HARMLESS_COMMAND)
    hostile = {"pytorch_model.bin": torch_archive(pickle)}
    clicks = {"component": "dataset:huggingface/vendor/clicks", "digests": {"sha256": DATASET}}
    honest, stranger = {"name": "few", "id": "u-1"}, {"name": "few", "id": "u-2"}
    clean = {"model.safetensors": safetensors("apart")}
    found = []

    def other(make, *arguments, **fields):
        # Each tenant's events keep the times they have when the other's are left out.
        now = story.now
        found.append(make(*arguments, **fields))
        story.now = now

    for name in others:
        other(story.install, name, f"{name}-host", [package("tensor-thief", "1.0")],
              identities=[f"secret-ref:{name}-cloud"])  # fmt: skip
    first = others[0]
    if among_few:
        other(story.install, first, f"{first}-host", [package("quiet-thief", "2.0")])
        # the model was clean when the other had it; the tag has moved since
        other(story.push, first, "few/model", clean, publisher=honest,
              systems=[f"{first}-gpu"])  # fmt: skip
        other(story.push, first, "few/model", hostile, action="pull",
              publisher=stranger, systems=[f"{first}-gpu"])  # fmt: skip
    # a component of the other's, made from what turns out to be poisoned, and public
    other(story.run, first, f"{first}-pretrain", stage="pre-training",
          inputs=[clicks],
          outputs=[{"component": f"model:huggingface/{BASE}", "revision": "1",
                    "digests": {"sha256": digest_of("base 1")}}])  # fmt: skip
    # ids of ONE's events do not depend on how many others there are
    story = StoryBuilder("apart-one", datetime(2026, 11, 17, 8, tzinfo=UTC), root)
    found += [
        story.install(ONE, "acme-ci", [package("tensor-thief", "1.0")],
                       identities=["secret-ref:acme-cloud"]),
        story.install(ONE, "acme-ci", [package("quiet-thief", "2.0")]),
        story.push(ONE, "few/model", hostile, action="pull", publisher=stranger,
                    systems=["acme-gpu"]),
        story.run(ONE, "acme-tune", stage="fine-tuning",
                   inputs=[{"component": f"model:huggingface/{BASE}", "revision": "1",
                            "digests": {"sha256": digest_of("base 1")}}],
                   outputs=[{"component": "model:registry.acme/acme/tuned", "revision": "1",
                             "digests": {"sha256": digest_of("tuned 1")}}]),
    ]  # fmt: skip
    return found


FACTS = [
    IntelFact(key=SHARED, kind=IntelKind.MALICIOUS, sources=("analyst", "OSV:MAL-1")),
    IntelFact(key=RARE, kind=IntelKind.MALICIOUS, sources=("analyst", "OSV:MAL-2")),
    IntelFact(key=f"sha256:{DATASET}", kind=IntelKind.MALICIOUS, digests=(DATASET,),
              sources=("vendor",)),
]  # fmt: skip


async def consumed(settings, topics, group=None):
    """Return all records of topics as one principal reads them."""
    consumer = aiokafka.AIOKafkaConsumer(
        *topics, **client_options(settings), group_id=group, auto_offset_reset="earliest",
        enable_auto_commit=False,
    )  # fmt: skip
    found = []
    try:
        await consumer.start()
        partitions = []
        deadline = asyncio.get_running_loop().time() + 20
        while not partitions and asyncio.get_running_loop().time() < deadline:
            partitions = list(consumer.assignment())
            await asyncio.sleep(0.05)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found.extend(records)
    finally:
        await asyncio.sleep(0)
        await consumer.stop()
    return found


def own_topics(tenant):
    return [tenant_topic_name(tenant, channel) for channel in sorted(TENANT_CHANNELS)]


def of_user(guarded, user, **options):
    return load_settings(**guarded.settings_of(user), **options)


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """Two runs on a guarded broker that differ only in who else is there."""
    folder = tmp_path_factory.mktemp("apart")
    root = folder / "models"
    tenants = [ONE, *OTHERS["a"], *OTHERS["b"]]
    guarded = GuardedKafka(folder / "kafka", [WORKER, *tenants])
    given, chains = {}, {}
    with guarded.broker:
        for run, others in OTHERS.items():
            options = {"topic_prefix": f"{run}.supplychain.", "group_prefix": f"{run}-tidewatch"}
            allow_printed(guarded, folder, run, (ONE, *others), options)
            before = asyncio.run(consumed(of_user(guarded, ONE), own_topics(ONE)))
            known = {(record.topic, record.offset) for record in before}
            chain = chains[run] = Chain(
                guarded.inner,
                folder,
                credentials=guarded.settings_of(WORKER),
                tenant_topics=True,
                create_topics=False,
                **options,
            )
            policies = [
                Policy(tenant=tenant, roots=(root.resolve().as_uri(),), dry_run=False,
                       automatic=("capture-evidence", "quarantine", "block"))
                for tenant in (ONE, *others)
            ]  # fmt: skip
            chain.send(
                Channel.POLICY,
                [(policy.tenant, msgspec.json.encode(policy)) for policy in policies],
            )
            chain.start()
            try:
                send_events(chain, story(root, others, among_few=run == "a"))
                chain.settle(SECONDS)
                send_facts(chain, FACTS)
                chain.settle(SECONDS, until=lambda view: alerts_of(ONE, view) == len(FACTS) + 1)
            finally:
                chain.stop()
            everything = asyncio.run(consumed(of_user(guarded, ONE), own_topics(ONE)))
            given[run] = [
                record for record in everything if (record.topic, record.offset) not in known
            ]
        yield SimpleNamespace(guarded=guarded, given=given, chains=chains)


def alerts_of(tenant, view):
    """Return how many alerts a tenant has: here of each fact, and of the hostile model."""
    return sum(alert.tenant == tenant for alert in view.alerts.values())


def allow_printed(guarded, folder, run, tenants, options):
    """Create the topics as the operator, and the rules that the command line prints."""
    settings = {**options, "kafka": guarded.inner, "state_dir": folder / run}
    environment = {
        **os.environ,
        **{f"TIDEWATCH_{name.upper()}": str(value) for name, value in settings.items()},
    }
    named = [word for tenant in tenants for word in ("--tenant", tenant)]

    def tidewatch(*words):
        command = [TIDEWATCH, *words]
        return subprocess.run(command, env=environment, check=True, capture_output=True).stdout

    tidewatch("topics", "create", *named)
    guarded.allow(orjson.loads(tidewatch("topics", "acls", "--format", "json", *named)))


SECRETS = {
    run: re.compile(
        "|".join(re.escape(text) for name in others for text in (name, f"{name}-host")).encode(),
        re.IGNORECASE,
    )
    for run, others in OTHERS.items()
}
"""Whatever names another tenant, its systems, identities and pipelines has its name in it."""


def whole(record):
    """Return every byte of a record that a reader gets."""
    headers = b"\n".join(name.encode() + b":" + (value or b"") for name, value in record.headers)
    return b"\n".join((record.key or b"", record.value or b"", headers))


@pytest.mark.parametrize("run", OTHERS)
def test_nothing_that_a_tenant_is_given_names_another(apart, run):
    assert len(apart.given[run]) > 20
    # without the setting hygiene_topic, nothing is written to that topic
    written = set(own_topics(ONE)) - {tenant_topic_name(ONE, Channel.HYGIENE)}
    assert {record.topic for record in apart.given[run]} == written
    for record in apart.given[run]:
        assert not SECRETS[run].search(whole(record)), record.value


def identity(record, document):
    """Return what a record is the latest word about."""
    for path in (("metadata", "uid"), ("command_id",), ("id",)):
        found = document
        for name in path:
            found = found.get(name, {}) if isinstance(found, dict) else {}
        if found:
            return record.topic, found
    raise AssertionError(record.value)


def without_processing_times(document):
    """Return a document without what depends on when Tidewatch itself ran."""
    if "command_id" in document:
        document["args"].pop("stop_time", None)
        document["args"]["x-tidewatch"].pop("expires", None)
        # an unanswered command is issued again when its time is up, however slow this machine is
        document["args"]["x-tidewatch"].pop("attempt", None)
    if "finding_info" in document:
        document["metadata"].pop("processed_time", None)
        for name in ("activity_id", "activity_name", "type_uid", "type_name"):
            document.pop(name)
    for name in ("revision", "modified"):
        document.pop(name, None)
    return document


def last_words(records):
    found = {}
    for record in records:
        document = orjson.loads(record.value)
        found[identity(record, orjson.loads(record.value))] = without_processing_times(document)
    return found


def test_output_reveals_neither_other_tenants_nor_counts_below_k(apart):
    one, other = last_words(apart.given["a"]), last_words(apart.given["b"])
    assert one.keys() == other.keys()
    for key, words in one.items():
        assert words == other[key], key


def test_the_count_of_tenants_is_given_from_k_on_and_a_path_through_others_reads_elsewhere(apart):
    alerts = {}
    for record in apart.given["a"]:
        if record.topic == tenant_topic_name(ONE, Channel.ALERTS):
            document = orjson.loads(record.value)
            alerts[document["unmapped"]["root"].partition("@")[0]] = document
    assert alerts[SHARED]["unmapped"]["other_tenants_at_least"] == 3
    assert "other_tenants_at_least" not in alerts[RARE]["unmapped"]
    poisoned = alerts[f"sha256:{DATASET}"]
    paths = [
        resource["data"]["path"]
        for resource in poisoned["resources"]
        if resource["type"] == "system"
    ]
    assert any("elsewhere" in path for path in paths), paths


@pytest.mark.parametrize("tenant", [ONE, OTHERS["a"][0]])
def test_a_tenants_principal_reads_its_own_topics_and_nothing_else(apart, tenant):
    guarded, chain = apart.guarded, apart.chains["a"]
    settings = of_user(guarded, tenant)
    group = f"{tenant_group_prefix(tenant)}siem"
    mine = asyncio.run(consumed(settings, own_topics(tenant), group))
    reported = [orjson.loads(record.value) for record in mine if record.topic.endswith("alerts")]
    assert {document["metadata"]["tenant_uid"] for document in reported} == {tenant}
    (stranger,) = {ONE, OTHERS["a"][0]} - {tenant}
    refused = [*own_topics(stranger), *(topic_name(chain.settings, channel) for channel in Channel)]
    for topic in refused:
        with pytest.raises(TopicAuthorizationFailedError):
            asyncio.run(consumed(settings, [topic]))
    with pytest.raises(GroupAuthorizationFailedError):
        asyncio.run(consumed(settings, own_topics(tenant), f"{tenant_group_prefix(stranger)}siem"))
