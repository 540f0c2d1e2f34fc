"""The slow work of a push."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib

import msgspec
import pytest

from agents.checks.artifacts.sandbox.pool import SandboxPool
from agents.checks.provenance.attempts import BACKOFF_MS, MAX_ATTEMPTS
from agents.checks.provenance.planning import plan_scan
from agents.checks.provenance.scan_push import scan_push
from agents.domain.rules import family_rules
from agents.fetching.errors import FetchError, RefusedError
from agents.fetching.fetch_scope import FetchRules, tenant_reach
from agents.fetching.fetcher import Fetcher
from schemas.components import digest_of_files
from schemas.events import File
from schemas.scans import ScanRequest
from schemas.severity import Disposition, Status, Verdict, worst
from tests.agents.checks.provenance.examples import run_example
from tests.agents.checks.provenance.pushes import knowing, push_event
from tests.agents.checks.provenance.scanning import (
    FileResult,
    MemoryFetch,
    MemorySource,
    by_content,
)
from tests.agents.fetching.servers import running

ROOTS = {"roots": ["file:///m", "hf://acme-labs"]}
REV = "9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1"


def sha(raw):
    return hashlib.sha256(raw).hexdigest()


def run(contents, *, fetch=None, policy=None, **data):
    knowledge = knowing({**ROOTS, **(policy or {})})
    files = [{"path": name, "uri": f"file:///m/{name}"} for name in contents]
    event = push_event(**{"files": files, **data})
    request = plan_scan(event, knowledge.policy("tenant-a"))
    fetch = fetch or MemoryFetch({f"file:///m/{name}": raw for name, raw in contents.items()})
    outcome = asyncio.run(scan_push(request, knowledge, fetch, by_content, now_ms=1000))
    return {check.name: check for check in outcome.checks}, outcome


def test_clean_push_passes_once_scanned():
    checks, outcome = run(
        {"m.safetensors": b"fine"}, expected={"hashes": {"m.safetensors": sha(b"fine")}}
    )
    assert checks["scan"].status is Status.PASS
    assert checks["hash_m.safetensors"].status is Status.PASS
    assert outcome.retry is None
    assert {s.component for s in outcome.sightings} >= {f"sha256:{sha(b'fine')}"}
    assert next(s for s in outcome.sightings if s.component.startswith("model:")).digest == sha(
        b"fine"
    )


def test_one_bad_file_never_stops_the_others():
    checks, outcome = run(
        {"a.bin": b"crash", "b.bin": b"evil", "c.bin": b"half", "d.safetensors": b"fine"}
    )
    assert checks["scan"].status is Status.FAIL
    assert checks["scan_a.bin"].status is Status.INCOMPLETE
    assert checks["scan_b.bin"].status is Status.FAIL
    assert (checks["scan_c.bin"].status, checks["scan_c.bin"].detail) == (
        Status.INCOMPLETE,
        "too deep",
    )
    assert "scan_d.safetensors" not in checks
    assert outcome.retry is None


def test_file_whose_server_breaks_its_reader_never_stops_the_others():
    class Breaking(MemoryFetch):
        def open(self, uri):
            if uri.endswith("a.bin"):
                raise ValueError("what no reader of an answer foresaw")
            return super().open(uri)

    checks, outcome = run(
        {"a.bin": b"", "b.bin": b"evil"}, fetch=Breaking({"file:///m/b.bin": b"evil"})
    )
    assert checks["scan_a.bin"].status is Status.INCOMPLETE
    assert checks["scan_b.bin"].status is Status.FAIL
    assert any(detection.description == "evil" for detection in outcome.detections)


def test_finding_of_a_malicious_file_is_bound_to_its_digest_and_may_be_blocked():
    _, outcome = run({"b.bin": b"evil"})
    detection = next(d for d in outcome.detections if d.description == "evil")
    assert detection.indicator.key == f"sha256:{sha(b'evil')}"
    assert detection.indicator.disposition is Disposition.BLOCK
    assert detection.evidence == {"file": "b.bin", "sha256": sha(b"evil"), "sole_file": True}


@pytest.mark.parametrize("served", [b"evil", b"fine"])
def test_a_registry_that_serves_other_bytes_than_the_manifest_names_taints_no_tree(served):
    pinned = "d" * 64
    where = f"oci://registry.example/acme/model@sha256:{sha(b'fine')}#blob"
    listing = (File(path="weights.bin", uri=where, digests={"sha256": sha(b"fine")}),)
    knowledge = knowing({"roots": ["oci://registry.example/"]})
    event = push_event(
        registry="registry.example", repository="acme/model", revision=f"sha256:{pinned}", files=[]
    )
    request = plan_scan(event, knowledge.policy("tenant-a"))
    fetch = MemoryFetch({where: served}, listing=listing)
    outcome = asyncio.run(scan_push(request, knowledge, fetch, by_content, now_ms=1000))
    (part,) = [
        sighting for sighting in outcome.sightings if sighting.component.startswith("sha256:")
    ]
    assert part.digest == sha(served)
    assert part.tree == (f"tree:{pinned}" if served == b"fine" else "")
    # what was assessed is known by the manifest's digest only if all that it names was read
    read = {f"oci://registry.example/acme/model@sha256:{pinned}", f"sha256:{sha(served)}"}
    whole = {f"oci:sha256:{pinned}"} if served == b"fine" else set()
    assert set(outcome.contents) == read | whole


def test_contents_list_what_was_read_not_what_was_claimed():
    claimed = {"path": "far.bin", "digests": {"sha256": "e" * 64}}
    files = [{"path": "a.bin", "uri": "file:///m/a.bin"}, claimed]
    _, outcome = run({"a.bin": b"fine"}, files=files)
    assert outcome.contents == (f"sha256:{sha(b'fine')}",)
    both = {"a.bin": b"fine", "b.bin": b"also"}
    _, outcome = run(both)
    tree = digest_of_files({name: sha(raw) for name, raw in both.items()})
    assert outcome.contents == (
        f"tree:{tree}",
        f"sha256:{sha(b'fine')}",
        f"sha256:{sha(b'also')}",
    )


@pytest.mark.parametrize(
    ("kind", "verified"), [("model", True), ("dataset", True), ("image", False), ("package", False)]
)
def test_findings_in_images_and_packages_stay_with_their_tenant(kind, verified):
    _, outcome = run({"b.bin": b"evil"}, kind=kind)
    (found,) = [detection for detection in outcome.detections if detection.description == "evil"]
    assert (found.basis is not None) is verified
    assert found.indicator.key == f"sha256:{sha(b'evil')}"


def test_suppressed_finding_on_bytes_is_withheld():
    rule = run({"b.bin": b"evil"})[1].detections
    (bound,) = [detection for detection in rule if detection.description == "evil"]
    for by in ({"rule_id": bound.rule_id}, {"path": "b.*"}, {"digest": sha(b"evil")}):
        entry = {"reason": "known", "expires": "2999-01-01", **by}
        checks, outcome = run({"b.bin": b"evil"}, policy={"suppressions": [entry]})
        assert "evil" not in {detection.description for detection in outcome.detections}
        assert outcome.withheld == (bound,)
        assert outcome.outcome.withheld == (bound,)
        assert checks["scan"].status is Status.FAIL
    assert run({"b.bin": b"evil"})[1].withheld == ()


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ("TW-PICKLE-UNLISTED-CLASS", Status.WARN),
        ("TW-PROV-HASH-MISMATCH", Status.INCOMPLETE),
        (None, Status.INCOMPLETE),
    ],
)
def test_unsupported_class_is_incomplete_unless_the_policy_accepts_it(rule, status):
    entry = {"rule_id": rule, "reason": "ours", "expires": "2999-01-01"}
    policy = {"suppressions": [entry]} if rule else {}
    checks, outcome = run({"b.bin": b"unread"}, policy=policy)
    assert checks["scan"].status is checks["scan_b.bin"].status is status
    reported = {detection.description for detection in outcome.detections}
    assert ("unread" in reported) is (status is Status.INCOMPLETE)


def test_bytes_that_are_not_what_the_event_declares_fail():
    files = [
        {
            "path": "m.safetensors",
            "uri": "file:///m/m.safetensors",
            "size": 4,
            "digests": {"sha256": "0" * 64},
        }
    ]
    checks, outcome = run({"m.safetensors": b"fine"}, files=files)
    assert checks["hash_m.safetensors"].status is Status.FAIL
    assert "TW-PROV-HASH-MISMATCH" in {d.rule_id for d in outcome.detections}


def test_unavailable_file_is_incomplete_and_retried():
    fetch = MemoryFetch({"file:///m/a.gguf": b"fine"})
    checks, outcome = run({"a.gguf": b"fine", "b.gguf": b"gone"}, fetch=fetch)
    assert checks["scan"].status is Status.INCOMPLETE
    assert checks["scan_b.gguf"].status is Status.INCOMPLETE
    assert outcome.retry.attempt == 2
    assert outcome.retry.not_before_ms == 1000 + BACKOFF_MS[0]
    assert "TW-PROV-NOT-ANALYSED" not in {d.rule_id for d in outcome.detections}
    assert (
        msgspec.json.decode(msgspec.json.encode(outcome.retry), type=ScanRequest) == outcome.retry
    )


def test_a_push_that_takes_too_long_in_all_is_read_no_further_and_says_so():
    now = [0.0]
    files = [{"path": f"{name}.gguf", "uri": f"file:///m/{name}.gguf"} for name in "abcdefghijkl"]
    stored = MemoryFetch({f"file:///m/{name}.gguf": b"fine" for name in "abcdefghijkl"})

    async def an_hour(path, source, siblings):
        now[0] += 3600
        return await by_content(path, source, siblings)

    knowledge = knowing(ROOTS)
    request = plan_scan(push_event(files=files), knowledge.policy("tenant-a"))
    outcome = asyncio.run(
        scan_push(request, knowledge, stored, an_hour, now_ms=1, clock=lambda: now[0])
    )
    assert outcome.retry is None
    scans = {check.name: check for check in outcome.checks if check.name.startswith("scan")}
    assert worst(check.status for check in scans.values()) is Status.INCOMPLETE
    assert "the push took longer than 6 hours" in str(scans)


def test_last_attempt_is_final():
    knowledge = knowing(ROOTS)
    event = push_event(files=[{"path": "a.gguf", "uri": "file:///m/a.gguf"}])
    request = plan_scan(event, knowledge.policy("tenant-a"))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        outcome = asyncio.run(scan_push(request, knowledge, MemoryFetch({}), by_content, now_ms=1))
        assert worst(c.status for c in outcome.checks) is Status.INCOMPLETE
        assert (outcome.retry is None) is (attempt == MAX_ATTEMPTS)
        request = outcome.retry
    assert "TW-PROV-NOT-ANALYSED" in {d.rule_id for d in outcome.detections}


def test_location_outside_the_fetch_scope_is_incomplete_and_not_retried():
    class Refusing(MemoryFetch):
        def open(self, uri):
            raise RefusedError("outside", where=uri)

    checks, outcome = run({"a.gguf": b"x"}, fetch=Refusing({}))
    assert checks["scan_a.gguf"].status is Status.INCOMPLETE
    assert outcome.retry is None


def test_push_without_files_is_scanned_by_the_listing_of_its_revision():
    uri = f"hf://acme-labs/m@{REV}"
    fetch = MemoryFetch(
        {f"{uri}/m.safetensors": b"fine"},
        listing=(File(path="m.safetensors", uri=f"{uri}/m.safetensors", size=4),),
    )
    checks, _ = run({}, fetch=fetch, files=[], revision=REV)
    assert checks["scan"].status is Status.PASS
    checks, outcome = run({}, fetch=MemoryFetch({}, failures=1), files=[], revision=REV)
    assert checks["scan"].status is Status.INCOMPLETE
    assert outcome.retry.listing == uri


def test_unsigned_model_fails_where_the_policy_requires_a_signature():
    checks, outcome = run({"m.safetensors": b"fine"}, policy={"required_checks": ["signature"]})
    assert checks["signature"].status is Status.FAIL
    assert "TW-PROV-SIGNATURE-ABSENT" in {d.rule_id for d in outcome.detections}


def test_signature_that_can_not_be_fetched_is_incomplete():
    checks, _ = run(
        {"m.safetensors": b"fine"},
        signatures=[{"kind": "model-signing", "uri": "file:///m/gone.sig"}],
    )
    assert checks["signature"].status is Status.INCOMPLETE


def test_read_that_fails_underway_is_tried_again_and_keeps_what_was_found():
    class Breaking(MemorySource):
        def read(self, offset, length):
            raise FetchError("cut", where=f"{offset}+{length}")

    class Cut(MemoryFetch):
        def open(self, uri):
            return Breaking(self.files[uri])

    async def swallows(path, source, siblings):
        del path, siblings
        with contextlib.suppress(FetchError):
            source.read(0, 10)
        return FileResult(verdict=Verdict.INCOMPLETE, reasons=("a read failed",))

    knowledge = knowing(ROOTS)
    event = push_event(files=[{"path": "a.bin", "uri": "file:///m/a.bin"}])
    request = plan_scan(event, knowledge.policy("tenant-a"))
    fetch = Cut({"file:///m/a.bin": b"x"})
    outcome = asyncio.run(scan_push(request, knowledge, fetch, swallows, now_ms=1))
    assert outcome.retry is not None
    assert next(c for c in outcome.checks if c.name == "scan").status is Status.INCOMPLETE


def test_real_sandbox_reads_a_real_server_and_binds_the_finding():
    payload = b"cposix\nsystem\n(S'id'\ntR."
    with running() as server, SandboxPool(1) as pool:
        root = f"http://{server.host}/m"
        server.serve("/m/evil.pkl", payload)
        server.serve("/m/ok.json", b"{}")
        knowledge = knowing({"roots": [root]})
        files = [{"path": n, "uri": f"{root}/{n}"} for n in ("evil.pkl", "ok.json", "absent.bin")]
        request = plan_scan(push_event(files=files), knowledge.policy("tenant-a"))
        rules = FetchRules(
            schemes=frozenset({"http"}), private_hosts=("127.0.0.1",), backoff_seconds=0.001
        )
        with Fetcher(tenant_reach(knowledge.policy("tenant-a"), rules, {})) as fetch:
            outcome = asyncio.run(scan_push(request, knowledge, fetch, pool.scan, now_ms=1))
    checks = {check.name: check.status for check in outcome.checks}
    assert checks["scan"] is Status.FAIL
    assert checks["scan_absent.bin"] is Status.INCOMPLETE
    found = [d for d in outcome.detections if d.indicator and d.indicator.value == sha(payload)]
    assert {d.indicator.disposition for d in found} >= {Disposition.BLOCK}
    assert outcome.retry is not None


def test_the_same_request_gives_the_same_outcome():
    first = run({"a.bin": b"evil", "b.bin": b"half"})[1]
    second = run({"a.bin": b"evil", "b.bin": b"half"})[1]
    assert first == second


@pytest.mark.parametrize("rule_id", ["TW-PROV-SIGNATURE-INVALID", "TW-PROV-NOT-ANALYSED"])
def test_rules_of_bytes_meet_their_examples(rule_id):
    examples = family_rules("provenance")[rule_id].examples
    assert all(rule_id in run_example(example.given) for example in examples.hit)
    assert all(rule_id not in run_example(example.given) for example in examples.miss)


def test_card_of_the_repository_says_what_the_model_was_made_from():
    readme = b"---\nlicense: mit\nbase_model: meta-llama/Llama-2-7b-hf\n---\n"
    checks, outcome = run({"README.md": readme, "m.safetensors": b"x"})
    assert checks["card_license"].status is Status.WARN
    model = next(s for s in outcome.sightings if s.component.startswith("model:"))
    assert model.made_from == ("model:huggingface/meta-llama/Llama-2-7b-hf",)
