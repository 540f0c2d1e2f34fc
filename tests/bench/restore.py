"""How long a partition is away when its disk is lost: `python -m tests.bench.restore`.

The ledger's rows for the workload of `tests.bench.scale` are written to a changelog on a real
broker. They are restored by the engine's own recovery. Beside it, a trial of what a snapshot would
save: a checkpoint of the same store is copied with its digests taken, copied back with its digests
checked, and opened. The trial's copies stay on one disk, so they leave out a network.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from rocksdict import Checkpoint

from streams.broker import EmbeddedBroker
from streams.broker.paths import jars_dir
from streams.engine.tables import PartitionStore, RowStore, _apply, _options
from tests.bench.scale import CHUNK, Ledger, Partition, Size, sightings

CHANGELOG = "ledger-changelog"
COPY_BYTES = 1024 * 1024
MIB = 2**20


class Taken(NamedTuple):
    """What one step took."""

    seconds: float
    cpu: float
    """Processor time of this process, its background threads included."""


class _Restored:
    """What the engine's recovery needs of a table: its open partitions."""

    def __init__(self, store: PartitionStore) -> None:
        self.partitions = {0: store}


class _Recorded(Partition):
    """A partition that keeps what its changelog would get."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.records: list[tuple[bytes, bytes | None]] = []
        settle = self.rows.settle

        def recorded(upto: int, changes: dict[bytes, bytes | None], offset: int) -> None:
            self.records.extend(changes.items())
            settle(upto, changes, offset)

        self.rows.settle = recorded  # type: ignore[assignment,method-assign]  # observed


def timed(work: Callable[[], object]) -> Taken:
    """Return what `work` takes."""
    began, cpu = time.monotonic(), time.process_time()
    work()
    return Taken(time.monotonic() - began, time.process_time() - cpu)


def copy_checked(source: Path, target: Path) -> dict[str, str]:
    """Copy a folder's files; return the SHA-256 digest of each."""
    target.mkdir()
    digests = {}
    for path in sorted(source.iterdir()):
        digest = hashlib.sha256()
        with path.open("rb") as reading, (target / path.name).open("wb") as writing:
            while block := reading.read(COPY_BYTES):
                digest.update(block)
                writing.write(block)
            writing.flush()
            os.fsync(writing.fileno())
        digests[path.name] = digest.hexdigest()
    return digests


def fill(size: Size, folder: Path) -> _Recorded:
    """Have the ledger take the sightings in one partition."""
    ledger = Ledger(folder, 1)
    ledger.partitions[0].store.close()
    place = _Recorded(folder / "recorded")
    ledger.partitions = [place]
    for _, value in sightings(size, random.Random(7)):
        place.waiting.append(value)
        if len(place.waiting) >= CHUNK:
            ledger.take(place, place.waiting)
            place.waiting = []
    ledger.take(place, place.waiting)
    ledger.pass_on()
    return place


async def write_changelog(bootstrap: str, records: list[tuple[bytes, bytes | None]]) -> None:
    """Write the changes to the changelog, compressed as the engine does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(CHANGELOG, 1, 1)])
    await admin.close()
    async with aiokafka.AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type="zstd", max_batch_size=256 * 1024, linger_ms=2
    ) as producer:
        for start in range(0, len(records), 10_000):
            sent = [
                await producer.send(CHANGELOG, value, key, partition=0)
                for key, value in records[start : start + 10_000]
            ]
            await asyncio.gather(*sent)


async def restore(bootstrap: str, store: PartitionStore) -> Taken:
    """Restore the partition from its changelog into an empty store."""
    began, cpu = time.monotonic(), time.process_time()
    tp = aiokafka.TopicPartition(CHANGELOG, 0)
    async with aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    ) as client:
        client.assign([tp])
        await client.seek_to_beginning(tp)
        ends = await client.end_offsets([tp])
        await _apply(client, cast("RowStore", _Restored(store)), ends)
    return Taken(time.monotonic() - began, time.process_time() - cpu)


def same_rows(one: PartitionStore, other: PartitionStore) -> bool:
    """Return whether two stores hold the same rows."""
    return all(a == b for a, b in zip(one.scan(b""), other.scan(b""), strict=True))


def run(bootstrap: str, size: Size, folder: Path) -> None:
    """Fill, lose and restore a partition; print what each way takes.

    Raises:
        RuntimeError: A way did not bring back the same rows.
    """
    place = fill(size, folder)
    records = len(place.records)
    logical = sum(len(key) + len(value or b"") for key, value in place.records)
    asyncio.run(write_changelog(bootstrap, place.records))
    place.records.clear()
    empty = PartitionStore(folder / "from-changelog", _options())
    replayed = asyncio.run(restore(bootstrap, empty))

    checkpoint = timed(lambda: Checkpoint(place.store._db).create_checkpoint(str(folder / "cp")))
    kept: list[dict[str, str]] = []
    out = timed(lambda: kept.append(copy_checked(folder / "cp", folder / "kept")))
    back = timed(lambda: kept.append(copy_checked(folder / "kept", folder / "back")))
    opened: list[PartitionStore] = []
    opening = timed(lambda: opened.append(PartitionStore(folder / "back", _options())))
    for way, found in (("changelog", empty), ("snapshot", opened[0])):
        if not same_rows(place.store, found):
            raise RuntimeError(f"the rows from the {way} differ")
    if kept[0] != kept[1]:
        raise RuntimeError("the digests of the copies differ")
    held = sum(path.stat().st_size for path in (folder / "kept").iterdir())
    for store in (empty, opened[0], place.store):
        store.close()
    print(f"{size.sightings:,} sightings: {records:,} changelog records, {logical / MIB:,.0f} MiB")
    print(
        f"from the changelog: {replayed.seconds:.1f} s, {replayed.cpu:.1f} s of processor time; "
        f"{records / replayed.seconds:,.0f} records/s, {logical / MIB / replayed.seconds:,.1f} "
        f"MiB/s; {records / replayed.cpu:,.0f} records for each second of processor time"
    )
    print(
        f"as a snapshot of {held / MIB:,.0f} MiB: checkpoint {checkpoint.seconds:.2f} s, kept "
        f"{out.seconds:.2f} s, brought back {back.seconds:.2f} s, opened {opening.seconds:.2f} s"
    )
    print(f"the same rows both ways; load average {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Run the trial."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.restore", description=__doc__)
    parser.add_argument("--bootstrap", help="a Kafka of your own")
    parser.add_argument("--sightings", type=int, default=200_000)
    parser.add_argument("--components", type=int, default=50_000)
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, help="where the state goes; a temporary one if none")
    args = parser.parse_args()
    size = Size(args.sightings, args.components, args.tenants, 1)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        if args.bootstrap:
            run(args.bootstrap, size, folder)
            return
        with EmbeddedBroker(folder / "broker", jars=jars_dir()) as broker:
            run(broker.bootstrap, size, folder)


if __name__ == "__main__":
    main()
