"""Bound versions: the digest of an immutable version of a public name, for every holder."""

from __future__ import annotations

from agents.domain.component_keys import names_content
from agents.triage.bounded_sets import clip
from agents.triage.ledger import intelligence
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.rows import BOUND, BOUND_DIGESTS, DIGEST_KEYS, TEXT_BYTES, BoundRow
from agents.triage.store import row_key
from schemas.observations import Sighting


def is_of_all(name: str, version: str | None) -> bool:
    """Return whether a version of a name is immutable and means the same to every tenant."""
    return names_content(version) and not name.partition(":")[2].startswith("@")


def note_bound_version(batch: LedgerBatch, seen: Sighting) -> None:
    """Bind a name's version to its digest; withdraw findings made before the binding was known.

    A holding that names only the version has that digest: a fact that lists the version for another
    digest is not about it.

    Args:
        batch: The batch.
        seen: A sighting of the bound name; sightings of digests are ignored.
    """
    if (
        seen.digest is None
        or seen.version is None
        or seen.component.startswith(DIGEST_KEYS)
        or not is_of_all(seen.component, seen.version)
    ):
        return
    version = clip(seen.version, TEXT_BYTES)
    key = row_key(BOUND, seen.component, version)
    row = batch.store.load(key, BoundRow) or BoundRow()
    if seen.digest in row.digests or len(row.digests) > BOUND_DIGESTS:
        return
    row.digests = sorted([*row.digests, clip(seen.digest, TEXT_BYTES)])
    batch.store.save(key, row)
    intelligence.on_bound(batch, seen.component, version)
