"""The model of cost adds up, and grows with what it is made of."""

from __future__ import annotations

from tests.bench.cost import Figures, Load, Prices, cost


def test_each_application_has_whole_workers_and_everything_its_price():
    load = Load(86_400_000, peak=3, new_sightings=0.5, incidents=0.01, held=1e9)
    figures = Figures(100, 300, 10_000, 1_000, 100, 1_000, 100, 1.0, 0.5)
    one = cost(load, figures, Prices(core=10, gib=1, disk_gb=0.1, traffic_gb=0.01))
    # 3,000/s at the peak: 0.3, 0.45 and 0.3 s of work each second, at half a core a worker
    assert one.cores == 1 + 1 + 1
    assert one.memory_gib == 3
    assert one.disk_gb == 100 + 86.4
    assert one.traffic_gb_a_month == 2592
    assert round(one.money_a_month, 2) == 30 + 3 + 18.64 + 25.92


def test_more_events_never_cost_less():
    costs = [cost(Load(10.0**power)).money_a_month for power in range(4, 11)]
    assert costs == sorted(costs)
    assert cost(Load(1e10)).cores > cost(Load(1e9)).cores
