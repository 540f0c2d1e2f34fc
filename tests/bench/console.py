"""Measures the console's index: how long it takes to build, and to list and search incidents.

`python -m tests.bench.console [--incidents 100000]` makes an index of incidents that differ in
name, score, tenant and status, and asks for what pages ask for.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from agents.ports import Record
from schemas.channels import Channel
from schemas.incidents.views import IncidentDocument
from schemas.severity import Severity
from streams.cli.incident_list import SortKey
from streams.console.index import Index
from streams.console.queries import IndexReader
from streams.console.row_changes import changes
from streams.console.selections import CaseSelection
from streams.console.tables import RowLimits
from streams.console.viewer import Viewer
from tests.schemas.golden import samples
from tests.streams.console.played import record

BATCH = 500
ROUNDS = 60
TENANTS = 50
WORDS = ("sentiment", "ranker", "llama", "whisper", "fraud", "churn", "vision", "embedder", "toxic")
OPERATOR = Viewer(name="operator", tenants="*")


def incidents(count: int) -> Iterator[tuple[Channel, Record]]:
    """Yield incidents, each different from the others."""
    chance = random.Random(16)
    template = samples()[Channel.INCIDENTS]
    for number in range(count):
        name = f"{chance.choice(WORDS)}-{chance.choice(WORDS)}-{number % 997}"
        digest = f"{chance.getrandbits(256):064x}"
        score = chance.randrange(101)
        tenant = f"tenant-{number % TENANTS}"
        document = {
            **template,
            "id": f"inc-{chance.getrandbits(128):032x}",
            "root": f"sha256:{digest}",
            "title": f"Malicious payload in model huggingface/org-{number % 331}/{name}",
            "status": chance.choice(("new", "acknowledged", "closed", "closed", "false-positive")),
            "score": {**template["score"], "value": score, "band": _band(score)},
            "tenants": [{**template["tenants"][0], "tenant": tenant}],
            "system_count": chance.randrange(200),
        }
        raw = msgspec.json.encode(document)
        assert msgspec.json.decode(raw, type=IncidentDocument)
        yield Channel.INCIDENTS, record(Channel.INCIDENTS, document["id"], raw, offset=number)


def _band(score: int) -> str:
    return tuple(Severity)[min(score // 20, 4)]


def build(index: Index, count: int) -> float:
    """Fill the index; return how long it took, without making the records."""
    spent = 0.0
    batch: list[tuple[Channel, Record]] = []

    def flush() -> None:
        nonlocal spent
        began = time.perf_counter()
        index.apply(
            [row for channel, record in batch for row in changes(channel, record)], {("t", 0): 1}
        )
        spent += time.perf_counter() - began
        batch.clear()

    for incident in incidents(count):
        batch.append(incident)
        if len(batch) == BATCH:
            flush()
    flush()
    return spent


def measured(work: Callable[[int], object]) -> tuple[float, float, float, float]:
    """Return the median, p95 and most of some rounds, and the processor time, in milliseconds."""
    took, spent = [], []
    for number in range(ROUNDS):
        began, used = time.perf_counter(), time.process_time()
        work(number)
        spent.append((time.process_time() - used) * 1000)
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    return (
        statistics.median(took),
        took[int(len(took) * 0.95) - 1],
        took[-1],
        statistics.median(spent),
    )


def main() -> None:
    """Print what building and asking take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=100_000)
    count = parser.parse_args().incidents
    with tempfile.TemporaryDirectory() as folder:
        index = Index(Path(folder) / "console", RowLimits(incidents=2 * count))
        index.begin("bench|")
        spent = build(index, count)
        size = index.path.stat().st_size / 1e6
        print(
            f"{count:,} incidents indexed in {spent:.1f} s ({count / spent:,.0f}/s), {size:.0f} MB"
        )
        reader = IndexReader(index, OPERATOR)
        ids = [row["id"] for row in reader.cases(CaseSelection()).rows]

        def listed(**more: object) -> Callable[[int], object]:
            return lambda number: reader.cases(CaseSelection(page=number + 1, **more))

        def searched(*texts: str) -> Callable[[int], object]:
            return lambda number: reader.cases(CaseSelection(text=texts[number % len(texts)]))

        asked: dict[str, Callable[[int], object]] = {
            "list, open, by score": listed(open=True),
            "list, all, by change": listed(sort=SortKey.CHANGED),
            "list, all, first seen first": listed(sort=SortKey.FIRST_SEEN, reverse=True),
            "list, what waits for a person": listed(open=True, waiting=True),
            "list, what nobody is assigned to": listed(assignee=""),
            "list, high and worse, of one tenant": listed(
                severity=Severity.HIGH, tenant="tenant-7"
            ),
            "list, last page": lambda _: reader.cases(CaseSelection(page=10**6)),
            "search, an id": searched(*(identifier[:14] for identifier in ids)),
            "search, a model's name": searched(
                *(f"{word}-{two}" for word in WORDS for two in WORDS)
            ),
            "search, one common word": searched(*WORDS),
            "search, a word of all": searched("malicious", "huggingface"),
            "one incident": lambda number: reader.case(ids[number % len(ids)]),
            "overview": lambda _: (
                reader.open_by_severity(),
                reader.open_by_tenant(),
                reader.waiting(),
                reader.times(0),
                reader.tenants(),
                reader.assignees(),
            ),
        }
        print(f"{'ms':<40}{'median':>8}{'p95':>8}{'most':>8}{'cpu':>8}")
        for name, work in asked.items():
            print(f"{name:<40}" + "".join(f"{value:8.1f}" for value in measured(work)))
        index.close()


if __name__ == "__main__":
    main()
