"""Findings about the data sources of a run: their transport, host, domain and content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from agents.checks.pipelines.secrets import find_secret
from agents.checks.pipelines.sources import (
    RunSource,
    blocks,
    dataset_key,
    domain_key,
    speaks_of,
    trusted,
    vendor_key,
)
from agents.checks.provenance.identity import registry_name
from agents.domain.detection import Detection
from agents.domain.hosts import KNOWN_HOSTS, UrlParts, imitates, without_credentials
from schemas.events import Event, PipelineRun
from schemas.findings import Indicator, IndicatorType
from schemas.policy import Policy
from schemas.severity import Disposition, Severity

YOUNG_DOMAIN: Final = timedelta(days=90)


def check_source(
    source: RunSource, event: Event[PipelineRun], policy: Policy
) -> Iterator[Detection]:
    """Find the problems of one data source."""
    report = _Report(source, event.tenantid)
    hosts = policy.trusted.data_hosts
    registries = {registry_name(name) for name in policy.trusted.registries}
    allowed = (bool(hosts) and trusted(source, hosts)) or (
        source.address.scheme == "hf" and "huggingface" in registries
    )
    yield from _check_transport(source, report, allowed=allowed)
    yield from _check_host(source.address, hosts, report, allowed=allowed)
    yield from _check_age(source, event.time, report)
    yield from _check_content(source, report)
    secret = find_secret("", source.url)
    if secret is not None:
        yield report("TW-PIPE-SECRET", f"A {secret.kind} in a data source's address",
                     secret=secret.shown, kind=secret.kind)  # fmt: skip


class _Report:
    """Makes the detections of one data source."""

    def __init__(self, source: RunSource, tenant: str) -> None:
        self._source = source
        self._tenant = tenant
        self._shown = without_credentials(source.url) or (source.name or "")
        self._evidence: dict[str, Any] = {"url": self._shown}
        if source.name:
            self._evidence["name"] = source.name[:200]
        self._related = (dataset_key(source, tenant),)

    def __call__(
        self,
        rule_id: str,
        what: str,
        *,
        severity: Severity | None = None,
        disposition: Disposition = Disposition.DETECT,
        **more: object,
    ) -> Detection:
        """Return the detection that the source has the problem `what`."""
        return Detection(
            rule_id=rule_id,
            description=f"{what}: {self._shown}",
            evidence={**self._evidence, **more},
            locator=f"source:{self._source.key}",
            severity=severity,
            indicator=_about(self._source, self._tenant, disposition),
            related_keys=self._related,
        )


def _check_transport(source: RunSource, report: _Report, *, allowed: bool) -> Iterator[Detection]:
    address = source.address
    if address.insecure:
        yield report(
            "TW-PIPE-INSECURE-SOURCE",
            "Data source without transport security",
            # An attacker who could change it in transit is already inside.
            severity=Severity.LOW if address.local else None,
            disposition=Disposition.CONTEXT,
            scheme=address.scheme,
        )
    if source.verified is not True and not source.implied:
        # Without a statement, but with a host that the policy trusts by name, or that is local or a
        # store that only credentials open, it is a gap in a record.
        gap = source.verified is None and (allowed or address.local or _is_own_kind(address))
        yield report(
            "TW-PIPE-UNVERIFIED-SOURCE",
            "Data source not verified",
            severity=Severity.LOW if gap else None,
            disposition=Disposition.CONTEXT,
            verified=source.verified,
        )


def _check_host(
    address: UrlParts, hosts: Sequence[str], report: _Report, *, allowed: bool
) -> Iterator[Detection]:
    if hosts and address.host and not allowed:
        yield report(
            "TW-PIPE-OUTSIDE-POLICY",
            "Data source outside the policy's trusted hosts",
            severity=None if speaks_of(address, hosts) else Severity.LOW,
            disposition=Disposition.CONTEXT,
            host=address.host,
        )
    candidates = [host for host in hosts if "://" not in host]
    imitated = (
        None if allowed or address.store else imitates(address.host, (*candidates, *KNOWN_HOSTS))
    )
    if imitated is None and "userinfo" in address.oddities and "." in address.userinfo:
        imitated = address.userinfo.rpartition("@")[2].partition(":")[0][:200]
    if imitated is not None:
        yield report(
            "TW-PIPE-LOOKALIKE-HOST",
            f"Data source imitates {imitated}",
            host=address.host,
            imitated=imitated,
            oddities=list(address.oddities),
        )
    elif set(address.oddities) - _usual(address, allowed=allowed):
        yield report(
            "TW-PIPE-ODD-HOST",
            f"Data source with an unusual address ({', '.join(address.oddities)})",
            disposition=Disposition.CONTEXT,
            host=address.host,
            port=address.port,
            oddities=list(address.oddities),
        )


def _check_age(source: RunSource, at: datetime, report: _Report) -> Iterator[Detection]:
    registered = source.registered_at
    if registered is None:
        return
    if registered.tzinfo is None:
        registered = registered.replace(tzinfo=at.tzinfo)
    age = at - registered
    if age < YOUNG_DOMAIN:
        yield report(
            "TW-PIPE-NEW-DOMAIN",
            f"The domain of a data source was registered {max(age.days, 0)} days before the run",
            registered_at=registered.isoformat(),
            age_days=max(age.days, 0),
        )


def _check_content(source: RunSource, report: _Report) -> Iterator[Detection]:
    if source.pinned and source.digest and source.pinned != source.digest:
        yield report(
            "TW-PIPE-CONTENT-CHANGED",
            "The run read other data than its configuration pins",
            expected=source.pinned,
            actual=source.digest,
        )
    if source.conflicting:
        yield report(
            "TW-PIPE-DIGEST-CONFLICT",
            "One data source with several digests in one run",
            digests=[source.digest, *source.conflicting][:10],
        )


def _is_own_kind(address: UrlParts) -> bool:
    """Return whether an address is a bucket, a database or a file, which others can't serve."""
    return (address.store and address.scheme != "hf") or address.scheme == "file"


def _usual(address: UrlParts, *, allowed: bool) -> frozenset[str]:
    """Return the oddities that are ordinary at a source's location."""
    if address.local:
        return frozenset({"ip-literal", "odd-port"})
    return frozenset({"odd-port"}) if allowed else frozenset()


def check_blocked_sources(
    event: Event[PipelineRun], sources: list[RunSource], policy: Policy
) -> Iterator[Detection]:
    """Find data sources that the policy blocks."""
    if not policy.blocked_sources:
        return
    for source in sources:
        keys = [dataset_key(source, event.tenantid), vendor_key(source) or ""]
        keys.extend(f"sha256:{digest}" for digest in (source.digest, *source.conflicting) if digest)
        entry = next((e for e in policy.blocked_sources if blocks(e, keys, source.address)), None)
        if entry is not None:
            shown = without_credentials(source.url) or source.name or ""
            yield Detection(
                rule_id="TW-PIPE-BLOCKED-SOURCE",
                description=f"A data source that the policy blocks was used: {shown}",
                evidence={"url": shown, "blocked": entry[:200]},
                locator=f"source:{source.key}",
                indicator=_about(source, event.tenantid, Disposition.DETECT),
                related_keys=tuple(key for key in keys if key),
            )


def _about(source: RunSource, tenant: str, disposition: Disposition) -> Indicator:
    domain = domain_key(source)
    if domain is not None:
        host = domain.partition(":")[2]
        return Indicator(key=domain, type=IndicatorType.DOMAIN, value=host, disposition=disposition)
    key = dataset_key(source, tenant)
    value = without_credentials(source.url) or source.name or key
    return Indicator(key=key, type=IndicatorType.DATASET, value=value, disposition=disposition)
