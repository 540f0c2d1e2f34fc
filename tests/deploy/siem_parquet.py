"""Reads Parquet files back as JSON lines: run by the environment that has pyarrow."""

from __future__ import annotations

import json
import sys

import pyarrow.parquet as pq

for path in sys.argv[1:]:
    for row in pq.ParquetFile(path).read().to_pylist():
        print(json.dumps(row))
