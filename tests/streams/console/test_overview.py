"""Figures of the overview equal an independent count of the records."""

from __future__ import annotations

import copy
import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from schemas.channels import Channel
from schemas.severity import Severity
from streams.console.queries import IndexReader
from tests.streams.console.played import indexed, record
from tests.streams.console.site import ACME, GLOBEX, OPERATOR, site

ENDED = {"closed", "false-positive", "withdrawn"}
STATUSES = [*ENDED, "new", "acknowledged", "contained", "recovering", "suppressed"]
STATES = ["proposed", "advised", "issued", "done", "failed", "expired", "rejected"]
NOW = datetime.now(UTC)
MADE = 60


def last_of(played, channel: Channel) -> list[dict]:
    """Return the last document of each key."""
    found = {entry.key: entry.value for of, entry in played.records if of is channel}
    return [orjson.loads(value) for value in found.values() if value is not None]


@pytest.fixture(scope="module")
def documents(played) -> list[dict]:
    """Incidents of every status, severity and age, made of the demonstration's."""
    chance = random.Random(16)
    bases = last_of(played, Channel.INCIDENTS)
    severities = list(Severity)
    made = []
    for number in range(MADE):
        document = copy.deepcopy(chance.choice(bases))
        document["id"] = f"inc-{number:032x}"
        seen = NOW - timedelta(days=chance.choice([1, 5, 29, 31, 200]))
        document["first_seen"] = seen.isoformat()
        document["status"] = chance.choice(STATUSES)
        for part in [document, *document["tenants"]]:
            part["score"]["band"] = chance.choice(severities)
        for part in document["tenants"]:
            part["status"] = chance.choice(STATUSES)
            part["assignee"] = chance.choice([None, "ann"])
        for command in document["commands"]:
            command["state"] = chance.choice(STATES)
            if chance.random() < 0.5:  # the others are shared by several incidents
                command["spec"]["command_id"] += f"-{number}"
        for task in document["tasks"]:
            task["state"] = chance.choice(["open", "done"])
        document["processing"] = {
            "seconds_to_detect": chance.choice([None, chance.uniform(1, 9_000)]),
            "seconds_to_contain": chance.choice([None, chance.uniform(1, 9_000)]),
            "retro": chance.random() < 0.3,
        }
        made.append(document)
    return made


@pytest.fixture(scope="module")
def figures(documents, tmp_path_factory):
    made = indexed(
        tmp_path_factory.mktemp("figures"),
        [
            (
                Channel.INCIDENTS,
                record(Channel.INCIDENTS, document["id"], orjson.dumps(document), offset=at),
            )
            for at, document in enumerate(documents)
        ],
    )
    yield made
    made.close()


def by_severity(text: str) -> dict[str, int]:
    """Return the numbers on the tiles of the page."""
    return {name: int(count) for count, name in re.findall(r"<b>(\d+)</b> open, (\w+)", text)}


def by_tenant(text: str) -> dict[str, list[int]]:
    """Return the rows of the page's table: critical, high, medium and all."""
    table = text.partition('id="tenants"')[2].partition("</section>")[0].replace("<wbr>", "")
    rows = re.findall(r'<th scope="row"><a [^>]*>([^<]+)</a></th>(.*?)</tr>', table, re.DOTALL)
    return {name: [int(text) for text in re.findall(r">(\d+)<", cells)] for name, cells in rows}


def row_of(severities: Counter) -> list[int]:
    """Return what a row says of so many incidents of each severity."""
    return [*(severities[name] for name in ("critical", "high", "medium")), severities.total()]


def test_open_and_waiting_counts_match_the_incidents(figures, documents):
    with site(figures) as made:
        text = made.browser(OPERATOR).get("/").text
    still = [document for document in documents if document["status"] not in ENDED]
    assert 0 < len(still) < MADE
    severities = Counter(str(document["score"]["band"]) for document in still)
    assert by_severity(text) == {severity.value: severities[severity] for severity in Severity}
    parts: dict[str, Counter] = {}
    for part in (part for document in still for part in document["tenants"]):
        if part["status"] not in ENDED:
            parts.setdefault(part["tenant"], Counter())[str(part["score"]["band"])] += 1
    assert by_tenant(text) == {name: row_of(found) for name, found in parts.items()}
    commands: dict[str, set[str]] = {}
    for command in (command for document in still for command in document["commands"]):
        commands.setdefault(command["state"], set()).add(command["spec"]["command_id"])
    tasks = Counter(task["state"] for document in still for task in document["tasks"])
    waiting = text.partition('id="waits"')[2].partition("</section>")[0]
    numbers = [int(text.replace(",", "")) for text in re.findall(r">([\d,]+) ", waiting)]
    assert numbers == [
        len(commands["proposed"]),
        len(commands["failed"] | commands["expired"]),
        sum(not any(part.get("assignee") for part in document["tenants"]) for document in still),
        sum(document["status"] == "new" for document in still),
        tasks["open"],
    ]


@pytest.mark.parametrize("days", [30, 365])
def test_times_are_those_of_the_incidents_of_the_last_days(figures, documents, days):
    since = NOW - timedelta(days=days)
    young = [
        document
        for document in documents
        if datetime.fromisoformat(document["first_seen"]) >= since
    ]
    reported = [document["processing"] for document in young]
    detect = sorted(
        times["seconds_to_detect"]
        for times in reported
        if times["seconds_to_detect"] and not times["retro"]
    )
    contain = sorted(
        times["seconds_to_contain"] for times in reported if times["seconds_to_contain"]
    )
    found = IndexReader(figures, OPERATOR).times(round(since.timestamp() * 1000))
    for figure, values in zip(found, (detect, contain), strict=True):
        assert figure.count == len(values) > 0
        # half of them, and 95 of 100, are not longer
        within = [sum(value <= limit for value in values) for limit in (figure.median, figure.p95)]
        assert within == [-(-len(values) // 2), -(-len(values) * 95 // 100)]


@pytest.mark.parametrize("viewer", [ACME, GLOBEX], ids=["acme", "globex"])
def test_a_tenant_counts_its_own_alerts_alone(console, played, viewer):
    (tenant,) = viewer.tenants
    alerts = {alert["metadata"]["uid"]: alert for alert in last_of_each(played)}.values()
    own = Counter(
        alert["severity"].lower()
        for alert in alerts
        if alert["metadata"]["tenant_uid"] == tenant and alert["unmapped"]["status"] not in ENDED
    )
    assert own
    text = console.browser(viewer).get("/").text
    assert by_severity(text) == {severity.value: own[severity] for severity in Severity}
    assert by_tenant(text) == {tenant: row_of(own)}


def last_of_each(played) -> list[dict]:
    """Return the alerts in their order: the topic is not compacted."""
    return [
        orjson.loads(entry.value)
        for of, entry in played.records
        if of is Channel.ALERTS and entry.value is not None
    ]
