"""What a load costs, from measured figures and stated prices: `python -m tests.bench.cost`.

The figures are those of `deploy/README.md`, and `tests.bench.incident_life`; the prices are
assumptions to replace by your own.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

DAY_SECONDS = 86_400
DAYS_A_MONTH = 30
GB = 1e9


class Load(NamedTuple):
    """What arrives."""

    events_a_day: float
    peak: float = 3.0
    """The busiest second over the average one."""
    new_sightings: float = 0.1
    """Of each event, those that the ledger gets: 1.3 while a fleet is new, fewer later."""
    incidents: float = 0.001
    """Opened for each event."""
    held: float = 100e6
    """Different (component, tenant, system, version) of the last 400 days."""


class Figures(NamedTuple):
    """What was measured, on a core of a virtual AMD EPYC."""

    check_us: float = 120
    sighting_us: float = 345
    """The most that was seen with a million held, on a machine that other work shared."""
    incident_us: float = 12_200
    """Opened and closed."""
    broker_bytes: float = 2_100
    """Kafka takes in for each event, before its replication."""
    sighting_bytes: float = 266
    incident_bytes: float = 5_600
    """On disk when closed, its holds included."""
    incident_days: float = 430
    worker_gib: float = 0.6
    used: float = 0.6
    """Of a core at the peak."""


class Prices(NamedTuple):
    """Of a month; assumed."""

    core: float = 25.0
    gib: float = 3.0
    """Of memory."""
    disk_gb: float = 0.10
    traffic_gb: float = 0.05


class Cost(NamedTuple):
    """What it takes."""

    cores: float
    memory_gib: float
    disk_gb: float
    traffic_gb_a_month: float
    money_a_month: float


def cost(load: Load, figures: Figures | None = None, prices: Prices | None = None) -> Cost:
    """Return what a load takes; whole workers of one core, without the broker's own machines."""
    figures, prices = figures or Figures(), prices or Prices()
    peak = load.events_a_day / DAY_SECONDS * load.peak
    workers = 0
    for microseconds in (
        figures.check_us,
        load.new_sightings * figures.sighting_us,
        load.incidents * figures.incident_us,
    ):
        workers += max(1, -int(-peak * microseconds / 1e6 / figures.used // 1))
    disk = load.held * figures.sighting_bytes
    disk += load.events_a_day * load.incidents * figures.incident_days * figures.incident_bytes
    traffic = load.events_a_day * DAYS_A_MONTH * figures.broker_bytes / GB
    memory = workers * figures.worker_gib
    money = workers * prices.core + memory * prices.gib
    money += disk / GB * prices.disk_gb + traffic * prices.traffic_gb
    return Cost(workers, memory, disk / GB, traffic, money)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cost", description=__doc__)
    for name, value in Prices()._asdict().items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    prices = Prices(**vars(parser.parse_args()))
    print("| events/day | cores | memory GiB | state GB | broker GB/month | money/month |")
    print("|--:|--:|--:|--:|--:|--:|")
    for events, held in ((1e6, 1e6), (10e6, 10e6), (100e6, 50e6), (1e9, 100e6)):
        one = cost(Load(events, held=held), prices=prices)
        print(
            f"| {events:,.0f} | {one.cores:.0f} | {one.memory_gib:.1f} | {one.disk_gb:,.0f} "
            f"| {one.traffic_gb_a_month:,.0f} | {one.money_a_month:,.0f} |"
        )


if __name__ == "__main__":
    main()
