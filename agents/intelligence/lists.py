"""Read plain lists, one entry a line: blocklists, warninglists, known-good lists."""

from __future__ import annotations

import re
from typing import Final

from agents.intelligence.feed import Feed, InvalidFeedError, with_popularity
from schemas.components import InvalidComponentError, component_key, normalise_key
from schemas.intel import IntelFact, IntelKind

LINES_LIMIT: Final = 2_000_000
LINE_LIMIT: Final = 4096
_SHA256: Final = re.compile(r"(?:sha256[:=])?([0-9a-fA-F]{64})")
_PINNED: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*===?\s*([0-9A-Za-z.!+_-]+)")
_PURL: Final = re.compile(r"pkg:(pypi|huggingface)/([^@?#\s]+)(?:@([^?#\s]+))?")
_MODEL: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_PACKAGE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", re.IGNORECASE)


def _read_entry(entry: str, kind: IntelKind) -> tuple[str, str | None]:
    """Return the component key and the version that an entry names.

    Raises:
        InvalidComponentError: neither a key, digest, purl, package, model nor host.
    """
    if found := _SHA256.fullmatch(entry):
        return f"sha256:{found[1].lower()}", None
    if found := _PURL.fullmatch(entry):
        if found[1] == "pypi":
            return component_key("pypi", found[2]), found[3]
        return component_key("model", f"huggingface/{found[2]}"), found[3]
    head, colon, _ = entry.partition(":")
    if colon and "/" not in head and "." not in head:
        key, at, version = entry.rpartition("@")
        has_version = bool(at) and "/@" not in entry and not entry.startswith("publisher:")
        return normalise_key(key if has_version else entry), version if has_version else None
    if found := _PINNED.fullmatch(entry):
        return component_key("pypi", found[1]), found[2]
    if _MODEL.fullmatch(entry):
        return component_key("model", f"huggingface/{entry}"), None
    if _HOST.fullmatch(entry) and kind is IntelKind.BLOCKED:
        return component_key("domain", entry), None
    if _PACKAGE.fullmatch(entry) and kind is not IntelKind.BLOCKED:
        return component_key("pypi", entry), None
    raise InvalidComponentError(
        f"can't tell what {entry[:80]!r} names",
        remedy="write org/model, name==version, sha256:…, or kind:name",
    )


def read_list(
    text: str, kind: IntelKind, *, source: str, where: str = "list", confidence: float = 0.9
) -> Feed:
    """Return the facts of a plain list; `#` begins a comment.

    Entries: `org/model`, `name==version`, a SHA-256, a package URL, a host (blocklists), a bare
    package name (warninglists, known good), or a component key with `@version`. A second word on
    the line is a digest or a revision that the entry is limited to.

    Args:
        text: The list.
        kind: The kind of its facts: blocked, warninglist or known-good.
        source: Its name.
        where: Its path or name, for errors.
        confidence: The confidence of each fact, 0 to 1.

    Raises:
        InvalidFeedError: the list is too long, or no entry can be read.
    """
    feed = Feed(complete=True)
    lines = text.splitlines()
    if len(lines) > LINES_LIMIT:
        raise InvalidFeedError(f"more than {LINES_LIMIT:,} lines", where=where)
    for number, line in enumerate(lines, 1):
        words = line[:LINE_LIMIT].partition("#")[0].split()
        if not words:
            continue
        feed.records += 1
        joined = "".join(words) if "==" in line else words[0]
        try:
            key, version = _read_entry(joined, kind)
        except InvalidComponentError as error:
            feed.refuse(f"{where}:{number}", str(error))
            continue
        versions = [version] if version else []
        digests: list[str] = []
        for word in words[1:] if "==" not in line else []:
            digest = _SHA256.fullmatch(word)
            if digest:
                digests.append(digest[1].lower())
            else:
                versions.append(word)
        feed.add(
            with_popularity(
                IntelFact(
                    key=key,
                    kind=kind,
                    versions=tuple(versions),
                    digests=tuple(digests),
                    sources=(source,),
                    confidence=confidence,
                )
            )
        )
    if not feed.facts:
        what = feed.problems[0] if feed.problems else "it is empty"
        raise InvalidFeedError(f"no entry can be read ({what})", where=where)
    return feed
