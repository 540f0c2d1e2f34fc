"""Names the content that a scan fetched and read, by which its assessment can be looked up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agents.checks.artifacts.formats.names import is_passive
from agents.checks.provenance.file_checks import plain_path, sha256_of
from agents.checks.provenance.planning import listing_uri
from agents.checks.provenance.subject import PushSubject
from schemas.components import component_key, digest_of_files

MANIFEST: Final = "oci:sha256:"
"""A manifest, by its digest, whose layers were all read. The prefix keeps it apart from the same
bytes as a model's file: a scan of such a file must not count as one of the image.
"""
MAX_CONTENTS: Final = 256
"""Names of one assessment; the whole comes before its files, weights and code before the rest."""


def contents_of(
    listing: str | None, subject: PushSubject, computed: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the names of the fetched and read content.

    Args:
        listing: The pinned location that was listed; None if the event named the files.
        subject: The push.
        computed: By path, the SHA-256 that was computed from the bytes.
    """
    found: list[str] = []
    named = {plain_path(file.path): sha256_of(file.digests) for file in subject.push.files}
    # a version of MLflow may be overwritten
    pinned = listing is not None and listing.startswith(("hf://", "oci://"))
    if listing is not None and pinned and listing == listing_uri(subject.event):
        found.append(listing)
        if subject.pinned is not None and named and named == dict(computed):
            # the manifest and everything it names were read by digest: a fetch by that digest gets
            # the same
            found.append(f"{MANIFEST}{subject.pinned}")
    paths = subject.digests or computed
    if len(computed) > 1 and subject.pinned is None and computed.keys() >= set(paths):
        found.append(component_key("tree", digest_of_files(computed)))
    files = sorted(computed.items(), key=lambda item: (is_passive(item[0]), item[0]))
    found += [component_key("sha256", digest) for _, digest in files]
    return tuple(dict.fromkeys(found))[:MAX_CONTENTS]
