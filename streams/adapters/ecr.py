"""Convert EventBridge events of Amazon Elastic Container Registry to registry pushes."""

from __future__ import annotations

from typing import Any, Final

from schemas import dead_letters as reasons
from schemas.events import Event, PushAction, RegistryPush
from streams.adapters.container_images import is_artifact, kind_of_media, manifest_file
from streams.adapters.payload import (
    Payload,
    adapter,
    at,
    derived_id,
    moment,
    refuse,
    registry_event,
    text,
)

_ARRIVES: Final = frozenset({"PUSH", "REPLICATE"})
_DETAIL_TYPES: Final = frozenset(
    {"ECR Image Action", "ECR Replication Action", "ECR Pull Through Cache Action"}
)


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return the event of an image or model that was pushed, replicated, cached or deleted.

    Failures, scans, referrers, signatures and charts give none.

    Source: Amazon ECR user guide, events and EventBridge.
    """
    body = payload.body
    kind, detail = text(body, "detail-type"), at(body, "detail")
    if kind is None or not isinstance(detail, dict):
        raise refuse("no detail-type or detail")
    if kind not in _DETAIL_TYPES:
        if text(body, "source") != "aws.ecr":
            raise refuse(f"not an event of ECR: {kind[:100]!r}")
        return []
    result = text(detail, "result") or text(detail, "sync-status")
    if result is not None and result != "SUCCESS":
        return []
    done = text(detail, "action-type") or "PUSH"
    if done not in _ARRIVES and done != "DELETE":
        return []
    repository = text(detail, "repository-name")
    if repository is None:
        raise refuse("no detail.repository-name", reasons.MISSING_IDENTITY)
    account, region = text(body, "account"), text(body, "region")
    digest, tag = text(detail, "image-digest"), text(detail, "image-tag")
    media = text(detail, "artifact-media-type") or text(detail, "manifest-media-type")
    if not is_artifact(tag, media):
        return []
    push = RegistryPush(
        action=PushAction.PUSH if done in _ARRIVES else PushAction.DELETE,
        kind=kind_of_media(media),
        registry=payload.registry(_host(account, region) or "ecr"),
        repository=repository,
        revision=digest,
        tag=tag,
        files=manifest_file(digest),
    )
    stamp = text(body, "time")
    return [
        registry_event(
            payload,
            push,
            id=text(body, "id")
            or derived_id("ecr", kind, done, account, region, repository, digest, tag, stamp),
            source=f"//aws.ecr/{account or 'unknown'}/{region or 'unknown'}",
            time=moment(stamp),
        )
    ]


def _host(account: str | None, region: str | None) -> str | None:
    """Return the host of an account's registry in a region."""
    if not account or not region:
        return None
    # The partition of China has a domain of its own.
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{account}.dkr.ecr.{region}.{domain}"
