"""`tidewatch topics`: list and create topics, and print access rules."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Final

import typer

from schemas.channels import Channel
from schemas.counting import counted
from streams.apps.topology import (
    APPLICATIONS,
    CLIENTS,
    EVENT_CHANNELS,
    changelogs,
    written_channels,
)
from streams.cli.frame import connected_settings, example, new_app
from streams.cli.output import Format, FormatOption, plain, print_json, print_line, print_table
from streams.kafka.topic_metadata import partition_counts
from streams.kafka.topic_times import ensure_broker_time
from streams.kafka.topics import (
    TENANT_CHANNELS,
    TOPICS,
    Cleanup,
    Direction,
    ensure_topics,
    input_topics,
    open_admin,
    tenant_group_prefix,
    tenant_topic_name,
    topic_name,
)
from streams.settings import Settings, load_settings

_WORKER: Final = "tidewatch-worker"
_READERS: Final = {
    "gateway": (Channel.ASSESSMENTS,),
    "admit": (Channel.ASSESSMENTS, Channel.HOLDS, Channel.INTEL, Channel.POLICY),
    "index": (Channel.INTEL, Channel.POLICY),
    "soc": (Channel.ALERTS,),
}
"""Channels that clients read without a consumer group."""

app = new_app("List and create topics, print access rules.")

TenantOption = Annotated[
    list[str] | None, typer.Option("--tenant", help="a tenant with its own topics; repeatable")
]


@app.command("list", epilog=example("tidewatch topics list"))
def list_topics(*, form: FormatOption = Format.TEXT) -> None:
    """List every topic with its direction, key, retention, and its partitions on the broker."""
    settings = connected_settings()
    names = {
        name: spec for spec in TOPICS.values() for name in input_topics(settings, spec.channel)
    }
    counts = asyncio.run(_counts(settings, list(names)))
    rows = [
        {
            "topic": name,
            "direction": spec.direction.value,
            "partitions": counts.get(name),
            "kept": "compacted"
            if spec.cleanup is Cleanup.COMPACT
            else f"{spec.retention_days} days",
            "key": spec.key,
        }
        for name, spec in names.items()
    ]
    if form is Format.JSON:
        print_json(rows)
    else:
        print_table(
            list(rows[0]),
            [["missing" if cell is None else cell for cell in row.values()] for row in rows],
        )


@app.command(epilog=example("tidewatch topics create", "tidewatch topics create --tenant acme"))
def create(*, tenant: TenantOption = None, form: FormatOption = Format.TEXT) -> None:
    """Create missing topics; of existing ones, only the time setting is changed.

    On topics where record times matter, the broker is configured to set them (LogAppendTime).
    """
    settings = connected_settings().model_copy(update={"create_topics": True})
    counts, changed = asyncio.run(_create(settings, tenant or ()))
    if form is Format.JSON:
        print_json(counts)
    else:
        print_line(f"{counted(len(counts), 'topic')} present")
        for name in changed:
            print_line(plain(f"{name}: the broker sets the time of its records from now on"))


async def _create(
    settings: Settings, tenants: list[str] | tuple[()]
) -> tuple[dict[str, int], list[str]]:
    counts = await ensure_topics(settings, tenants=tenants, changelogs=changelogs(settings))
    return counts, await ensure_broker_time(settings, tenants=tenants)


@app.command(
    epilog=example(
        "tidewatch topics acls --tenant acme", "tidewatch topics acls --tenant acme --responder"
    )
)
def acls(
    *,
    tenant: TenantOption = None,
    responder: Annotated[
        bool, typer.Option("--responder", help="the tenants run responders of their own")
    ] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Print the access rules: who needs to read and write which topic.

    Each row is one Kafka ACL: a principal, an operation, and a topic, consumer group or
    transactional id by its name or prefix. Rights that are not listed are not needed. A
    tenant reads its own topics, in consumer groups whose names start with `tenant.<tenant>.`. A
    tenant with its own responder writes answers to the topic that the operator bound to it, or to
    the shared one. A writer of the shared topic can see how many records it has, but not read them.
    """
    rules = access_rules(load_settings(), tenant or (), responders=responder)
    if form is Format.JSON:
        print_json(rules)
        return
    print_table(list(rules[0]), [list(rule.values()) for rule in rules])
    print_line()
    print_line("as commands of Kafka's own tool:")
    for rule in rules:
        pattern = " --resource-pattern-type prefixed" if rule["pattern"] == "prefixed" else ""
        print_line(
            plain(
                f"kafka-acls.sh --bootstrap-server $KAFKA --add "
                f"--allow-principal User:{rule['principal']} --operation {rule['operation']} "
                f"--{rule['resource']} {rule['name']}{pattern}"
            )
        )


def access_rules(
    settings: Settings, tenants: list[str] | tuple[str, ...], *, responders: bool = False
) -> list[dict[str, str]]:
    """Return the ACLs that the workers, producers, consumers and tenants need.

    Args:
        settings: Names the topics and groups.
        tenants: Tenants with topics of their own.
        responders: They run responders of their own.
    """
    return [
        *_worker_rules(settings),
        *_producer_rules(settings),
        *_responder_rules(settings),
        *_client_rules(settings),
        *(
            rule
            for tenant in tenants
            for rule in _tenant_rules(settings, tenant, responders=responders)
        ),
    ]


def _allow(principal: str, operation: str, name: str, *, resource: str = "topic") -> dict[str, str]:
    """Return the ACL of one operation; a name that ends with `*` is a prefix."""
    return {
        "principal": principal,
        "operation": operation,
        "resource": resource,
        "name": name.removesuffix("*"),
        "pattern": "prefixed" if name.endswith("*") else "literal",
    }


def _worker_rules(settings: Settings) -> Iterator[dict[str, str]]:
    for operation in ("Describe", "Create", "DescribeConfigs"):
        yield _allow(_WORKER, operation, f"{settings.topic_prefix}*")
        yield _allow(_WORKER, operation, f"{settings.group_prefix}-*")
    for name in _worker_topics(settings, reading=True):
        yield _allow(_WORKER, "Read", name)
    for name in _worker_topics(settings, reading=False):
        yield _allow(_WORKER, "Write", name)
    yield _allow(_WORKER, "Read", f"{settings.group_prefix}-*", resource="group")


def _producer_rules(settings: Settings) -> Iterator[dict[str, str]]:
    for channel, spec in TOPICS.items():
        if spec.direction is Direction.IN:
            for name in input_topics(settings, channel):
                yield _allow(f"{channel.value}-producer", "Write", name)
    for name in settings.bound_topics:
        yield _allow(_WORKER, "Read", name)


def _responder_rules(settings: Settings) -> Iterator[dict[str, str]]:
    yield _allow("containment", "Read", topic_name(settings, Channel.CONTAINMENT_COMMANDS))
    for channel in (Channel.CONTAINMENT_RESULTS, Channel.DEAD_LETTER, Channel.OPERATOR_ALERTS):
        yield _allow("containment", "Write", topic_name(settings, channel))
    groups = f"{settings.group_prefix}-respond-*"
    yield _allow("containment", "Read", groups, resource="group")


def _client_rules(settings: Settings) -> Iterator[dict[str, str]]:
    """Yield what notifier, gateway, admission webhook, package index and consumers need."""
    notify = CLIENTS["notify"]
    own = f"{settings.group_prefix}-{notify.name}-*"
    for channel in (*notify.reads, Channel.NOTIFICATIONS):
        yield _allow(notify.name, "Read", topic_name(settings, channel))
    for channel in notify.writes:
        yield _allow(notify.name, "Write", topic_name(settings, channel))
    yield _allow(notify.name, "Read", own, resource="group")
    for operation in ("Describe", "Write"):
        yield _allow(notify.name, operation, own, resource="transactional-id")
    for channel in (*EVENT_CHANNELS, Channel.DEAD_LETTER):
        yield _allow("gateway", "Write", topic_name(settings, channel))
    for principal, channels in _READERS.items():
        for channel in channels:
            yield _allow(principal, "Read", topic_name(settings, channel))


def _tenant_rules(settings: Settings, tenant: str, *, responders: bool) -> Iterator[dict[str, str]]:
    for channel in sorted(TENANT_CHANNELS):
        yield _allow(_WORKER, "Write", tenant_topic_name(tenant, channel))
        yield _allow(tenant, "Read", tenant_topic_name(tenant, channel))
    yield _allow(tenant, "Read", f"{tenant_group_prefix(tenant)}*", resource="group")
    if responders:
        # The signature identifies the responder; only the tenant's keys count for the tenant.
        bound = [
            name
            for name, topic in settings.bound_topics.items()
            if (topic.channel, topic.tenant) == (Channel.CONTAINMENT_RESULTS, tenant)
        ]
        for name in bound or [topic_name(settings, Channel.CONTAINMENT_RESULTS)]:
            yield _allow(tenant, "Write", name)


def _worker_topics(settings: Settings, *, reading: bool) -> list[str]:
    """Return the topics that the applications together read, or write."""
    channels = {
        channel
        for application in APPLICATIONS.values()
        for channel in (
            (*application.reads, *application.references)
            if reading
            else written_channels(application)
        )
    }
    return sorted({topic_name(settings, channel) for channel in channels} | {*changelogs(settings)})


async def _counts(settings: Settings, names: list[str]) -> dict[str, int]:
    """Return the partitions of the topics that exist."""
    admin = await open_admin(settings)
    try:
        return await partition_counts(admin, names)
    finally:
        await admin.close()
