"""Runs the examples of provenance rules, those that need bytes or a server too."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from agents.checks.provenance.attempts import MAX_ATTEMPTS
from agents.checks.provenance.planning import plan_scan
from agents.checks.provenance.scan_push import scan_push
from agents.checks.provenance.signatures import Trust
from agents.checks.provenance.verify import local_files, verify_model
from tests.agents.checks.provenance.pushes import knowing, push_event
from tests.agents.checks.provenance.scanning import clean, failing_fetch
from tests.agents.checks.provenance.signing import make_model, new_key, public_pem, sign_with_key
from tests.agents.examples import check_pushed


def run_example(given):
    """Return the ids of the rules an example meets."""
    if "signature" in given:
        return _signed(tampered=given["signature"] == "tampered")
    if "fetch" in given:
        return _fetched(recovers=given["fetch"] == "recovers")
    data = {name: value for name, value in given.items() if name != "policy"}
    outcome = check_pushed(push_event(**data), knowing(given.get("policy")))
    return {found.rule_id for found in outcome.detections}


def _signed(*, tampered):
    with TemporaryDirectory() as folder:
        model, scratch = make_model(Path(folder, "model")), Path(folder, "scratch")
        scratch.mkdir()
        key = new_key()
        sign_with_key(model, key, scratch)
        if tampered:
            (model / "config.json").write_text("{}")
        outcome = verify_model(local_files(model), trust=Trust(keys=(public_pem(key),)))
    return {found.rule_id for found in outcome.detections}


def _fetched(*, recovers):
    knowledge = knowing({"roots": ["file:///models"]})
    event = push_event(files=[{"path": "m.gguf", "uri": "file:///models/m.gguf"}])
    request = plan_scan(event, knowledge.policy("tenant-a"))
    fetch = failing_fetch(1 if recovers else 1000, b"GGUF")
    ids = set()
    for _ in range(MAX_ATTEMPTS):
        outcome = asyncio.run(scan_push(request, knowledge, fetch, clean, now_ms=1))
        ids |= {found.rule_id for found in outcome.detections}
        request = outcome.retry or request
    return ids
