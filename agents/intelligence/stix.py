"""Read STIX 2.1 bundles: the components that their indicators match."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import orjson

from agents.intelligence.feed import Feed, InvalidFeedError, with_popularity
from schemas.components import InvalidComponentError, component_key
from schemas.intel import IntelFact, IntelKind

SOURCE: Final = "STIX:"
OBJECTS_LIMIT: Final = 500_000
PATTERN_LIMIT: Final = 65_536
_COMPARISON: Final = re.compile(r"([a-z0-9-]+):([A-Za-z0-9_.'\- ]+?)\s*=\s*'((?:[^'\\]|\\.)*)'")
_PURL: Final = re.compile(r"pkg:(pypi|huggingface)/([^@?#\s]+)(?:@([^?#\s]+))?")
_SHARED_HOSTS: Final = frozenset({"huggingface.co", "github.com", "gitlab.com"})
"""Shared hosts: a malicious file there does not make the host malicious."""
_BENIGN: Final = "benign"


class _Term(msgspec.Struct, frozen=True):
    key: str
    version: str | None = None


def _terms(pattern: str) -> Iterator[_Term]:
    """Yield the component keys in a pattern; only comparisons for equality are read."""
    name: str | None = None
    version: str | None = None
    for kind, path, quoted in _COMPARISON.findall(pattern[:PATTERN_LIMIT]):
        value = quoted.replace("\\'", "'").replace("\\\\", "\\")
        plain = path.replace("'", "").lower()
        if kind == "file" and plain in {"hashes.sha-256", "hashes.sha256"}:
            yield _Term(component_key("sha256", value))
        elif kind == "domain-name" and plain == "value":
            yield _Term(component_key("domain", value))
        elif kind == "url" and plain == "value":
            host = urlsplit(value).hostname
            if host and host not in _SHARED_HOSTS:
                yield _Term(component_key("domain", host))
        elif kind == "software" and plain == "name":
            name = value
        elif kind == "software" and plain == "version":
            version = value
        elif purl := _PURL.fullmatch(value):
            yield _Term(_named(purl[1], purl[2]), purl[3])
    if name is not None:
        purl = _PURL.fullmatch(name)
        if purl:
            yield _Term(_named(purl[1], purl[2]), purl[3] or version)
        elif "/" in name:
            yield _Term(component_key("model", f"huggingface/{name}"), version)
        elif version is not None:
            yield _Term(component_key("pypi", name), version)


def _named(kind: str, name: str) -> str:
    return (
        component_key("pypi", name)
        if kind == "pypi"
        else component_key("model", f"huggingface/{name}")
    )


def read_bundle(raw: bytes, where: str = "bundle") -> Feed:
    """Return the facts of a bundle's indicators; revoked ones are withdrawals.

    Args:
        raw: JSON.
        where: Its name, for errors.

    Raises:
        InvalidFeedError: not a STIX 2.x bundle, or without a readable indicator.

    Source: STIX 2.1, sections 4.7 (indicator) and 9 (patterns).
    """
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidFeedError(f"not JSON ({error})", where=where) from error
    objects = document.get("objects") if isinstance(document, dict) else None
    if not isinstance(document, dict) or document.get("type") != "bundle" or objects is None:
        raise InvalidFeedError("not a STIX bundle", where=where)
    if not isinstance(objects, list) or len(objects) > OBJECTS_LIMIT:
        raise InvalidFeedError("no list of objects, or too many", where=where)
    feed = Feed()
    for entry in objects:
        if isinstance(entry, dict) and entry.get("type") == "indicator":
            _read_indicator(entry, feed)
    if not feed.facts and not feed.withdrawn:
        what = feed.problems[0] if feed.problems else "no indicator in it"
        raise InvalidFeedError(f"no usable indicator ({what})", where=where)
    return feed


def _read_indicator(indicator: dict[str, Any], feed: Feed) -> None:
    feed.records += 1
    name = str(indicator.get("id", "indicator"))[:120]
    if indicator.get("pattern_type", "stix") != "stix" or not isinstance(
        indicator.get("pattern"), str
    ):
        feed.skip("pattern of another language")
        return
    try:
        terms = list(dict.fromkeys(_terms(indicator["pattern"])))
    except (InvalidComponentError, ValueError) as error:
        feed.refuse(name, str(error))
        return
    if not terms:
        feed.skip("pattern without a value that is a component")
        return
    kinds = indicator.get("indicator_types") or []
    source = f"{SOURCE}{name}"
    for term in terms:
        if indicator.get("revoked") is True:
            feed.withdrawn[term.key] = (*feed.withdrawn.get(term.key, ()), source)
            continue
        confidence = indicator.get("confidence")
        feed.add(
            with_popularity(
                IntelFact(
                    key=term.key,
                    kind=IntelKind.KNOWN_GOOD if _BENIGN in kinds else _kind_of(term),
                    versions=(term.version,) if term.version else (),
                    digests=(term.key[7:],) if term.key.startswith("sha256:") else (),
                    sources=(source,),
                    confidence=min(max(confidence / 100, 0.0), 1.0)
                    if isinstance(confidence, int)
                    else 0.7,
                    summary=str(indicator["name"])[:500] if indicator.get("name") else None,
                )
            )
        )


def _kind_of(term: _Term) -> IntelKind:
    return IntelKind.COMPROMISED if term.version else IntelKind.MALICIOUS
