"""A scanner of one rule and a fetcher of memory, for the tests of a push's slow work."""

from __future__ import annotations

import msgspec

from agents.checks.artifacts.report import unread_reasons
from agents.domain.detection import Detection
from agents.fetching.errors import FetchError
from schemas.severity import Severity, Verdict


class FileResult(msgspec.Struct, frozen=True, kw_only=True):
    verdict: Verdict
    detections: tuple[Detection, ...] = ()
    reasons: tuple[str, ...] = ()


class MemorySource:
    def __init__(self, raw):
        self.raw = raw

    @property
    def size(self):
        return len(self.raw)

    def read(self, offset, length):
        return self.raw[offset : offset + length]

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


async def clean(path, source, siblings):
    del path, source, siblings
    return FileResult(verdict=Verdict.CLEAN)


async def by_content(path, source, siblings):
    """Call a file what its bytes say: the word of a verdict."""
    del siblings
    word = source.read(0, 100)
    if word == b"crash":
        raise RuntimeError("scanner broke")
    if word == b"evil":
        found = Detection(
            rule_id="TW-PROV-HASH-MISMATCH",
            description="evil",
            evidence={},
            locator=f"{path}@0",
            severity=Severity.CRITICAL,
        )
        return FileResult(verdict=Verdict.MALICIOUS, detections=(found,))
    if word == b"unread":
        found = Detection(
            rule_id="TW-PICKLE-UNLISTED-CLASS",
            description="unread",
            evidence={"file": path},
            locator=f"{path}@0",
        )
        return FileResult(
            verdict=Verdict.UNSUPPORTED, detections=(found,), reasons=unread_reasons((found,))
        )
    if word == b"half":
        return FileResult(verdict=Verdict.INCOMPLETE, reasons=("too deep",))
    return FileResult(verdict=Verdict.CLEAN)


class MemoryFetch:
    """Files by URI; `lost` of them can't be had, the first `failures` tries fail."""

    def __init__(self, files, *, listing=(), failures=0, published=False):
        self.files = files
        self.published = published
        self.files_listed = listing
        self.failures = failures
        self.opened = []

    def open(self, uri):
        self.opened.append(uri)
        if self.failures > 0:
            self.failures -= 1
            raise FetchError("no answer", where=uri)
        if uri not in self.files:
            raise FetchError("absent", where=uri)
        return MemorySource(self.files[uri])

    def listing(self, uri):
        if self.failures > 0:
            self.failures -= 1
            raise FetchError("no answer", where=uri)
        return self.files_listed

    def is_published(self, uri):
        del uri
        return self.published


def failing_fetch(failures, raw):
    return MemoryFetch({"file:///models/m.gguf": raw}, failures=failures)
