"""Runs VRL conditions over records: run by the environment that has VRL."""

from __future__ import annotations

import json
import sys

from pyvrl import Transform

given = json.load(sys.stdin)
compiled = [Transform(condition) for condition in given["conditions"]]
print(json.dumps([[one.remap(record) for one in compiled] for record in given["records"]]))
