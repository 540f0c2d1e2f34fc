"""Asks a broker about topics by their names: a cluster may have very many others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiokafka.protocol.metadata import MetadataRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka.admin import AIOKafkaAdminClient


async def partition_counts(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, int]:
    """Return the number of partitions of each of `names` that exists.

    A topic that does not exist, that this user may not describe, or that this broker does not know
    yet is described without partitions.
    """
    wanted = sorted(set(names))
    if not wanted:  # a request without names is one for all topics on old brokers
        return {}
    topics = (await _metadata(admin, wanted))["topics"]
    return {entry["topic"]: len(entry["partitions"]) for entry in topics if entry["partitions"]}


async def cluster_id(admin: AIOKafkaAdminClient) -> str | None:
    """Return what distinguishes this cluster from another."""
    found: str | None = (await _metadata(admin, [])).get("cluster_id")
    return found


async def _metadata(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, Any]:
    # `describe_topics` would have the broker create what is missing
    request = MetadataRequest(names, allow_auto_topic_creation=False)
    answer: dict[str, Any] = (await admin._send_request(request)).to_object()  # noqa: SLF001 -- there is no other way to ask
    return answer
