"""Small agents that the engine's tests run in worker processes of their own."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import orjson  # noqa: E402

from agents.messages import refusal_message  # noqa: E402
from agents.ports import Batch, Message, Publish, Record, Rows  # noqa: E402
from schemas import dead_letters as reasons  # noqa: E402
from schemas.channels import Channel  # noqa: E402
from schemas.errors import TidewatchError, UnreadableRecordError  # noqa: E402
from streams.apps import supervisor  # noqa: E402
from streams.apps.topology import FACTORIES, AppParts  # noqa: E402
from streams.engine import app as engine_app  # noqa: E402
from streams.engine.binding import Binding  # noqa: E402
from streams.engine.reference_topics import ReferenceTopic  # noqa: E402
from streams.kafka.topics import TopicOrigin, ensure_topics  # noqa: E402
from streams.parent import end_with_parent  # noqa: E402
from streams.settings import Settings, load_settings  # noqa: E402
from tests.streams.engine.channels import CHANNELS  # noqa: E402

for module in (supervisor, engine_app):
    # they make and check the topics of all channels by default
    module.ensure_topics = partial(ensure_topics, channels=CHANNELS)  # type: ignore[assignment]


def decode(record: Record, origin: TopicOrigin) -> Any:
    """Read JSON objects; ticks pass too."""
    if record.value is None:
        raise UnreadableRecordError(reasons.NULL_VALUE, "no value")
    try:
        body = orjson.loads(record.value)
    except ValueError as error:
        raise UnreadableRecordError(reasons.INVALID_JSON, str(error)) from error
    if origin.tenant is not None and body.get("tenant") != origin.tenant:
        raise UnreadableRecordError(reasons.TENANT_MISMATCH, "not the topic's tenant")
    return body


def _output(body: dict[str, Any], size: int = 0) -> Message:
    fill = random.Random(size).randbytes(size // 2).hex()  # nothing that compresses away
    value = orjson.dumps({"id": body["id"], "fill": fill})
    return Message(channel=Channel.IOCS, key=str(body["id"]), value=value, tenant="acme")


async def collect(batch: Batch[Any], publish: Publish, rows: Rows) -> None:
    """Keep the set of ids by key, and publish every event."""
    for delivery in batch.deliveries:
        body = delivery.value
        if body.get("type") == "tick":
            publish(_output({"id": f"tick-{body['partition']}"}))
            continue
        key = (delivery.record.key or b"none").decode()
        old = rows.get(key)
        ids = set(orjson.loads(old)) if old else set()
        rows.put(key, orjson.dumps(sorted(ids | {body["id"]})))
        publish(_output(body, body.get("size", 0)))


async def copy(batch: Batch[Any], publish: Publish) -> None:
    """Publish every event."""
    for delivery in batch.deliveries:
        publish(_output(delivery.value))


async def fan(batch: Batch[Any], publish: Publish, rows: Rows) -> None:
    """Publish as many messages for an event as it says, then one; count how often it was taken."""
    for delivery in batch.deliveries:
        body = delivery.value
        if body.get("type") == "tick":
            continue
        key = f"taken-{body['id']}"
        rows.put(key, orjson.dumps(int(rows.get(key) or b"0") + 1))
        value = b"x" * body.get("size", 1)
        for number in range(body.get("fan", 0)):
            publish(Message(channel=Channel.ASSESSMENTS, key=str(number % 50), value=value))
        publish(_output(body))


noted: set[Any] = set()


async def once(batch: Batch[Any], publish: Publish) -> None:
    """Publish an id once, as far as this process remembers; hang where an event says so, once."""
    for delivery in batch.deliveries:
        body = delivery.value
        if body["id"] not in noted:
            noted.add(body["id"])
            publish.on_abandoned(partial(noted.discard, body["id"]))
            publish(_output(body))
        if body.get("hang") and "hung" not in noted:
            noted.add("hung")
            await asyncio.Event().wait()


async def refuse(batch: Batch[Any], publish: Publish) -> None:
    """Refuse what says so."""
    for delivery in batch.deliveries:
        if delivery.value.get("refuse"):
            publish.refuse(delivery.record, reasons.CHECK_FAILED, "as it says")
        else:
            publish(_output(delivery.value))


async def hang(batch: Batch[Any], publish: Publish) -> None:
    """Never return for an event that says so."""
    for delivery in batch.deliveries:
        if delivery.value.get("hang"):
            await asyncio.Event().wait()
        publish(_output(delivery.value))


async def block(batch: Batch[Any], publish: Publish) -> None:
    """Hold the event loop itself for the seconds an event says."""
    for delivery in batch.deliveries:
        time.sleep(delivery.value.get("block", 0))  # noqa: ASYNC251 -- what is tested
        publish(_output(delivery.value))


async def work_long(batch: Batch[Any], publish: Publish) -> None:
    """Work for the seconds an event says, as a scan does."""
    for delivery in batch.deliveries:
        await asyncio.sleep(delivery.value.get("work", 0))
        publish(_output(delivery.value))


async def fail(batch: Batch[Any], publish: Publish) -> None:
    """Raise what nobody expected."""
    del publish
    raise ZeroDivisionError(len(batch.deliveries))


def _app(
    name: str,
    agent: Any,
    channels: tuple[Channel, ...] = (Channel.OBSERVATIONS,),
    **options: Any,
) -> None:
    def parts(settings: Settings) -> AppParts:
        del settings
        return AppParts(
            bindings=[
                Binding(
                    name=name,
                    channels=channels,
                    agent=agent,
                    decode=decode,
                    **options,
                )
            ]
        )

    globals()[f"{name}_parts"] = parts
    FACTORIES[name] = f"{__name__}:{name}_parts"


def join_parts(settings: Settings) -> AppParts:
    """Two channels in one binding, with a reference topic read whole before."""
    del settings
    known: dict[str, bytes] = {}

    def feed(key: str, value: bytes | None) -> None:
        if value is None:
            known.pop(key, None)
        else:
            known[key] = value

    async def join(batch: Batch[Any], publish: Publish, rows: Rows) -> None:
        for delivery in batch.deliveries:
            key = (delivery.record.key or b"").decode()
            rows.put(f"{key}|{batch.topic.rsplit('.', 1)[1]}", b"1")  # type: ignore[attr-defined]
            both = len(list(rows.scan(f"{key}|", limit=10)))
            publish(_output({"id": f"{delivery.value['id']}/{both}/{key in known}"}))

    return AppParts(
        bindings=[
            Binding(
                name="join",
                channels=(Channel.OBSERVATIONS, Channel.INTEL),
                agent=join,
                decode=decode,
                rows=True,
            )
        ],
        references=[ReferenceTopic(Channel.INTEL, feed)],
    )


_app("collect", collect, rows=True)
_app("copy", copy, channels=(Channel.OBSERVATIONS, Channel.PACKAGE_INSTALL))
_app("fan", fan, rows=True)
_app("once", once)
_app("refuse", refuse, refused=refusal_message)
_app("hang", hang)
_app("block", block)
_app("long", work_long, slow=True)
_app("fail", fail)
FACTORIES["join"] = f"{__name__}:join_parts"


def work(apps: str, options: dict[str, Any]) -> int:
    """Run apps until they are asked to stop; return the exit code."""
    try:
        return supervisor.run_worker(apps.split(","), load_settings(**options))
    except TidewatchError as problem:
        sys.stderr.write(problem.explain())
        return problem.exit_code


def fork(request: dict[str, Any]) -> int:
    """Return the process id of a new process that runs what is asked for."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        end_with_parent(parent)
        with Path(request["log"]).open("ab") as log, Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        code = work(request["apps"], request["options"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int | None:
    """Return the exit code of a fork, or None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


if __name__ == "__main__":
    gc.freeze()  # the forks share these pages
    for line in sys.stdin.buffer:
        asked = orjson.loads(line)
        answer = ended(asked["ended"]) if "ended" in asked else fork(asked)
        sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
        sys.stdout.buffer.flush()
