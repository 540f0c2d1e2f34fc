"""Validates and converts Sigma rules: run by the environment that has pySigma."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sigma.backends.elasticsearch import LuceneBackend
from sigma.backends.splunk import SplunkBackend
from sigma.collection import SigmaCollection
from sigma.validation import SigmaValidator
from sigma.validators.core import validators

rules = SigmaCollection.load_ruleset([Path(sys.argv[1])])
print(
    json.dumps(
        {
            "rules": [rule.title for rule in rules],
            "issues": [
                str(issue) for issue in SigmaValidator(validators.values()).validate_rules(rules)
            ],
            "lucene": LuceneBackend().convert(rules),
            "splunk": SplunkBackend().convert(rules),
        }
    )
)
