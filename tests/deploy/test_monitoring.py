"""The dashboard and the alert rules speak of metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from prometheus_client.metrics import MetricWrapperBase

from streams import metrics

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def series() -> dict[str, set[str]]:
    """The series that a worker exports, each with its labels."""
    found: dict[str, set[str]] = {}
    for metric in vars(metrics).values():
        if not isinstance(metric, MetricWrapperBase):
            continue
        for described in metric.describe():
            labels = set(metric._labelnames)
            suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
            for suffix in suffixes.get(described.type, [""]):
                extra = {"le"} if suffix == "_bucket" else set()
                found[described.name + suffix] = labels | extra
    assert found
    return found


def expressions() -> list[str]:
    """All queries of the dashboard and the rules."""
    dashboard = json.loads((DEPLOY / "grafana" / "tidewatch.json").read_text())
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert queries
    return queries


def test_every_metric_that_is_asked_for_exists() -> None:
    exported = series()
    asked = {name for query in expressions() for name in re.findall(r"\btidewatch_\w+", query)}
    assert asked - set(exported) == set()


def test_every_label_that_is_grouped_by_exists() -> None:
    exported = series()
    for query in expressions():
        for labels, inner in re.findall(r"by \(([^)]*)\) \((.*?tidewatch_\w+)", query):
            (name,) = re.findall(r"tidewatch_\w+", inner)
            assert {label.strip() for label in labels.split(",")} <= exported[name], query


def test_every_alert_says_what_to_do() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["description"]
