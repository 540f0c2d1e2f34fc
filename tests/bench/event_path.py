"""What one event costs on its way to its documents: functions, calls, processor time by stage.

`python -m tests.bench.event_path`: each event passes checks, scan, ledger and incidents with rows
in memory, alone, until nothing follows from it; no broker, no engine. Caches are warm: the same
tenant sent like events before.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import io
import pickle
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import msgspec
import orjson

import agents
import schemas
from agents.checks.artifacts.dispatch import scan_source
from agents.domain.knowledge import MemoryKnowledge
from agents.fetching.fetch_scope import FetchRules, tenant_reach
from agents.fetching.fetcher import Fetcher
from agents.incidents import incidents_agent
from agents.ledger import ledger_agent
from agents.messages import StandardDocuments
from agents.package_install import package_install_agent
from agents.ports import Delivery, Message, Record
from agents.registry_push import registry_push_agent
from agents.scan import scan_agent
from schemas.channels import Channel
from schemas.cloudevents import read_event
from schemas.incidents.commands import CommandSpec, CommandView
from schemas.incidents.holds import HoldView
from schemas.incidents.updates import IncidentMessage
from schemas.incidents.views import AlertView, IncidentDocument
from schemas.ledger import LedgerMessage
from schemas.policy import Policy
from schemas.reading import record_reader
from schemas.scans import ScanRequest
from schemas.signing import SigningKey, new_signing_key
from tests.agents.triage.memory_rows import MemoryRows
from tests.bench.outbox import Outbox

START = datetime(2026, 11, 20, 8, tzinfo=UTC)
TENANT = "tenant-0"
HOST = "runner-0"
INDEX = "https://index.example/simple"
MAX_BYTES = 1 << 20
WARM = 20
"""Events of a kind that are not counted: they fill the caches."""
STAGES = ("checks", "scan", "ledger", "incidents")
PARTS = ("documents", "signing", "encoding")
"""What part of the stages' time goes into these."""
_CODECS = ("msgspec", "orjson")
_ROOMS = tuple(str(Path(room.__path__[0])) for room in (agents, schemas))
_READERS: dict[Channel, Callable[[bytes | None], Any]] = {
    Channel.SCAN_REQUESTS: record_reader(ScanRequest),
    Channel.OBSERVATIONS: record_reader(LedgerMessage),
    Channel.INCIDENT_UPDATES: record_reader(IncidentMessage),
}
_STAGE = {
    Channel.PACKAGE_INSTALL: "checks",
    Channel.REGISTRY_PUSH: "checks",
    Channel.SCAN_REQUESTS: "scan",
    Channel.OBSERVATIONS: "ledger",
    Channel.INCIDENT_UPDATES: "incidents",
}
_ORDER = tuple(_STAGE)
"""What waits at one stage is taken together, the first stages first."""
Input = tuple[Channel, bytes]


class Clock:
    """Adds up the processor time of the parts of a run, by name, seconds."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.spent: Counter[str] = Counter()

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        """Return what `work` returns, and note how long it took."""
        began = time.thread_time()
        try:
            return work()
        finally:
            self.spent[name] += time.thread_time() - began


class _TimedDocuments:
    """The standard documents, with the time that they take. Implements `Documents`."""

    def __init__(self, documents: StandardDocuments, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    def _timed(self, work: Callable[[], Iterable[Message]]) -> list[Message]:
        made: list[Message] = self._clock.timed("documents", lambda: list(work()))
        return made

    def alert(self, view: AlertView, at_ms: int) -> Iterable[Message]:
        return self._timed(lambda: self._documents.alert(view, at_ms))

    def incident(self, document: IncidentDocument, at_ms: int) -> Iterable[Message]:
        return self._timed(lambda: self._documents.incident(document, at_ms))

    def command(self, spec: CommandSpec, at_ms: int, *, proposal: bool) -> Iterable[Message]:
        return self._timed(lambda: self._documents.command(spec, at_ms, proposal=proposal))

    def hold(self, view: HoldView, at_ms: int) -> Iterable[Message]:
        return self._timed(lambda: self._documents.hold(view, at_ms))

    def audit(self, view: CommandView, at_ms: int) -> Iterable[Message]:
        return self._timed(lambda: self._documents.audit(view, at_ms))


_CLOCKS: dict[str, Clock] = {}


class _TimedKey(SigningKey, frozen=True, kw_only=True):
    def sign(self, headers: Any, value: bytes) -> tuple[str, bytes]:
        made: tuple[str, bytes] = _CLOCKS[self.kid].timed(
            "signing", lambda: SigningKey.sign(self, headers, value)
        )
        return made


class _Batch(msgspec.Struct):
    deliveries: list[Delivery[Any]]
    partition: int = 0


class Chain:
    """Checks, scan, ledger and incidents of one partition, as plain calls."""

    def __init__(self, policy: Policy) -> None:
        """Start with empty rows, for one tenant.

        Args:
            policy: The tenant's.
        """
        self.clock = Clock()
        knowledge = MemoryKnowledge()
        knowledge.set_policy(policy.tenant, policy)
        plain = new_signing_key(f"bench-{len(_CLOCKS)}")
        _CLOCKS[plain.kid] = self.clock
        documents = StandardDocuments(_TimedKey(kid=plain.kid, pem=plain.pem))
        ledger = ledger_agent()
        incidents = incidents_agent(knowledge, _TimedDocuments(documents, self.clock))
        rows = {"ledger": MemoryRows(), "incidents": MemoryRows()}

        async def scanned(path: str, source: Any, siblings: frozenset[str]) -> Any:
            return scan_source(path, source, siblings)

        self._agents: dict[Channel, Callable[[Any, Any], Any]] = {
            Channel.PACKAGE_INSTALL: package_install_agent(knowledge),
            Channel.REGISTRY_PUSH: registry_push_agent(knowledge),
            Channel.SCAN_REQUESTS: scan_agent(
                knowledge,
                lambda policy: Fetcher(tenant_reach(policy, FetchRules(), {})),
                scanned,
                lambda: 1 << 60,
            ),
            Channel.OBSERVATIONS: lambda batch, publish: ledger(batch, publish, rows["ledger"]),
            Channel.INCIDENT_UPDATES: lambda batch, publish: incidents(
                batch, publish, rows["incidents"]
            ),
        }
        self._loop = asyncio.new_event_loop()
        self._offset = 0
        self.records: Counter[Channel] = Counter()

    def close(self) -> None:
        """End the loop that agents run on."""
        self._loop.close()

    def take(self, *events: Input) -> None:
        """Take events that arrive together, and everything that follows from them."""
        waiting: dict[Channel, list[tuple[str, bytes]]] = {}
        for channel, value in events:
            waiting.setdefault(channel, []).append(("", value))
        while waiting:
            channel = min(waiting, key=_ORDER.index)
            outbox = Outbox()
            self.clock.timed(
                _STAGE[channel], partial(self._step, channel, waiting.pop(channel), outbox)
            )
            for message in outbox.messages:
                self.records[message.channel] += 1
                if message.channel in _READERS:
                    record = (message.key, message.value or b"")
                    waiting.setdefault(message.channel, []).append(record)

    def _step(self, channel: Channel, records: list[tuple[str, bytes]], outbox: Outbox) -> None:
        deliveries = [self._delivery(channel, key, value) for key, value in records]
        self._loop.run_until_complete(self._agents[channel](_Batch(deliveries), outbox))

    def _delivery(self, channel: Channel, key: str, value: bytes) -> Delivery[Any]:
        self._offset += 1
        now = int(START.timestamp() * 1000) + self._offset
        record = Record(
            topic=channel,
            partition=0,
            offset=self._offset,
            timestamp_ms=now,
            key=key.encode(),
            value=value,
        )
        if channel in _READERS:
            return Delivery(record=record, value=_READERS[channel](value))
        read = read_event(value, (), timestamp_ms=now, max_bytes=MAX_BYTES)
        return Delivery(record=record, value=read)


# -- events ----------------------------------------------------------------------------------------


def _event(kind: str, number: int, subject: str, data: dict[str, Any]) -> bytes:
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"evt-{kind}-{number}",
            "source": f"//ci.{TENANT}.example/{HOST}",
            "type": f"tidewatch.{kind}.v1",
            "subject": subject,
            "time": (START + timedelta(seconds=number)).isoformat(),
            "tenantid": TENANT,
            "datacontenttype": "application/json",
            "data": data,
        }
    )


def _package(name: str, version: str) -> dict[str, Any]:
    wheel = f"{name}-{version}-py3-none-any.whl"
    return {
        "name": name,
        "version": version,
        "url": f"https://files.index.example/packages/{wheel}",
        "hashes": {"sha256": sha256(wheel.encode()).hexdigest()},
        "requested": True,
        "filename": wheel,
        "index_url": INDEX,
    }


def _install(number: int, *, finding: bool, new: bool = False) -> Input:
    """Return an install of two packages; its finding is a digest that the lock contradicts.

    Args:
        number: Which event.
        finding: Whether it has one.
        new: Whether one package is of a name that nobody has had before.
    """
    packages = [_package("numpy", "2.1.0"), _package("requests", "2.32.0")]
    data: dict[str, Any] = {
        "ecosystem": "pypi",
        "installer": {"name": "pip", "version": "26.3"},
        "system": HOST,
        "environment": {"python_version": "3.11", "platform": "linux"},
        "index_url": INDEX,
    }
    if finding or new:
        packages[0] = _package(f"tooling{number}", "1.0")
    data["lock"] = {
        f"{package['name']}=={package['version']}": [f"sha256:{package['hashes']['sha256']}"]
        for package in packages
    }
    if finding:
        packages[0]["hashes"] = {"sha256": sha256(str(number).encode()).hexdigest()}
    data["packages"] = packages
    subject = f"host:{HOST}"
    return Channel.PACKAGE_INSTALL, _event("package.install", number, subject, data)


class _Hostile:
    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return exec, (f"import os; os.system('true {self.number}')",)


def _push(number: int, root: Path, *, hostile: bool) -> Input:
    """Return a push of one model with a configuration; a hostile one has a pickle as well."""
    owner = f"acme-{number}" if hostile else "acme"
    name = f"{owner}/model"
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    files = {"config.json": orjson.dumps({"model_type": "bert", "hidden_size": 64})}
    if hostile:
        buffer = io.BytesIO()
        pickle.Pickler(buffer, 2).dump(_Hostile(number))
        files["weights.bin"] = buffer.getvalue()
    listed = []
    for path, raw in files.items():
        (folder / path).write_bytes(raw)
        listed.append(
            {
                "path": path,
                "uri": (folder / path).as_uri(),
                "size": len(raw),
                "digests": {"sha256": sha256(raw).hexdigest()},
            }
        )
    data = {
        "action": "push",
        "kind": "model",
        "registry": "mlflow",
        "repository": name,
        "revision": sha256(f"{name} 1".encode()).hexdigest()[:40],
        "tag": "main",
        "publisher": {"name": owner, "account": "bot", "auth": "oidc", "id": owner, "mfa": True},
        "files": listed,
        "systems": ["serving-0"],
    }
    return Channel.REGISTRY_PUSH, _event("registry.push", number, f"model:mlflow/{name}", data)


class Kind(NamedTuple):
    """A kind of event."""

    name: str
    make: Callable[[int, Path], Input]


KINDS = (
    Kind("install, repeated", lambda number, _: _install(number, finding=False)),
    Kind("install of a new package", lambda number, _: _install(number, finding=False, new=True)),
    Kind("install with a finding", lambda number, _: _install(number, finding=True)),
    Kind("push, quiet", lambda number, root: _push(number, root, hostile=False)),
    Kind("push, hostile", lambda number, root: _push(number, root, hostile=True)),
)


# -- measuring -------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """What one event of a kind costs."""

    name: str
    files: int
    """Modules of these functions."""
    functions: int
    """Different functions of `agents` and `schemas` that it passes, comprehensions included."""
    calls: int
    """Calls of them; a generator counts each time it resumes."""
    records: int
    """Records that follow from it."""
    microseconds: dict[str, float]
    """By stage, and by part of the stages."""


def _count(work: Callable[[], object]) -> Counter[tuple[str, str, int]]:
    """Return how often each function of the rooms is called."""
    found: Counter[tuple[str, str, int]] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(_ROOMS):
            found[code.co_filename, code.co_qualname, code.co_firstlineno] += 1

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


def _codec_seconds(work: Callable[[], object]) -> float:
    """Return the time that C encoders and decoders took."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return sum(
        entry.inlinetime
        for entry in profile.getstats()
        if isinstance(entry.code, str) and any(name in entry.code for name in _CODECS)
    )


def _total(spent: Counter[str]) -> float:
    return sum(spent[name] for name in STAGES)


def cost(kind: Kind, events: int) -> Cost:
    """Return what one event of a kind costs: that of the cheapest of many."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        policy = Policy(
            tenant=TENANT,
            roots=(root.as_uri(),),
            automatic=("capture-evidence", "quarantine", "block"),
            dry_run=False,
        )
        inputs: Iterator[Input] = (kind.make(number, root) for number in range(sys.maxsize))
        chain = Chain(policy)
        try:
            for _ in range(WARM):
                chain.take(next(inputs))
            spent: Counter[str] = Counter()
            for _ in range(events):
                chain.clock.spent.clear()
                chain.records.clear()
                chain.take(next(inputs))
                if not spent or _total(chain.clock.spent) < _total(spent):
                    spent = chain.clock.spent.copy()
            records = chain.records.total()
            few = [next(inputs) for _ in range(WARM)]
            spent["encoding"] = _codec_seconds(lambda: [chain.take(event) for event in few]) / WARM
            last = next(inputs)
            called = _count(lambda: chain.take(last))
        finally:
            chain.close()
    return Cost(
        name=kind.name,
        files=len({file for file, _, _ in called}),
        functions=len(called),
        calls=called.total(),
        records=records,
        microseconds={name: spent[name] * 1e6 for name in (*STAGES, *PARTS)},
    )


def report(costs: Iterable[Cost]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield (
        "| event | files | functions | calls | records | "
        + " | ".join((*STAGES, "all", *PARTS))
        + " |"
    )
    yield "|---|" + "--:|" * (len(STAGES) + len(PARTS) + 5)
    for cost in costs:
        spent = cost.microseconds
        figures = [spent[name] for name in STAGES]
        figures += [sum(figures), *(spent[name] for name in PARTS)]
        yield (
            f"| {cost.name} | {cost.files} | {cost.functions:,} | {cost.calls:,} |"
            f" {cost.records} | " + " | ".join(f"{figure:,.0f}" for figure in figures) + " |"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.event_path", description=__doc__)
    parser.add_argument("--events", type=int, default=300, help="of each kind")
    args = parser.parse_args()
    print("## One event through checks, scan, ledger and incidents: µs by stage, and what of it\n")
    for line in report(cost(kind, args.events) for kind in KINDS):
        print(line, flush=True)


if __name__ == "__main__":
    main()
