"""The SIEM kits fit the records, and other people's tools accept them."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from schemas.channels import Channel
from schemas.export import topic_schema
from streams.reports.contract_samples import samples
from tests.schemas.standards import ocsf_errors

ROOT = Path(__file__).resolve().parents[2]
KITS = ROOT / "deploy" / "siem"
HERE = Path(__file__).parent
TRANSPORT = KITS / "transport"
KUSTO = ROOT / ".venv" / "kusto"
LARGEST = "1114112"


@pytest.fixture(scope="module")
def siem():
    """The interpreter of the environment with pySigma and pyarrow."""
    python = Path(os.environ.get("SIEM_PYTHON", ROOT / ".venv" / "siem" / "bin" / "python"))
    if not python.exists():
        pytest.skip("no environment with pySigma and pyarrow (make test provides it)")
    return python


def ran(*command, given=""):
    done = subprocess.run(
        list(map(str, command)),
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def value(channel):
    return json.loads(samples()[channel].value)


def at(document, path):
    for name in path.split("."):
        document = document[name]
    return document


# -- Sigma ----------------------------------------------------------------------------------------


def test_the_sigma_rules_are_valid_and_become_queries(siem):
    done = json.loads(ran(siem, HERE / "siem_sigma.py", KITS / "sigma"))
    assert len(done["rules"]) == len(list((KITS / "sigma").glob("*.yml")))
    assert done["issues"] == []
    assert all(done["lucene"])
    assert all(done["splunk"])


@pytest.mark.parametrize("path", sorted((KITS / "sigma").glob("*.yml")), ids=lambda path: path.stem)
def test_the_fields_and_values_of_a_sigma_rule_are_those_of_the_records(path):
    rule = yaml.safe_load(path.read_text())
    document = value(Channel(rule["logsource"]["service"]))
    for name, wanted in rule["detection"]["selection"].items():
        found = at(document, name)
        assert type(found if not isinstance(found, list) else found[0]) is str
        if name != "threat.indicator.type":
            values = wanted if isinstance(wanted, list) else [wanted]
            assert set(found if isinstance(found, list) else [found]) & set(values), name


# -- Parquet --------------------------------------------------------------------------------------


def alerts():
    first = value(Channel.ALERTS)
    for number in range(3):
        day = 24 * 3600 * 1000 * number
        yield {
            **first,
            "time": first["time"] + day,
            "metadata": {**first["metadata"], "uid": f"alt-{number}"},
        }
    again = {"severity": "High", "severity_id": 4}
    yield {**first, "metadata": {**first["metadata"], "uid": "alt-0"}, **again}
    plainer = {
        name: value for name, value in first.items() if name not in {"assignee", "observables"}
    }
    yield {**plainer, "metadata": {**first["metadata"], "profiles": ["security_control"]}}


def filled(row):
    """Return a row as it was: without nulls, free objects read back."""
    if isinstance(row, list):
        return [filled(cell) for cell in row]
    if not isinstance(row, dict):
        return row
    return {
        name: json.loads(value) if name in {"unmapped", "data"} else filled(value)
        for name, value in row.items()
        if value is not None
    }


@pytest.mark.slow
def test_alerts_become_parquet_that_is_ocsf_again_when_it_is_read(siem, tmp_path):
    from ocsf.v1_7_0.events import DetectionFinding  # noqa: PLC0415 -- it makes all its models

    records = [*alerts(), value(Channel.CONTAINMENT_AUDIT)]
    command = (
        siem,
        KITS / "security-lake" / "to_parquet.py",
        *("--out", tmp_path, "--region", "eu-central-1", "--account", "123456789012"),
    )
    lines = "\n".join(map(json.dumps, records))
    files = ran(*command, given=lines).splitlines()
    assert ran(*command, given=lines).splitlines() == files
    partition = re.compile(
        r"ext/tidewatch-(detection_finding|remediation_activity)/1\.0/region=eu-central-1/"
        r"accountId=123456789012/eventDay=\d{8}/[0-9a-f]{32}\.zstd\.parquet"
    )
    places = [partition.fullmatch(str(Path(file).relative_to(tmp_path))) for file in files]
    assert all(places)
    assert len(places) == 4
    rows = [json.loads(line) for line in ran(siem, HERE / "siem_parquet.py", *files).splitlines()]
    kinds = {2004: "detection_finding", 7001: "remediation_activity"}
    read = [filled(row) for row in rows]
    assert len(read) == 5
    for row in read:
        assert ocsf_errors(row, kinds[row["class_uid"]]) == []
        if row["class_uid"] == 2004:
            DetectionFinding.model_validate(row)
    (kept,) = [row for row in read if row["metadata"]["uid"] == "alt-0"]
    assert kept["severity"] == "High"
    assert value(Channel.CONTAINMENT_AUDIT) in read


# -- Splunk ---------------------------------------------------------------------------------------


def test_splunk_appinspect_finds_nothing_to_object_to(tmp_path):
    command = shutil.which("splunk-appinspect")
    if command is None:
        pytest.skip("no splunk-appinspect here (from the Python index; it has no wheels to lock)")
    package, report = tmp_path / "tidewatch.tar.gz", tmp_path / "report.json"
    with tarfile.open(package, "w:gz") as archive:
        archive.add(KITS / "splunk", "tidewatch/default")
    ran(command, "inspect", package, "--data-format", "json", "--output-file", report)
    (read,) = json.loads(report.read_text())["reports"]
    checks = [check for group in read["groups"] for check in group["checks"]]
    assert sum(check["result"] == "success" for check in checks) > 50
    fine = {"success", "not_applicable", "skipped"}
    objections = {
        check["name"]: [message["message"] for message in check["messages"]]
        for check in checks
        if check["result"] not in fine
    }
    # the manifest is for those who distribute apps to several servers
    assert objections.keys() <= {"check_for_valid_package_id"}, objections
    assert all("app.manifest" in text for texts in objections.values() for text in texts)


@pytest.mark.parametrize("name", ["app", "props", "eventtypes", "tags"])
def test_splunk_configuration_can_be_read(name):
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str
    parser.read_string((KITS / "splunk" / f"{name}.conf").read_text())
    assert parser.sections()


def test_splunk_finds_the_time_and_the_fields_that_it_names():
    props = configparser.RawConfigParser()
    props.optionxform = str
    props.read_string((KITS / "splunk" / "props.conf").read_text())
    alert, ioc = (samples()[channel].value.decode() for channel in (Channel.ALERTS, Channel.IOCS))
    for section, text in (("tidewatch:alert", alert), ("tidewatch:ioc", ioc)):
        assert re.search(props[section]["TIME_PREFIX"] + r"[\d-]", text)
        assert len(text) < int(props[section]["TRUNCATE"])
    for section, document in (
        ("tidewatch:alert", json.loads(alert)),
        ("tidewatch:ioc", json.loads(ioc)),
    ):
        for option, named in props[section].items():
            if option.startswith("FIELDALIAS"):
                for source in re.findall(r"(\S+) AS \S+", named):
                    assert at(document, source) is not None


# -- Sentinel -------------------------------------------------------------------------------------

RESERVED = {"id", "tenantid", "title", "type", "uniqueid"}
"""Names of columns that Log Analytics keeps for itself."""


def sentinel():
    """Return the declaration of the rule's stream, its flow, and the table, each with columns."""
    (rule,) = json.loads((KITS / "sentinel" / "dcr.json").read_text())["resources"]
    (made,) = json.loads((KITS / "sentinel" / "table.json").read_text())["resources"]
    (flow,) = rule["properties"]["dataFlows"]
    (stream,) = flow["streams"]
    return rule["properties"]["streamDeclarations"][stream], flow, made["properties"]["schema"]


def columns_of(declared):
    return {column["name"]: column["type"] for column in declared["columns"]}


def test_sentinel_stream_has_the_columns_of_its_table():
    stream, flow, table = sentinel()
    assert flow["outputStream"] == f"Custom-{table['name']}"
    taken, held = columns_of(stream), columns_of(table)
    assert {"TimeGenerated": "datetime", "ioc_id": taken.pop("id"), **taken} == held
    assert not {name.lower() for name in held} & RESERVED


def test_the_queries_of_sentinel_mean_something_to_kusto():
    node = shutil.which("node")
    if node is None or not KUSTO.with_suffix(".stamp").is_file():
        pytest.skip("no language service of KQL here: `make kusto` brings it")
    stream, flow, table = sentinel()
    query = (KITS / "sentinel" / "active_indicators.kql").read_text()
    given = [
        {"name": name, "columns": ", ".join(f"{n}: {t}" for n, t in columns.items()), "text": text}
        for name, columns, text in (
            (table["name"], columns_of(table), query),
            ("source", columns_of(stream), flow["transformKql"]),
            (table["name"], {"revision": "int"}, query),
        )
    ]
    script = HERE / "kusto" / "check.js"
    kit, transform, wrong = json.loads(ran(node, script, KUSTO, given=json.dumps(given)))
    assert (kit, transform) == ([], [])
    assert wrong, "it knows columns: what lacks them is faulty"


def test_the_columns_of_sentinel_are_fields_of_indicators():
    stream, _, table = sentinel()
    columns = stream["columns"]
    schema = topic_schema(Channel.IOCS)
    known = schema["$defs"]["SupplyChainIoC"]["properties"]
    assert {column["name"] for column in columns} <= set(known)
    query = (KITS / "sentinel" / "active_indicators.kql").read_text()
    named = columns_of(table)
    for name in ("revision", "status", "category", "valid_until", "indicator"):
        assert name in query
        assert name in named


# -- transport ------------------------------------------------------------------------------------


def test_logstash_can_read_its_pipeline(siem):
    read = json.loads(ran(siem, HERE / "siem_logstash.py", TRANSPORT / "logstash.conf"))
    assert read["plugins"] == ["kafka", "elasticsearch", "elasticsearch"]
    assert read["refused"], "it knows what is none"


def test_vectors_conditions_route_each_record_to_its_sink(siem):
    vector = yaml.safe_load((TRANSPORT / "vector.yaml").read_text())
    (route,) = vector["transforms"].values()
    records = [value(channel) for channel in (Channel.ALERTS_ECS, Channel.IOCS_ECS)]
    given = json.dumps({"conditions": list(route["route"].values()), "records": records})
    assert json.loads(ran(siem, HERE / "siem_vector.py", given=given)) == [
        [True, False],
        [False, True],
    ]
    assert {name for sink in vector["sinks"].values() for name in sink["inputs"]} == {
        f"kinds.{name}" for name in route["route"]
    }


def test_every_transport_takes_the_largest_record():
    vector = yaml.safe_load((KITS / "transport" / "vector.yaml").read_text())
    options = vector["sources"]["tidewatch"]["librdkafka_options"]
    assert options["fetch.message.max.bytes"] == LARGEST
    for name in ("logstash.conf", "rsyslog.conf"):
        assert LARGEST in (KITS / "transport" / name).read_text()
    assert "1,114,112" in (KITS / "README.md").read_text()


def properties_of(name):
    lines = (KITS / "transport" / name).read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    assert len({key for key, _ in pairs}) == len(pairs)
    return dict(pairs)


def test_connect_takes_the_largest_record_and_leaves_it_as_it_is():
    worker = properties_of("connect-standalone.properties")
    assert worker["consumer.max.partition.fetch.bytes"] == LARGEST
    converters = {worker["key.converter"], worker["value.converter"]}
    assert converters == {"org.apache.kafka.connect.storage.StringConverter"}
    sink = properties_of("connect-file-sink.properties")
    known = {f"supplychain.{channel}" for channel in Channel}
    assert set(sink["topics"].split(",")) <= known
    assert sink["connector.class"].startswith("org.apache.kafka.connect.file.")


# -- dashboards -----------------------------------------------------------------------------------


def saved_objects():
    lines = (KITS / "elastic" / "dashboard.ndjson").read_text().splitlines()
    return {entry["id"]: entry for entry in map(json.loads, lines)}


def mapped(properties, path=""):
    """Yield the fields of a mapping, with their types."""
    for name, field in properties.items():
        if "properties" in field:
            yield from mapped(field["properties"], f"{path}{name}.")
        else:
            yield f"{path}{name}", field["type"]


def test_the_dashboard_refers_to_what_is_in_its_file():
    saved = saved_objects()
    for entry in saved.values():
        for reference in entry["references"]:
            assert saved[reference["id"]]["type"] == reference["type"]
    panels = json.loads(saved["tidewatch"]["attributes"]["panelsJSON"])
    named = {reference["name"] for reference in saved["tidewatch"]["references"]}
    assert {panel["panelRefName"] for panel in panels} == named
    shown = {reference["id"] for reference in saved["tidewatch"]["references"]}
    assert shown == {uid for uid, entry in saved.items() if entry["type"] == "visualization"}


def test_the_dashboard_counts_by_fields_of_the_templates_that_can_be_counted():
    saved = saved_objects()
    fields = {}
    for pattern, template in (("alerts", "alerts"), ("indicators", "indicators")):
        document = json.loads((KITS / "elastic" / f"{template}-template.json").read_text())
        title = saved[f"tidewatch-{pattern}"]["attributes"]["title"]
        assert document["index_patterns"] == [title]
        fields[f"tidewatch-{pattern}"] = dict(
            mapped(document["template"]["mappings"]["properties"])
        )
    counted = 0
    for entry in saved.values():
        if entry["type"] != "visualization":
            continue
        (index,) = [reference["id"] for reference in entry["references"]]
        for aggregation in json.loads(entry["attributes"]["visState"])["aggs"]:
            field = aggregation["params"].get("field")
            if field is not None:
                counted += 1
                assert fields[index][field] in {"keyword", "date"}, (entry["id"], field)
    assert counted > 10


def test_dashboard_terms_are_fields_of_the_records():
    alert, indicator = value(Channel.ALERTS_ECS), value(Channel.IOCS_ECS)
    for path in ("labels.incident_id", "tidewatch.severity", "tidewatch.status", "organization.id",
                 "rule.id", "rule.name", "threat.technique.id"):  # fmt: skip
        assert at(alert, path), path
    for path in ("tidewatch.disposition", "tidewatch.category", "tidewatch.indicator",
                 "threat.indicator.type"):  # fmt: skip
        assert at(indicator, path), path
