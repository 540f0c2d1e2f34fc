"""Faust tables of small raw rows on rocksdict, recovered in bulk from their changelog.

A table keeps one store per partition. The runner sends changes to the changelog first; only
delivered changes are written here, together with the changelog offset, in one atomic batch. So a
store is never ahead of its changelog; the changes it lacks are read from the changelog whenever its
partition is assigned.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import aiokafka
from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBatch

from agents.logs import Logger
from schemas.errors import TidewatchError
from streams import metrics
from streams.engine.crash import crash
from streams.engine.faust_parts import STORES, TP, Table, TableManager
from streams.engine.faust_parts import stores as faust_stores
from streams.kafka.awaiting import until_answered
from streams.kafka.client import client_options
from streams.kafka.topics import DAY_MS, TOMBSTONE_DAYS
from streams.private_files import private_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

log = Logger()

STORE_SCHEME = "tidewatch-rows"
BLOCK_CACHE_BYTES = 256 * 1024 * 1024
"""Shared by all stores of the process, index and filter blocks included."""
WRITE_BUFFER_BYTES = 16 * 1024 * 1024
"""Write buffer of each store, at most two at once."""
OPEN_FILES = 64
"""Table files each store keeps open."""
LOCK_SECONDS = 5.0
"""How long to wait for a terminating predecessor to release a store."""
RECOVERY_STALL_SECONDS = 60.0
"""How long recovery may read nothing before the process ends."""
STALE_MS = (TOMBSTONE_DAYS - 1) * DAY_MS
"""A store last written before this may have missed tombstones the broker already dropped."""

_ROW = b"r"
_META = b"m"
_OFFSET = _META + b"offset"

STORES.aliases.setdefault(STORE_SCHEME, "streams.engine.tables:RowStore")


class StoreLockedError(TidewatchError):
    """The state folder is in use by another process."""

    def __init__(self, path: Path) -> None:
        """Name the folder."""
        super().__init__(
            "the state folder is in use by another process",
            where=str(path),
            remedy="stop that worker, or give this one its own TIDEWATCH_INSTANCE",
        )


class DiskFullError(TidewatchError):
    """The state folder's disk is full; unwritten rows are in the changelog."""

    def __init__(self, path: Path) -> None:
        """Name the folder."""
        super().__init__(
            "the disk is full",
            where=str(path),
            remedy="free space and start again; nothing is lost",
        )


class PartitionStore:
    """The rows of one partition on disk, with the changelog offset they are at."""

    def __init__(self, path: Path, options: Options) -> None:
        """Open or create the store in folder `path`."""
        self.path = path
        private_folder(path.parent)
        self._db = Rdict(str(path), options)
        self.next_offset: int | None = None
        """The changelog offset that this worker's next change gets, if nobody else writes."""

    def get(self, key: bytes) -> bytes | None:
        """Return a row, or None."""
        value: bytes | None = self._db.get(_ROW + key)
        return value

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows whose key starts with `prefix` and is behind `after`, in key order."""
        start = _ROW + prefix
        for found, value in self._db.items(from_key=max(start, _ROW + after)):
            key = cast("bytes", found)
            if not key.startswith(start):
                return
            if key[1:] > after:
                yield key[1:], value

    def write(self, changes: Iterable[tuple[bytes, bytes | None]], offset: int) -> None:
        """Write rows and the changelog's applied `offset` (inclusive) atomically.

        Raises:
            DiskFullError: There is no room.
        """
        batch = WriteBatch(raw_mode=True)
        for key, value in changes:
            if value is None:
                batch.delete(_ROW + key)
            else:
                batch.put(_ROW + key, value)
        batch.put(_OFFSET, f"{offset} {int(time.time() * 1000)}".encode())
        try:
            self._db.write(batch)
        except Exception as error:  # rocksdict raises bare Exception
            if _no_room(error):
                raise DiskFullError(self.path) from error
            raise

    def position(self) -> tuple[int, int] | None:
        """Return the last applied changelog offset and when it was written (ms), if any."""
        raw = self._db.get(_OFFSET)
        if raw is None:
            return None
        offset, written = raw.split()
        return int(offset), int(written)

    def close(self) -> None:
        """Flush and release the folder; rows that can't be flushed are in the changelog."""
        try:
            self._db.close()
        except Exception as error:  # noqa: BLE001 -- rocksdict raises bare Exception
            log.warning("store-not-flushed", path=str(self.path), error=str(error))


class RowStore(faust_stores.Store):  # type: ignore[type-arg]  # generic for mypy only
    """Faust's store driver: the partition stores of one table."""

    app: Any
    mundane_level = "debug"

    def __post_init__(self) -> None:
        """Start with no partition open."""
        self.partitions: dict[int, PartitionStore] = {}
        self.data: dict[Any, Any] = {}
        # Faust's mapping of a store: empty, since rows are reached by partition only.

    @property
    def folder(self) -> Path:
        """Where this table's partitions are kept."""
        return Path(self.app.conf.tabledir) / str(self.table_name)

    def keep_only(self, partitions: set[int]) -> None:
        """Close the stores of partitions that are not among `partitions`."""
        for number in set(self.partitions) - partitions:
            self.partitions.pop(number).close()

    async def open(self, partition: int) -> PartitionStore:
        """Return the store of `partition`; an unreadable store is deleted and rebuilt.

        Raises:
            StoreLockedError: Another process holds it.
        """
        if partition in self.partitions:
            return self.partitions[partition]
        path = self.folder / str(partition)
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                store = PartitionStore(path, _options())
                store.position()
            except Exception as error:  # rocksdict raises bare Exception
                text = str(error).lower()
                if "lock" in text:
                    if time.monotonic() < deadline:
                        await asyncio.sleep(0.1)
                        continue
                    raise StoreLockedError(path) from error
                if _no_room(error):
                    raise DiskFullError(path) from error
                if not path.exists():
                    raise
                self.discard(partition, "corrupt", detail=str(error))
                continue
            self.partitions[partition] = store
            return store

    def discard(self, partition: int, reason: str, **details: object) -> None:
        """Delete the store of `partition`; it is rebuilt from the changelog."""
        log.warning(
            "store-rebuilt", table=self.table_name, partition=partition, reason=reason, **details
        )
        metrics.STORES_REBUILT.labels(self.app.tidewatch_name, reason).inc()
        store = self.partitions.pop(partition, None)
        if store is not None:
            store.close()
        shutil.rmtree(self.folder / str(partition))

    def persisted_offset(self, tp: TP) -> int | None:
        """Return the changelog offset the store of `tp` is at."""
        store = self.partitions.get(tp.partition)
        position = store.position() if store else None
        return position[0] if position else None

    def reset_state(self) -> None:
        """Remove all local rows of this table."""
        self.keep_only(set())
        shutil.rmtree(self.folder, ignore_errors=True)

    def apply_changelog_batch(self, batch: Any, to_key: Any, to_value: Any) -> None:  # noqa: ANN401
        """Refuse: recovery is in bulk, by `Tables`.

        Raises:
            TypeError: Always.
        """
        del batch, to_key, to_value
        raise TypeError("rows are recovered by streams.engine.tables.Tables, not event by event")

    async def backup_partition(
        self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1
    ) -> None:
        """Do nothing: the changelog is the backup."""

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """Do nothing: the changelog is the backup."""

    async def on_stop(self) -> None:
        """Close all partitions."""
        self.keep_only(set())


class RowTable(Table):  # type: ignore[type-arg]  # generic for mypy only
    """A table of raw rows; written through `PartitionRows`, never as a mapping."""

    mundane_level = "debug"
    data: RowStore
    sources: frozenset[str] = frozenset()
    """The topics whose partitions this table follows."""

    async def on_start(self) -> None:
        """Start the store; `streams.kafka.topics` creates the changelog topic."""
        await self.add_runtime_dependency(self.data)


class Tables(TableManager):
    """Recovers tables in bulk, through a client of its own, whenever partitions are assigned.

    Faust's own recovery reads changelogs through the group's consumer, record by record: slow,
    and every later fetch includes the changelogs. This one reads them whole, at the speed of the
    disk, and then unsubscribes from them.
    """

    app: Any
    mundane_level = "debug"
    _task: asyncio.Task[None] | None = None

    @property
    def changelog_topics(self) -> set[str]:
        """None: the group's consumer does not subscribe to changelogs."""
        return set()

    async def on_start(self) -> None:
        """Start the tables; nothing waits for channels, as there are none."""
        self._tables_finalized.set()
        for table in self.values():
            await table.maybe_start()
        self._tables_registered.set()

    async def on_stop(self) -> None:
        """Stop recovery and close the stores."""
        self._cancel()
        for table in self.values():
            await table.stop()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop a running recovery: its partitions may be assigned to another worker next."""
        del revoked
        self._cancel()

    async def on_rebalance(
        self,
        assigned: set[TP],
        revoked: set[TP],
        newly_assigned: set[TP],
        generation_id: int = 0,
    ) -> None:
        """Recover the assigned partitions, then let records flow."""
        del revoked, newly_assigned
        self._recovery_started.set()
        self._tables_registered.set()
        self._cancel()
        metrics.REBALANCES.labels(self.app.tidewatch_name).inc()
        self._task = asyncio.create_task(self._recover_and_resume(set(assigned), generation_id))

    async def _recover_and_resume(self, assigned: set[TP], generation: int) -> None:
        app = self.app
        try:
            for table in self.values():
                partitions = {t.partition for t in assigned if t.topic in table.sources}
                # an unavailable broker may hold the only copy of a changelog's partition
                await until_answered(
                    partial(self._recover, table, partitions),
                    app.tidewatch_settings,
                    app.stop_requested,
                    limit_seconds=math.inf,
                )
            if app.stop_requested.is_set():
                return
        except asyncio.CancelledError:
            raise
        except TidewatchError as error:
            app.stop_with(error)
            return
        except Exception as error:  # noqa: BLE001 -- state that is not exact must not be used
            crash("recovery-failed", error)
        if app.consumer_generation_id != generation:
            return
        log.info("assigned", partitions=sorted(f"{t.topic}-{t.partition}" for t in assigned))
        await app.on_rebalance_complete.send()
        app.engine.open()
        app.flow_control.resume()
        app.consumer.resume_partitions(assigned)
        app.consumer.resume_flow()
        await app._fetcher.maybe_start()  # noqa: SLF001 -- pinned: as Faust's recovery does
        self.on_actives_ready()
        self.on_standbys_ready()
        app.on_rebalance_end()
        app.on_ready(assigned)

    async def _recover(self, table: RowTable, partitions: set[int]) -> None:
        store = table.data
        store.keep_only(partitions)
        if not partitions:
            return
        began = time.monotonic()
        topic = table.changelog_topic.get_topic_name()
        client = aiokafka.AIOKafkaConsumer(
            **client_options(self.app.tidewatch_settings),
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )
        await client.start()
        try:
            tps = {aiokafka.TopicPartition(topic, number): number for number in partitions}
            client.assign(list(tps))
            first = await client.beginning_offsets(list(tps))
            ends = await client.end_offsets(list(tps))
            behind: dict[aiokafka.TopicPartition, int] = {}
            for tp, number in tps.items():
                start = await self._start(store, number, first[tp], ends[tp])
                client.seek(tp, start)
                store.partitions[number].next_offset = ends[tp]
                if start < ends[tp]:
                    behind[tp] = ends[tp]
                else:
                    client.pause(tp)
            rows = await _apply(client, store, behind)
        finally:
            await client.stop()
        if rows:
            seconds = time.monotonic() - began
            log.info("recovered", table=table.name, records=rows, seconds=round(seconds, 2))
            metrics.RECOVERED_ROWS.labels(self.app.tidewatch_name).inc(rows)
            metrics.RECOVERY_SECONDS.labels(self.app.tidewatch_name).observe(seconds)

    @staticmethod
    async def _start(store: RowStore, partition: int, first: int, end: int) -> int:
        position = (await store.open(partition)).position()
        if position is None:
            return first
        offset, written = position
        if offset >= end:
            store.discard(partition, "ahead-of-changelog", offset=offset, end=end)
        elif offset + 1 < first:
            store.discard(partition, "changelog-truncated", offset=offset, first=first)
        elif time.time() * 1000 - written > STALE_MS and offset + 1 < end:
            store.discard(partition, "missed-tombstones", offset=offset)
        else:
            return offset + 1
        await store.open(partition)
        return first


async def _apply(
    client: aiokafka.AIOKafkaConsumer,
    store: RowStore,
    behind: Mapping[aiokafka.TopicPartition, int],
) -> int:
    remaining = dict(behind)
    rows = 0
    last = time.monotonic()
    while remaining:
        fetched = await client.getmany(timeout_ms=500)
        for tp, records in fetched.items():
            if not records:
                continue
            changes = {r.key: r.value for r in records if r.key is not None}
            store.partitions[tp.partition].write(changes.items(), records[-1].offset)
            rows += len(records)
            last = time.monotonic()
        for tp, end in list(remaining.items()):
            if await client.position(tp) >= end:
                del remaining[tp]
                client.pause(tp)
        if time.monotonic() - last > RECOVERY_STALL_SECONDS:
            stalled = sorted(str(tp) for tp in remaining)
            raise TimeoutError(f"no records received from changelogs: {', '.join(stalled)}")
    return rows


def _no_room(error: Exception) -> bool:
    return "no space left" in str(error).lower()


_block_cache: list[Cache] = []


def _options() -> Options:
    if not _block_cache:
        _block_cache.append(Cache(BLOCK_CACHE_BYTES))
    blocks = BlockBasedOptions()
    blocks.set_block_cache(_block_cache[0])
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
    blocks.set_bloom_filter(10, False)
    blocks.set_block_size(8 * 1024)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_open_files(OPEN_FILES)
    options.set_keep_log_file_num(2)
    options.set_max_background_jobs(2)
    return options
