"""Plays all scenarios on a broker of its own and prints what came out: `make scenarios`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from schemas.severity import Severity
from streams.broker import EmbeddedBroker
from tests.e2e.chain import Chain
from tests.e2e.scenario_run import TenantAlert, play
from tests.scenarios.expectation import SCENARIOS, load

COLUMNS = (
    "scenario",
    "detected",
    "seconds to alert: median, most",
    "severity",
    "alerts of a tenant: most",
    "records of an alert: most",
    "false alarms",
)


def row(name: str, alerts: list[TenantAlert]) -> tuple[list[str], bool]:
    """Return the cells of a scenario, and whether it is as it must be."""
    expected = load(name).expected
    found = [
        [alert for alert in alerts if alert.tenant == wanted.tenant and alert.matches(wanted)]
        for wanted in expected.alerts
    ]
    meant = {id(case) for many in found for case in many}
    false = [
        alert for alert in alerts
        if alert.severity.rank > Severity.LOW.rank
        and (alert.tenant in expected.quiet or id(alert) not in meant)
    ]  # fmt: skip
    per_tenant: dict[str, int] = {}
    for alert in alerts:
        per_tenant[alert.tenant] = per_tenant.get(alert.tenant, 0) + 1
    times = [min(case.seconds for case in many) for many in found if many]
    bands = sorted({case.severity for many in found for case in many}, key=lambda band: band.rank)
    quiet_broken = any(alert.tenant in expected.quiet for alert in false)
    return [
        expected.title,
        f"{sum(1 for many in found if many)} of {len(found)}" if found else "nothing to find",
        f"{median(times):.2f}, {max(times):.2f}" if times else "-",
        ", ".join(bands) or "-",
        str(max(per_tenant.values(), default=0)),
        str(max((alert.records for alert in alerts), default=0)),
        str(len(false)),
    ], all(found) and not quiet_broken


def main() -> int:
    """Print the table; 1 if something was missed or somebody was alarmed for nothing."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker(Path(folder) / "kafka") as broker:
        chain = Chain(broker.bootstrap, Path(folder))
        try:
            played = play(chain, Path(folder) / "models")
        finally:
            chain.stop()
    table = Table(*COLUMNS)
    right = True
    for name in SCENARIOS:
        cells, good = row(name, played[name])
        table.add_row(*cells)
        right = right and good
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
