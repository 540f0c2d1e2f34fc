"""What a bad release of a package that everybody has costs: `python -m tests.bench.storm`.

A thousand tenants install other versions of a package all day while one release of it is known to
be malicious. Printed is what each sighting costs and how many messages the incidents get.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import msgspec

from schemas.canonical import stable_id
from schemas.channels import Channel
from schemas.intel import IntelFact, IntelKind
from schemas.observations import Sighting
from tests.bench.scale import CHUNK, START, SYSTEMS, Ledger, percentile

PACKAGE = "pypi:popular"
OTHERS = 12
"""Versions that are not the bad one, half of them older."""
_ENCODER = msgspec.json.Encoder()


def installed(tenant: int, system: int, version: int, minute: int) -> bytes:
    """Return the sighting of one version on one system."""
    name, host = f"tenant-{tenant}", f"runner-{system}"
    return _ENCODER.encode(
        Sighting(
            id=stable_id("obs", name, host, str(version), str(minute)),
            component=PACKAGE,
            tenant=name,
            system=host,
            event_id=f"evt-{tenant}-{system}-{version}-{minute}",
            source=f"//ci.{name}.example/{host}",
            occurred_at=START + timedelta(minutes=minute),
            kind="installed",
            version=f"1.{version}",
            digest=sha256(f"{PACKAGE} {version}".encode()).hexdigest(),
            filename=f"popular-1.{version}.whl",
            origin="https://index.example/simple",
        )
    )


def _waits_beside(ledger: Ledger) -> Iterator[float]:
    """Yield how long a record that arrives among what follows from a fact waits for its turn.

    Partitions are read in order: it waits for all messages of the ledger to itself.
    """
    while ledger.passed_on:
        before = len(ledger.passed_on)
        began = time.process_time()
        for _ in range(before):
            ledger.pass_one_on()
        yield time.process_time() - began


def run(tenants: int, systems: int, sightings: int, folder: Path) -> None:
    """Have each tenant install the bad release, tell of it, and let the installs go on."""
    chance = random.Random(7)
    bad = OTHERS // 2
    ledger = Ledger(folder, 1)
    place = ledger.place(PACKAGE)

    def take(values: list[bytes]) -> float:
        return sum(
            ledger.take(place, values[start : start + CHUNK])
            for start in range(0, len(values), CHUNK)
        )

    take([installed(tenant, system, version, version) for tenant in range(tenants)
          for system in range(systems) for version in range(bad + 1)])  # fmt: skip
    fact = IntelFact(
        key=PACKAGE,
        kind=IntelKind.COMPROMISED,
        versions=(f"1.{bad}",),
        sources=("OSV:MAL-1", "vendor"),
        confidence=0.95,
    )
    first = ledger.tell(fact)
    waits = list(_waits_beside(ledger))
    longest, seconds = max(first, *ledger.steps), first + sum(ledger.steps)
    reported = ledger.reported.get(Channel.INCIDENT_UPDATES, 0)
    print(f"{tenants:,} tenants reported in {seconds:.1f} s by {reported:,} messages to incidents")
    print(
        f"the longest step {longest * 1000:,.0f} ms; another's record waits "
        f"{percentile(waits, 0.5) * 1000:,.0f} ms (p50), "
        f"{percentile(waits, 0.99) * 1000:,.0f} ms (p99)"
    )
    others = [number for number in range(OTHERS + 1) if number != bad]
    spent = take(
        [
            installed(
                chance.randrange(tenants),
                chance.randrange(1, SYSTEMS),
                chance.choice(others),
                100 + number // 100,
            )
            for number in range(sightings)
        ]
    )
    reported = ledger.reported.get(Channel.INCIDENT_UPDATES, 0) - reported
    print(
        f"{sightings:,} sightings of other versions: {spent / sightings * 1e6:.0f} µs each, "
        f"{reported:,} messages to incidents"
    )


def main() -> None:
    """Run the trial."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.storm", description=__doc__)
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--sightings", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the state goes; a temporary one if none")
    parser.add_argument("--systems", type=int, default=SYSTEMS, help="of each that have it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        run(args.tenants, args.systems, args.sightings, Path(folder))


if __name__ == "__main__":
    main()
