"""Where data sets of producers lie: MLflow's and OpenLineage's stores, by any scheme."""

from __future__ import annotations

import msgspec
import pytest

from agents.checks.pipelines import check_pipeline
from agents.domain.knowledge import MemoryKnowledge
from schemas.policy import Trusted, default_policy
from schemas.severity import Severity
from streams.adapters import adapt
from streams.adapters.openlineage import address_of
from tests.each import each
from tests.streams.adapters.registry_payloads import RECEIVED_MS, events_of


@each(
    ("source", "kind", "url", "hub"),
    [
        ("s3://acme-data/r.parquet", "s3", "s3://acme-data/r.parquet", None),
        ("dbfs:/mnt/r.parquet", "dbfs", "dbfs:///mnt/r.parquet", None),
        ('{"uri": "abfss://c@a.dfs.example/r"}', "uri", "abfss://c@a.dfs.example/r", None),
        ('{"url": "https://data.example/r.csv"}', "http", "https://data.example/r.csv", None),
        ('{"path": "gs:/acme/r"}', "delta_table", "gs:///acme/r", None),
        ('{"path": "acme/reviews", "revision": "abc"}', "hugging_face", None, "acme/reviews"),
        ('{"path": "/srv/me/reviews"}', "hugging_face", None, None),
        ('{"uri": "/srv/me/r.csv"}', "local", None, None),
        ('{"tags": {"mlflow.user": "me"}}', "code", None, None),
    ],
)
def test_the_source_of_a_dataset_of_mlflow_has_any_scheme(source, kind, url, hub):
    run = {
        "info": {"run_id": "r", "status": "FINISHED", "end_time": RECEIVED_MS, "run_name": "n"},
        "inputs": {
            "dataset_inputs": [
                {"dataset": {"name": "d", "digest": "1", "source_type": kind, "source": source}}
            ]
        },
    }
    (event,) = events_of("mlflow", {"run": run})
    assert [data_source.url for data_source in event.data.data_sources] == ([url] if url else [])
    named = [ref.component for ref in event.data.inputs if "huggingface" in ref.component]
    assert named == ([f"dataset:huggingface/{hub}"] if hub else [])


@pytest.mark.parametrize(
    ("namespace", "name", "uri", "address"),
    [
        ("s3://acme-lake", "tx/1", "s3://acme-lake/tx/1", "s3://acme-lake/tx/1"),
        ("s3://acme-lake", "tx/1", "s3://acme-lake", "s3://acme-lake/tx/1"),
        ("bigquery", "proj.set.table", "bigquery", "bigquery://proj.set.table"),
        ("postgres://db.acme.example:5432", "prod.public.tx", "postgres://db.acme.example:5432",
         "postgres://db.acme.example:5432/prod.public.tx"),
        ("file", "/data/tx.csv", "file", "file:///data/tx.csv"),
        ("file", "/data/tx.csv", "file:///data/tx.csv", "file:///data/tx.csv"),
        ("warehouse of ours", "t", "t", "t"),
    ],
)  # fmt: skip
def test_an_address_of_lineage_names_the_dataset_and_not_only_its_store(
    namespace, name, uri, address
):
    assert address_of(namespace, name, uri) == address


ORDINARY = {
    "s3": ("s3://acme-lake", "tx/1", "s3://acme-lake/tx/1"),
    "bigquery": ("bigquery", "proj.set.table", "bigquery"),
    "postgres": ("postgres://db.acme.example:5432", "prod.public.tx",
                 "postgres://db.acme.example:5432"),
    "file": ("file", "/data/tx.csv", "file:///data/tx.csv"),
    "snowflake": ("snowflake://acme-eu", "db.public.tx", "snowflake://acme-eu"),
}  # fmt: skip


def lineage_of(store):
    namespace, name, uri = ORDINARY[store]
    return {
        "eventType": "COMPLETE",
        "eventTime": "2026-11-07T05:30:12Z",
        "run": {"runId": "019a5c0e"},
        "job": {"namespace": "acme", "name": "etl"},
        "inputs": [
            {
                "namespace": namespace,
                "name": name,
                "facets": {"dataSource": {"name": name, "uri": uri}},
            }
        ],
        "producer": "https://producers.example/x",
    }


def severities_of(body, policy):
    known = MemoryKnowledge()
    known.set_policy(policy.tenant, policy)
    (event,) = adapt("openlineage", body, tenant="t")
    return [found.severity for found in check_pipeline(event, known).detections]


@each("hosts", [(), ("data.acme.example", "huggingface.co")])
@each("store", sorted(ORDINARY))
def test_stores_of_ones_own_are_quiet_under_an_ordinary_policy(store, hosts):
    policy = policy_with(hosts)
    assert set(severities_of(lineage_of(store), policy)) <= {Severity.LOW}


def test_a_policy_that_names_buckets_is_kept_to():
    policy = policy_with(("s3://acme-lake", "data.acme.example"))
    assert set(severities_of(lineage_of("s3"), policy)) <= {Severity.LOW}
    body = lineage_of("s3")
    body["inputs"][0] |= {"namespace": "s3://strangers", "facets": {"dataSource": {
        "name": "x", "uri": "s3://strangers/tx/1"}}}  # fmt: skip
    # None: the rule's own severity, which is medium.
    assert None in severities_of(body, policy)


def policy_with(hosts):
    return msgspec.structs.replace(default_policy("t"), trusted=Trusted(data_hosts=hosts))


def test_the_key_of_a_database_is_the_same_from_its_name_and_from_its_address():
    (event,) = adapt("openlineage", lineage_of("postgres"), tenant="t")
    used = {
        sighting.component
        for sighting in check_pipeline(event, MemoryKnowledge()).sightings
        if sighting.component.startswith("dataset:")
    }
    assert used == {"dataset:postgres/db.acme.example:5432/prod.public.tx"}
