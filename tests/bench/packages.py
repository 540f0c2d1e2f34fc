"""How fast: names, matches with a whole feed loaded, and checks of two-package installs.

Run: `python -m tests.bench.packages [FEED]`; FEED is an OSV archive of the ecosystem (`all.zip`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from agents.checks.packages.check import check_packages
from agents.checks.packages.intel_match import matches
from agents.checks.packages.names import judge_name
from agents.domain.knowledge import MemoryKnowledge
from agents.intelligence.osv import read_archive
from schemas.events import Event, PackageInstall
from schemas.intel import IntelFact
from tests.agents.checks.packages.installs import DIGEST, INSIDE, OTHER, PUBLIC, install, knowing

SECONDS = 2.0


def per_second(step: Callable[[int], object]) -> float:
    """Return how often a step runs in a second; it is given its number."""
    step(0)
    start = time.perf_counter()
    count = 0
    while (elapsed := time.perf_counter() - start) < SECONDS:
        for _ in range(100):
            count += 1
            step(count)
    return count / elapsed


def _event() -> Event[PackageInstall]:
    return install(
        {
            "index_url": PUBLIC,
            "packages": [
                {"name": "torch", "version": "2.9.0", "hashes": {"sha256": DIGEST}},
                {"name": "numpy", "version": "2.4.6", "hashes": {"sha256": OTHER}},
            ],
            "requirements": [
                f"torch==2.9.0 --hash=sha256:{DIGEST}",
                f"numpy==2.4.6 --hash=sha256:{OTHER}",
            ],
            "lock": {
                "torch==2.9.0": [f"sha256:{DIGEST}"],
                "numpy==2.4.6": [f"sha256:{OTHER}"],
            },
        }
    )


def main() -> None:
    """Print the table."""
    event = _event()
    policy = {"trusted": {"indexes": [PUBLIC, INSIDE]}, "internal": {"prefixes": ["acme-"]}}
    without, loaded = knowing(policy), knowing(policy)
    print(f"names never seen before   {per_second(lambda n: judge_name(f'pakage-{n}')):>12,.0f}/s")
    rate = per_second(lambda _: check_packages(event, without))
    print(f"two-package installs      {rate:>12,.0f}/s")
    if len(sys.argv) == 1:
        print("(matches and installs with a feed are not measured: name an OSV archive)")
        return
    raw = Path(sys.argv[1]).read_bytes()
    start = time.perf_counter()
    feed = read_archive(raw)
    print(f"feed of {feed.records:,} read in     {time.perf_counter() - start:>12.2f} s")
    _load(loaded, feed.facts)
    facts = list(feed.facts.values())
    print(f"matches                   {per_second(lambda n: _match(loaded, facts, n)):>12,.0f}/s")
    rate = per_second(lambda _: check_packages(event, loaded))
    print(f"installs, feed loaded     {rate:>12,.0f}/s")


def _load(knowledge: MemoryKnowledge, facts: dict[str, IntelFact]) -> None:
    for key, fact in facts.items():
        knowledge.set_fact(key, fact)


def _match(knowledge: MemoryKnowledge, facts: list[IntelFact], number: int) -> object:
    fact = knowledge.fact(facts[number % len(facts)].key)
    return fact and matches(fact, "1.0.0")


if __name__ == "__main__":
    main()
