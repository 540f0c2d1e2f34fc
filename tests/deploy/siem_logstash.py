"""Reads a Logstash pipeline by its grammar: run by the environment that has a parser of it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from logstash_pipeline_parser import Pipeline
from logstash_pipeline_parser.tree import ParseError

text = Path(sys.argv[1]).read_text()
tree = json.dumps(Pipeline(text).parse())
refused = False
try:
    Pipeline(text + "}").parse()
except ParseError:
    refused = True
plugins = re.findall(r'"(kafka|elasticsearch)"', tree)
print(json.dumps({"plugins": plugins, "refused": refused}))
