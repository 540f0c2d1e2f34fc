"""The data sources of a run: those of its configuration and of its event, one per URL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from agents.checks.pipelines.configuration import Node, walk
from agents.checks.pipelines.remote_code import is_hub_name
from agents.checks.provenance.identity import registry_name
from agents.domain.component_keys import event_key
from agents.domain.hosts import UrlParts, below, read_address, within
from schemas.components import ComponentKind, component_key, is_sha256, tenant_scoped
from schemas.events import DataSource

MAX_SOURCES: Final = 2_000
MAX_IMPLIED: Final = 200
_URL_LIMIT: Final = 2048
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,15}://[^\s${}<>]+")
_OF_DATA: Final = re.compile(
    r"(?:^|[._\-\[])(?:\w*(?<!meta)(?<!Meta)[Dd]ata(?:[Ss]ets?|[Ff]iles?)?\w*|corpus|corpora"
    r"|train(?:ing)?_?(?:set|files?|path|ur[il]))(?:$|[._\-\[])"
)
_OF_MODEL: Final = re.compile(r"(?:^|\.)(?:storageUri|storage_uri|model_?[Uu]r[il]|sourceUri)$")
"""Settings that name the model to serve: they are sources of data if anyone can change them."""
_HUB_HOST: Final = "huggingface.co"
_HUB_KEYS: Final = re.compile(
    r"(?:train(?:ing)?_|eval(?:uation)?_|test_|valid(?:ation)?_|pretraining_|hf_|hub_)?dataset"
    r"(?:_name|_id|_path|_repo|_name_or_path|_repo_id)?"
)
"""Settings whose value is the name of a dataset, in the hub or of a folder."""
_HUB_LIST: Final = re.compile(r"(?:\w+_)?datasets(?:\[\d+\])?")
_MIXER: Final = re.compile(r"dataset_mixer(?:_\w+)?")
"""A mixture: names of datasets, each with its share."""
_ENTRY: Final = re.compile(r"(?:\w+_)?datasets?(?:\[\d+\])?")
_PATHS: Final = frozenset({"path", "hf_id", "repo_id", "hf_hub_url", "dataset_name"})
_COMMIT_NAMES: Final = frozenset({"gitcommit", "sha1"})
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_DIGEST_NAMES: Final = ("sha256", "digest", "checksum", "hash")


class RunSource(msgspec.Struct, frozen=True, kw_only=True):
    """One data source, merged from all its mentions."""

    url: str
    name: str | None = None
    verified: bool | None = None
    """False if any mention says so, else true if any does."""
    provider: str | None = None
    digest: str | None = None
    """SHA-256 of what the run read, as the event reports it."""
    pinned: str | None = None
    """SHA-256 that the configuration expects."""
    conflicting: tuple[str, ...] = ()
    """Further digests that the event reports for it."""
    registered_at: datetime | None = None
    address: UrlParts
    implied: bool = False
    """Whether only a setting names it, which has no field for `verified`."""

    @property
    def key(self) -> str:
        """Its identity: the URL, else the name."""
        return self.url or f"name:{self.name}"


def sha256_of(digests: Mapping[str, str]) -> str | None:
    """Return the SHA-256 of a `digests` object in lower-case hex, if any."""
    for name, value in digests.items():
        if name.lower().replace("-", "") == "sha256":
            text = value.strip().lower().removeprefix("sha256:")
            if is_sha256(text):
                return text
    return None


def commit_of(digests: Mapping[str, str]) -> str | None:
    """Return the git commit of a `digests` object in lower-case hex, None if there is none.

    Source: in-toto's digest set, which names it `gitCommit`; Tekton and older tools say `sha1`.
    """
    for name, value in digests.items():
        text = value.strip().lower()
        if name.lower() in _COMMIT_NAMES and _COMMIT.fullmatch(text):
            return text
    return None


def config_sources(config: Any) -> list[DataSource]:  # noqa: ANN401 -- any JSON document
    """Return the data sources that a configuration names in `data_sources`.

    An entry is an object or a bare URL; other values are left out here and stay in the
    configuration.
    """
    entries = config.get("data_sources") if isinstance(config, dict) else None
    if isinstance(entries, dict):
        entries = list(entries.values())
    result: list[DataSource] = []
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, str):
            result.append(DataSource(url=entry))
        elif isinstance(entry, dict):
            verified = entry.get("verified")
            result.append(
                DataSource(
                    url=_text(entry.get("url")) or _text(entry.get("uri")) or "",
                    name=_text(entry.get("name")),
                    # Only the literal counts: "true" or 1 is not a verification.
                    verified=verified if isinstance(verified, bool) else None,
                    provider=_text(entry.get("provider")),
                    digests=_digests(entry),
                )
            )
    return result


def implied_sources(config: Any) -> list[DataSource]:  # noqa: ANN401 -- any JSON document
    """Return what settings name as data: addresses (`data.url`), and datasets of the hub.

    The hub's are named by `dataset_name`, or by `path` or `name` of an entry of `datasets`.

    Source: TRL `ScriptArguments`, LLaMA-Factory `DataArguments`, Axolotl `datasets[].path`,
    Hugging Face `load_dataset(path, revision)`.

    Raises:
        UnreadableConfigError: there are more values than are walked.
    """
    found: dict[str, DataSource] = {}

    def add(path: str, value: Any) -> None:  # noqa: ANN401 -- any JSON value
        if not isinstance(value, str) or len(value) > _URL_LIMIT or len(found) >= MAX_IMPLIED:
            return
        url = value.strip()
        if _ADDRESS.fullmatch(url) and (
            _OF_DATA.search(path) or (_OF_MODEL.search(path) and read_address(url).insecure)
        ):
            found.setdefault(url, DataSource(url=url, name=path[:200]))

    def of_hub(path: str, name: str, members: Any) -> None:  # noqa: ANN401 -- any JSON value
        plain = name.strip()
        if len(found) < MAX_IMPLIED and is_hub_name(plain):
            revision = members.get("revision") if isinstance(members, dict) else None
            pinned = f"@{revision}" if isinstance(revision, str) and revision.strip() else ""
            url = f"hf://datasets/{plain}{pinned}"
            found.setdefault(url, DataSource(url=url, name=path[:200]))

    for node in walk(config):
        add(node.path, node.value)
        for path, name in _hub_datasets(node):
            of_hub(path, name, node.value)
        if isinstance(node.value, dict) and isinstance(node.value.get("name"), str):
            # Kubernetes, Tekton and Argo write parameters and variables like this.
            add(node.value["name"], node.value.get("value"))
    return list(found.values())


def _hub_datasets(node: Node) -> Iterator[tuple[str, str]]:
    """Yield the settings of one value of a configuration that name datasets of the hub."""
    value = node.value
    last = node.path.rpartition(".")[2]
    if isinstance(value, str) and _HUB_LIST.fullmatch(last):
        yield node.path, value
    if not isinstance(value, dict):
        return
    if _MIXER.fullmatch(last):
        yield from ((node.path, name) for name in value)
    for key, item in value.items():
        name = key.lower().replace("-", "_")
        # Of an entry of `datasets`, the name is that of the dataset only where no path is given.
        named = _HUB_KEYS.fullmatch(name) or (
            _ENTRY.fullmatch(last)
            and (name in _PATHS or (name == "name" and not value.keys() & _PATHS))
        )
        if isinstance(item, str) and named:
            yield (f"{node.path}.{key}" if node.path else key), item


def _text(value: Any) -> str | None:  # noqa: ANN401 -- any JSON value
    return value if isinstance(value, str) and value.strip() else None


def _digests(entry: Mapping[str, Any]) -> dict[str, str]:
    digests = entry.get("digests")
    if isinstance(digests, dict):
        return {str(name): value for name, value in digests.items() if isinstance(value, str)}
    for name in _DIGEST_NAMES:
        value = _text(entry.get(name))
        if value is not None and is_sha256(value.strip().lower().removeprefix("sha256:")):
            return {"sha256": value}
    return {}


def run_sources(
    configured: Iterable[DataSource],
    reported: Iterable[DataSource],
    implied: Iterable[DataSource] = (),
) -> tuple[list[RunSource], int]:
    """Return the union of both by URL (by name where there is none), and how many were left out.

    Args:
        configured: Those of the configuration, with the expected digests.
        reported: Those of the event, with the actual digests.
        implied: Those that other settings name.
    """
    merged: dict[str, RunSource] = {}
    left_out: set[str] = set()
    for sources, expected in ((configured, True), (reported, False)):
        for source in sources:
            url = source.url.strip()
            key = url or f"name:{source.name}"
            if not url and not (source.name or "").strip():
                continue
            known = merged.get(key)
            if known is None and len(merged) >= MAX_SOURCES:
                left_out.add(key)
                continue
            merged[key] = _merge(known, source, url, expected=expected)
    for source in implied:
        if source.url in merged:
            continue
        if len(merged) >= MAX_SOURCES:
            left_out.add(source.url)
            continue
        one = _merge(None, source, source.url, expected=True)
        merged[source.url] = msgspec.structs.replace(one, implied=True)
    return list(merged.values()), len(left_out)


def _merge(known: RunSource | None, source: DataSource, url: str, *, expected: bool) -> RunSource:
    digest = sha256_of(source.digests)
    if known is None:
        return RunSource(
            url=url,
            name=source.name,
            verified=source.verified,
            provider=source.provider,
            digest=None if expected else digest,
            pinned=digest if expected else None,
            registered_at=source.registered_at,
            address=read_address(url),
        )
    conflicting = known.conflicting
    if not expected and digest and known.digest and digest != known.digest:
        conflicting = tuple(dict.fromkeys((*conflicting, digest)))
    said = {known.verified, source.verified}
    return RunSource(
        url=url,
        name=known.name or source.name,
        verified=False if False in said else (True if True in said else None),
        provider=known.provider or source.provider,
        digest=known.digest if expected else known.digest or digest,
        pinned=known.pinned or digest if expected else known.pinned,
        conflicting=conflicting,
        registered_at=known.registered_at or source.registered_at,
        address=known.address,
    )


def dataset_key(source: RunSource, tenant: str) -> str:
    """Return the component key of a data source's content.

    A URL is global; a bare name is private to its tenant.
    """
    address = source.address
    if address.scheme and address.scheme != "file" and address.host:
        path = address.path.partition("?")[0].partition("#")[0].strip("/")
        if address.scheme == "hf":
            name = f"{address.host}/{path}".removeprefix("datasets/").partition("@")[0]
            return event_key("dataset", f"huggingface/{name}".rstrip("/"), tenant)
        prefix = f"{address.scheme}/" if address.store else ""
        port = f":{address.port}" if address.database and address.port else ""
        return event_key("dataset", f"{prefix}{address.host}{port}/{path}".rstrip("/"), tenant)
    return tenant_scoped(component_key("dataset", source.name or source.url), tenant)


def domain_key(source: RunSource) -> str | None:
    """Return the key of a source's domain; None for stores, files and names."""
    if not source.address.host or source.address.store or source.address.scheme == "file":
        return None
    return component_key("domain", source.address.host)


def vendor_key(source: RunSource) -> str | None:
    """Return the publisher key of the vendor or annotation service of a source."""
    if not source.provider or not source.provider.strip():
        return None
    return component_key("publisher", f"vendor/{' '.join(source.provider.casefold().split())}")


def trusted(source: RunSource, data_hosts: Iterable[str]) -> bool:
    """Return whether the policy's trusted hosts, buckets or URL prefixes cover a source.

    An entry with `://` is a prefix that ends at a path boundary; `*.name` is every subdomain;
    anything else is a host or bucket by its exact name. The hub's own scheme has the hub's host.
    """
    plain: list[str] = []
    for entry in data_hosts:
        if "://" not in entry:
            plain.append(entry)
            continue
        allowed = read_address(entry)
        root = allowed.path.rstrip("/")
        if (
            (allowed.scheme, allowed.host, allowed.port)
            == (source.address.scheme, source.address.host, source.address.port)
            and (source.address.path == root or source.address.path.startswith(root + "/"))
            and "/.." not in source.address.path
        ):
            return True
    return within(_HUB_HOST if source.address.scheme == "hf" else source.address.host, plain)


def speaks_of(address: UrlParts, data_hosts: Iterable[str]) -> bool:
    """Return whether a policy's trusted hosts cover the kind of a source's address.

    Hosts do not cover buckets and databases: those need an entry of their own, by scheme or, for a
    bucket, as a name without a dot.
    """
    if not address.store or address.scheme == "hf":
        return True
    return any(
        read_address(entry).scheme == address.scheme
        if "://" in entry
        else not address.database and "." not in entry.strip(".")
        for entry in data_hosts
    )


def blocks(entry: str, keys: Iterable[str], address: UrlParts | None = None) -> bool:
    """Return whether an entry of a blocklist names one of these components or this address.

    An entry is a component key, `organisation/model`, a host (with its subdomains), a URL prefix
    or a SHA-256.
    """
    text = entry.strip()
    if not text:
        return False
    lowered = text.lower().rstrip(".")
    if address is not None and address.host:
        host = lowered.removeprefix("domain:")
        if "://" in text:
            blocked = read_address(text)
            root = blocked.path.rstrip("/")
            if below(address.host, blocked.host) and (
                not root or address.path == root or address.path.startswith(root + "/")
            ):
                return True
        elif below(address.host, host):
            return True
    for key in keys:
        prefix, _, name = key.partition(":")
        names = {key.lower(), name.lower()}
        if prefix in {ComponentKind.MODEL, ComponentKind.DATASET, ComponentKind.IMAGE}:
            # A blocklist entry matches the part after the registry (or the tenant's mark).
            registry, _, rest = name.partition("/")
            names.add(rest.lower())
            names.add(f"{registry_name(registry)}/{rest}".lower())
            names.add(f"{prefix}:{rest}".lower())
        if lowered in names:
            return True
    return False
