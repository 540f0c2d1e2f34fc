"""Write OCSF records of Tidewatch as Parquet, partitioned as Security Lake's custom sources expect.

Reads JSON lines, for instance from kcat; needs pyarrow. Each partition is
`ext/<source>/<version>/region=<region>/accountId=<account>/eventDay=<YYYYMMDD>/`. Records are the
last ones of their `metadata.uid` and time, sorted by time. A class has a folder of its own, since
a custom source holds one class.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

VERSION = "1.0"
FREE = ("unmapped", "data")
"""Objects of any shape: kept as JSON text, as OCSF's type `json_t` is stored."""


def partitions(records: Iterable[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the records by class and day; of repeated ones the last."""
    found: dict[tuple[str, str], dict[tuple[str, int], dict[str, Any]]] = defaultdict(dict)
    for record in records:
        day = datetime.fromtimestamp(record["time"] / 1000, UTC).strftime("%Y%m%d")
        uid = (record["metadata"]["uid"], record["time"])
        found[record["class_name"].lower().replace(" ", "_"), day][uid] = plain(record)
    return {
        partition: sorted(rows.values(), key=lambda row: (row["time"], row["metadata"]["uid"]))
        for partition, rows in found.items()
    }


def plain(value: Any, name: str = "") -> Any:  # noqa: ANN401 -- any JSON value
    """Return a value whose free objects are JSON text, so that a column has one type."""
    if name in FREE and isinstance(value, dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    if isinstance(value, dict):
        return {key: plain(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner, name) for inner in value]
    return value


def write(
    records: Iterable[dict[str, Any]], out: Path, source: str, region: str, account: str
) -> list[Path]:
    """Write all records, and return the files; equal records give equal files."""
    written = []
    for (kind, day), rows in sorted(partitions(records).items()):
        table = pa.Table.from_pylist(rows)
        place = f"ext/{source}-{kind}/{VERSION}/region={region}/accountId={account}/eventDay={day}"
        digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:32]
        path = out / place / f"{digest}.zstd.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, compression="zstd")
        written.append(path)
    return written


def main() -> None:
    """Convert the JSON lines of the standard input."""
    parser = argparse.ArgumentParser(description="OCSF JSON lines to partitioned Parquet")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--source", default="tidewatch")
    parser.add_argument("--region", required=True)
    parser.add_argument("--account", required=True)
    chosen = parser.parse_args()
    records = (json.loads(line) for line in sys.stdin if line.strip())
    for path in write(records, chosen.out, chosen.source, chosen.region, chosen.account):
        print(path)


if __name__ == "__main__":
    main()
