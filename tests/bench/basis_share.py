"""Counts what the basis adds to the ledger's rows: rows of its own, and bytes of the others.

`python -m tests.bench.basis_share`: the workload of `tests.bench.scale`, each install told of under
its name and under its digest, as the checks do, and a fact for every thousandth component. Each row
that results is encoded again without the fields that say how something is known.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from agents.triage.ledger.rows import (
    ADVICE,
    CHILD,
    CLAIMS,
    COMPONENT,
    SYSTEM,
    ChildRow,
    ComponentRow,
    Edge,
    Holding,
    Mark,
    SystemRow,
)
from agents.triage.store import SEPARATOR
from schemas.observations import Sighting
from streams.engine.tables import PartitionStore, _options
from tests.bench.scale import CHUNK, Ledger, Size, _on_disk, component, fact_on, sightings

BASIS = {
    Holding: frozenset({"verified"}),
    SystemRow: frozenset({"appended"}),
    ComponentRow: frozenset({"claims", "introducer", "popular", "owners"}),
    Mark: frozenset({"tenant", "advice", "basis", "found", "appended", "undigested"}),
    Edge: frozenset({"appended", "verified", "role", "digest"}),
}
"""The fields of a row's parts that are there for the basis."""
ROWS: dict[str, type[msgspec.Struct]] = {
    COMPONENT: ComponentRow,
    SYSTEM: SystemRow,
    CHILD: ChildRow,
}
OF_BASIS = (CLAIMS, ADVICE)
"""Kinds of row that are there for the basis alone."""
MIB = 2**20


def without_basis(row: Any) -> Any:
    """Return a row as plain values, without the fields of the basis."""
    if isinstance(row, msgspec.Struct):
        left_out: frozenset[str] = BASIS.get(type(row), frozenset())
        return [
            without_basis(getattr(row, name))
            for name in row.__struct_fields__
            if name not in left_out
        ]
    if isinstance(row, dict):
        return {key: without_basis(value) for key, value in row.items()}
    if isinstance(row, list | tuple):
        return [without_basis(value) for value in row]
    return row


def _under_its_digest(seen: Sighting) -> Sighting:
    return msgspec.structs.replace(seen, component=f"sha256:{seen.digest}", name=seen.component)


def run(size: Size, folder: Path) -> None:
    """Fill the ledger and print what its rows hold."""
    ledger = Ledger(folder, size.partitions)
    for number in range(0, size.components, 1000):
        ledger.learn(fact_on(component(number), number))
    for number, (_, value) in enumerate(sightings(size, random.Random(7))):
        at = (number, "supplychain.package-install", number % 8, number // 8)
        seen = msgspec.structs.replace(msgspec.json.decode(value, type=Sighting), appended=at)
        for sighting in (seen, _under_its_digest(seen)):
            place = ledger.place(sighting.component)
            place.waiting.append(msgspec.json.encode(sighting))
            if len(place.waiting) >= CHUNK:
                ledger.take(place, place.waiting)
                place.waiting = []
        if number % 10_000 == 0:
            ledger.pass_on()
    for partition in ledger.partitions:
        ledger.take(partition, partition.waiting)
    ledger.pass_on()
    _report(ledger, 2 * size.sightings, folder)


def _report(ledger: Ledger, taken: int, folder: Path) -> None:
    rows, every, added = 0, 0, 0
    own_rows, own_bytes = 0, 0
    stores = [PartitionStore(folder / name, _options()) for name in ("with", "without")]
    for partition in ledger.partitions:
        for raw_key, value in partition.store.scan(b""):
            key = raw_key.decode()
            kind = key.partition(SEPARATOR)[0]
            rows, every = rows + 1, every + len(raw_key) + len(value)
            stripped: bytes | None = value
            if kind in OF_BASIS:
                own_rows, own_bytes = own_rows + 1, own_bytes + len(raw_key) + len(value)
                stripped = None
            elif kind in ROWS:
                row = msgspec.msgpack.decode(value, type=ROWS[kind])
                stripped = msgspec.msgpack.encode(without_basis(row))
                added += len(value) - len(stripped)
            stores[0].write([(raw_key, value)], rows)
            if stripped is not None:
                stores[1].write([(raw_key, stripped)], rows)
    for store in stores:
        store.close()
    whole, bare = (_on_disk(store.path) for store in stores)
    print(f"{taken:,} sightings: {rows:,} rows of {every / MIB:,.1f} MiB before compression")
    print(f"rows of the basis alone: {own_rows:,}, {own_bytes / MIB:,.2f} MiB")
    print(f"its fields in the other rows: {added / MIB:,.1f} MiB")
    for what, share, of in (
        ("before compression", added + own_bytes, every),
        ("on disk", whole - bare, whole),
    ):
        print(
            f"{what}: {share / taken:.1f} bytes a sighting, {100 * share / of:.1f} %; "
            f"at ten million {share / taken * 10_000_000 / MIB:,.0f} MiB"
        )


def main() -> None:
    """Run the count."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.basis_share", description=__doc__)
    parser.add_argument("--sightings", type=int, default=500_000)
    parser.add_argument("--components", type=int, default=50_000)
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--partitions", type=int, default=4)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Size(args.sightings, args.components, args.tenants, args.partitions), Path(folder))


if __name__ == "__main__":
    main()
