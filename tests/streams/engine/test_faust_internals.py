"""Fails when a part of Faust or aiokafka that the engine leans on is no longer what it was."""

from __future__ import annotations

import inspect
from typing import Any

import aiokafka
import faust
from aiokafka.consumer import fetcher
from aiokafka.consumer.subscription_state import SubscriptionState
from faust.app.base import App
from faust.stores import STORES
from faust.stores.base import Store
from faust.tables.manager import TableManager
from faust.transport.consumer import Consumer
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver

from streams.engine import tables, transport
from tests.each import each


def test_the_versions_are_those_the_transport_was_written_for() -> None:
    assert faust.__version__ == transport.FAUST_VERSION
    assert aiokafka.__version__.startswith("0.14.")


@each(
    ("owner", "name", "parameters"),
    [
        (Consumer, "_drain_messages", "self, fetcher"),
        (Consumer, "ack", "self, message"),
        (Consumer, "_filter_tps_with_pending_acks", "self, topics"),
        (Consumer, "_new_offset", "self, tp"),
        (Consumer, "_should_commit", "self, tp, offset"),
        (Consumer, "_add_gap", "self, tp, offset_from, offset_to"),
        (Consumer, "_commit_offsets", "self, offsets, start_new_transaction"),
        (Consumer, "_commit_tps", "self, tps, start_new_transaction"),
        (Consumer, "perform_seek", "self"),
        (Consumer, "wait_empty", "self"),
        (Consumer, "on_partitions_revoked", "self, revoked"),
        (Consumer, "stop_flow", "self"),
        (Consumer, "resume_flow", "self"),
        (driver.Consumer, "_new_consumer_thread", "self"),
        (driver.AIOKafkaConsumerThread, "_create_worker_consumer", "self, transport"),
        (driver.AIOKafkaConsumerThread, "on_start", "self"),
        (driver.AIOKafkaConsumerThread, "_ensure_consumer", "self"),
        (driver.AIOKafkaConsumerThread, "verify_event_path", "self, now, tp"),
        (Consumer, "verify_all_partitions_active", "self"),
        (driver.Producer, "_settings_auth", "self"),
        (driver.Producer, "_settings_extra", "self"),
        (driver.Producer, "_ensure_producer", "self"),
        (TableManager, "on_partitions_revoked", "self, revoked"),
        (
            TableManager,
            "on_rebalance",
            "self, assigned, revoked, newly_assigned, generation_id",
        ),
        (Store, "persisted_offset", "self, tp"),
        (App, "_stop_consumer", "self"),
        (App, "_on_partitions_revoked", "self, revoked"),
        (App, "_on_partitions_assigned", "self, assigned, generation_id"),
        (App, "_consumer_wait_empty", "self, consumer, logger"),
        (fetcher.Fetcher, "_proc_fetch_request", "self, assignment, node_id, request"),
        (fetcher.Fetcher, "_proc_offset_request", "self, node_id, topic_data"),
        (fetcher.FetchResult, "check_assignment", "self, tp"),
        (fetcher.FetchResult, "_update_position", "self"),
        (fetcher.FetchError, "check_raise", "self"),
    ],
)
def test_overridden_parts_keep_their_parameters(owner: Any, name: str, parameters: str) -> None:
    assert ", ".join(inspect.signature(getattr(owner, name)).parameters) == parameters


def test_the_commits_of_an_interval_are_a_task_as_faust_has_it() -> None:
    ours, fausts = transport.Consumer._commit_handler, Consumer._commit_handler
    assert type(ours) is type(fausts)
    text = inspect.getsource(fausts.fun)
    assert "await self.commit()" in text
    assert "self.itertimer(interval" in text
    detector = inspect.getsource(Consumer._commit_livelock_detector.fun)
    assert "await self.verify_all_partitions_active()" in detector


@each(
    ("owner", "name", "text"),
    [
        (Consumer, "on_stop", "await self.wait_empty()"),
        (Consumer, "_commit_tps", "self._filter_committable_offsets(tps)"),
        (fetcher.Fetcher, "_get_actions_per_node", "self._fetch_max_wait_ms,"),
        (App, "_stop_consumer", "await self._consumer_wait_empty(consumer, self.log)"),
        (App, "_on_partitions_revoked", "_consumer_wait_empty)(consumer, on_timeout)"),
        (App, "_consumer_wait_empty", "wait_empty"),
        (App, "_on_partitions_assigned", "self.tables.on_rebalance"),
        (fetcher.Fetcher, "_fetch_requests_routine", "self._proc_fetch_request("),
        (fetcher.Fetcher, "_get_actions_per_node", "if tp in self._records"),
        (
            fetcher.Fetcher,
            "_proc_fetch_request",
            "tp_state.await_reset(self._default_reset_strategy)",
        ),
        (
            fetcher.Fetcher,
            "_update_fetch_positions",
            "offsets = await self._proc_offset_request(node_id, topic_data)",
        ),
        (fetcher.FetchResult, "getall", "for msg in self._partition_records"),
        (fetcher.FetchResult, "_update_position", "self._partition_records.next_fetch_offset"),
        (fetcher.Fetcher, "_proc_fetch_request", "records = MemoryRecords(part_data[-1])"),
        (fetcher.PartitionRecords, "_unpack_records", "for record in next_batch:"),
        (SubscriptionState, "fetch_context", "self._fetch_count += 1"),
        (fetcher.Fetcher, "__init__", "self._records = collections.OrderedDict()"),
        (driver.AIOKafkaConsumerThread, "_create_worker_consumer", "consumer_group_instance_id"),
    ],
)
def test_relied_on_source_is_unchanged(owner: Any, name: str, text: str) -> None:
    assert text in inspect.getsource(getattr(owner, name))


def test_the_transport_and_the_store_are_found_by_their_schemes() -> None:
    assert TRANSPORTS.by_url(f"{transport.SCHEME}://host:9092") is transport.Transport
    assert STORES.by_url(f"{tables.STORE_SCHEME}:") is tables.RowStore
