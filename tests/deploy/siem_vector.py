"""Runs VRL conditions over records: run by the environment that has VRL."""

from __future__ import annotations

import json
import sys

from pyvrl import Transform

given = json.load(sys.stdin)
compiled = [Transform(condition) for condition in given["conditions"]]
print(json.dumps([[program.remap(record) for program in compiled] for record in given["records"]]))
