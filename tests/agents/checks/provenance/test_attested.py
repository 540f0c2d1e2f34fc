"""Signatures attest only components that their trust root is authorised for."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import msgspec
import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from agents.checks.provenance import attested
from agents.checks.provenance.planning import plan_scan
from agents.checks.provenance.scan_push import scan_push
from agents.checks.provenance.signatures import Trust
from agents.checks.provenance.statements import named, read_statement, verify_statement
from agents.domain.knowledge import MemoryKnowledge
from schemas.basis import BasisKind
from schemas.components import digest_of_files
from schemas.policy import Internal, Policy, TrustRoot, default_policy
from schemas.severity import Status
from tests.agents.checks.provenance.pushes import push_event
from tests.agents.checks.provenance.scanning import MemoryFetch, by_content
from tests.agents.checks.provenance.signing import new_key, public_pem
from tests.agents.triage.flow import Flow
from tests.agents.triage.stories import finding, held
from tests.each import each

NAME = "model:huggingface/acme-labs/m"
PUBLISHER = "publisher:huggingface/acme-labs"
MINE = ("model:huggingface/acme-labs/*", PUBLISHER)
BASE = "1" * 64
KEY = new_key()
PEM = public_pem(KEY)
FILES = {"a.bin": b"evil", "b.safetensors": b"fine"}
DIGESTS = {path: hashlib.sha256(raw).hexdigest() for path, raw in FILES.items()}
BUNDLE = "made.sigstore.json"


def statement(subjects=None, materials=None, kind="https://slsa.dev/provenance/v1"):
    """Return a statement that the files were made from the base."""
    subjects = DIGESTS if subjects is None else subjects
    materials = [{"digest": {"sha256": BASE}}] if materials is None else materials
    predicate = (
        {"buildDefinition": {"resolvedDependencies": materials}}
        if kind.endswith("v1")
        else {"materials": materials}
    )
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()
        ],
        "predicateType": kind,
        "predicate": predicate,
    }


def bundle(said, key=KEY, kind="application/vnd.in-toto+json"):
    """Return a Sigstore bundle of a statement, signed with a key."""
    payload = orjson.dumps(said)
    signed = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    if isinstance(key, ed25519.Ed25519PrivateKey):
        raw = key.sign(signed)
    else:
        raw = key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return orjson.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": ""}},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": kind,
                "signatures": [{"sig": base64.b64encode(raw).decode()}],
            },
        }
    )


def pushed(raw, *, operators=(), tenants=None, policy=None, files=FILES, **data):
    """Return what a push of files with a bundle beside them says."""
    knowledge = MemoryKnowledge([TrustRoot(signer=PEM, namespaces=names) for names in operators])
    contents = {**files, BUNDLE: raw}
    own = msgspec.structs.replace(default_policy("tenant-a"), roots=("file:///m",))
    knowledge.set_policy("tenant-a", policy or own)
    for tenant, names in (tenants or {}).items():
        of_tenant = own if tenant == "tenant-a" else default_policy(tenant)
        roots = (TrustRoot(signer=PEM, namespaces=names),)
        knowledge.set_policy(tenant, msgspec.structs.replace(of_tenant, trust_roots=roots))
    event = push_event(
        files=[{"path": name, "uri": f"file:///m/{name}"} for name in contents],
        **{"revision": "v1", "publisher": {"name": "acme-labs"}, **data},
    )
    event = msgspec.structs.replace(event, position=(1, "events", 0, 1))
    request = plan_scan(event, knowledge.policy("tenant-a"))
    fetch = MemoryFetch({f"file:///m/{name}": raw for name, raw in contents.items()})
    return asyncio.run(scan_push(request, knowledge, fetch, by_content, now_ms=1))


def lineage(outcome):
    return [
        (sighting.component, sighting.made_from, [(by.kind, by.tenant) for by in sighting.attested])
        for sighting in outcome.sightings
        if sighting.attested
    ]


def whole(raw):
    return digest_of_files({**DIGESTS, BUNDLE: hashlib.sha256(raw).hexdigest()})


def test_lineage_signed_under_the_operators_trust_root_is_attested():
    raw = bundle(statement())
    outcome = pushed(raw, operators=[MINE])
    assert lineage(outcome) == [(NAME, (f"sha256:{BASE}",), [(BasisKind.ATTESTED, "")])]
    (one,) = [sighting for sighting in outcome.sightings if sighting.attested]
    assert one.digest == whole(raw)
    checks = {check.name: check for check in outcome.checks}
    assert checks[f"provenance_{BUNDLE}"].status is Status.PASS
    assert checks["signature"].detail == "unsigned"


def test_each_tenants_trust_root_counts_for_that_tenant():
    outcome = pushed(bundle(statement()), tenants={"b": MINE, "c": MINE, "d": ("pypi:torch",)})
    assert lineage(outcome) == [
        (NAME, (f"sha256:{BASE}",), [(BasisKind.ATTESTED, "b"), (BasisKind.ATTESTED, "c")])
    ]


@pytest.mark.parametrize(
    "names",
    [("model:huggingface/other/*",), ("model:huggingface/acme-labs",), (PUBLISHER,), ()],
)
def test_an_identity_speaks_of_its_namespace_alone(names):
    assert not lineage(pushed(bundle(statement()), operators=[names]))


@pytest.mark.parametrize("key", [new_key(), ed25519.Ed25519PrivateKey.generate()])
def test_signature_of_an_unauthorised_signer_establishes_nothing(key):
    """Nor does the key of a tenant that has signing keys, but no trust root."""
    outcome = pushed(bundle(statement(), key), operators=[MINE])
    assert not lineage(outcome)
    check = {check.name: check for check in outcome.checks}[f"provenance_{BUNDLE}"]
    assert check.status is Status.WARN
    assert "TW-PROV-SIGNATURE-INVALID" not in {
        detection.rule_id for detection in outcome.detections
    }
    policy = Policy(tenant="tenant-a", roots=("file:///m",), signing_keys=(PEM,))
    assert not lineage(pushed(bundle(statement()), policy=policy))


def test_a_statement_about_other_files_says_nothing_of_these():
    said = statement({"x": "9" * 64})
    outcome = pushed(bundle(said), operators=[MINE])
    assert not lineage(outcome)
    assert not any(sighting.bound_by for sighting in outcome.sightings)


def test_a_statement_with_another_payload_than_was_signed_is_refused():
    raw = orjson.loads(bundle(statement()))
    raw["dsseEnvelope"]["payload"] = base64.b64encode(orjson.dumps(statement({}))).decode()
    with pytest.raises(ValueError, match="does not verify"):
        verify_statement(orjson.dumps(raw), Trust(keys=(PEM,)))
    other = orjson.loads(bundle(statement()))
    other["dsseEnvelope"]["payloadType"] = "text/plain"
    with pytest.raises(ValueError, match="does not verify"):
        verify_statement(orjson.dumps(other), Trust(keys=(PEM,)))


def test_what_was_signed_as_something_else_is_no_statement():
    with pytest.raises(ValueError, match="not over a statement"):
        verify_statement(bundle(statement(), kind="text/plain"), Trust(keys=(PEM,)))


@pytest.mark.parametrize(
    ("whole", "pinned", "lineages"),
    [("9" * 64, False, 1), ("9" * 64, True, 0), (None, False, 0), (DIGESTS["a.bin"], True, 1)],
)
def test_a_statement_about_a_file_is_about_the_whole_only_if_the_whole_proves_its_files(
    whole, pinned, lineages
):
    """A manifest may name other files; without the digests of all there is no whole."""
    knowledge = MemoryKnowledge([TrustRoot(signer=PEM, namespaces=MINE)])
    claims = attested.Pushed(
        component=NAME, version="v1", digests=DIGESTS, whole=whole, pinned=pinned
    )
    said = statement({"a.bin": DIGESTS["a.bin"]})
    found = attested.attest(claims, None, {BUNDLE: bundle(said)}, knowledge.signers(NAME))
    assert len(found.lineage) == lineages


def test_a_key_of_another_kind_signs_statements_too():
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = verify_statement(bundle(statement(), key), Trust(keys=(pem.decode(),)))
    assert signed.statement.materials == (f"sha256:{BASE}",)


@pytest.mark.parametrize("name", ["pkg:huggingface/acme-labs/m@v1", f"{NAME}@v1"])
def test_a_version_is_bound_where_the_signature_names_it_with_the_digest_of_the_whole(name):
    files = {"a.bin": b"evil"}
    said = statement({name: DIGESTS["a.bin"], "a": "0" * 64})
    signature = {"kind": "sigstore", "uri": "file:///m/made.sigstore.json"}
    knowledge = MemoryKnowledge([TrustRoot(signer=PEM, namespaces=MINE)])
    knowledge.set_policy("tenant-a", Policy(tenant="tenant-a", roots=("file:///m",)))
    for version, binds in (("v1", True), ("v2", False)):
        event = push_event(
            files=[{"path": "a.bin", "uri": "file:///m/a.bin"}],
            signatures=[signature],
            revision=version,
        )
        fetch = MemoryFetch({"file:///m/a.bin": files["a.bin"], signature["uri"]: bundle(said)})
        request = plan_scan(event, knowledge.policy("tenant-a"))
        outcome = asyncio.run(scan_push(request, knowledge, fetch, by_content, now_ms=1))
        bound = {sighting.component for sighting in outcome.sightings if sighting.bound_by}
        assert (f"sha256:{DIGESTS['a.bin']}" in bound) is binds


def test_signer_authorised_for_the_publisher_attests_it():
    raw = bundle(statement())
    (found,) = [
        detection
        for detection in pushed(raw, operators=[MINE]).detections
        if detection.description == "evil"
    ]
    assert [by.kind for by in found.publisher_attested] == [BasisKind.ATTESTED]
    for names in (("model:huggingface/acme-labs/*",), ()):
        for of_file in pushed(raw, operators=[names]).detections:
            assert not of_file.publisher_attested


def test_a_hostile_file_that_is_laid_beside_signed_ones_is_not_the_publishers():
    said = statement({"b": DIGESTS["b.safetensors"]})
    outcome = pushed(bundle(said), operators=[MINE])
    (found,) = [detection for detection in outcome.detections if detection.description == "evil"]
    assert not found.publisher_attested


def test_oversized_or_excess_bundle_establishes_nothing(monkeypatch):
    raw = bundle(statement())
    monkeypatch.setattr(attested, "BUNDLE_BYTES", len(raw) - 1)
    assert not lineage(pushed(raw, operators=[MINE]))
    monkeypatch.undo()
    monkeypatch.setattr(attested, "BUNDLES", 1)
    assert lineage(pushed(raw, operators=[MINE]))
    assert not lineage(pushed(raw, operators=[MINE], files={**FILES, "a.sig": b"{}"}))


def test_no_trust_root_of_a_tenant_speaks_of_anothers_private_names():
    everything = ("model:*", "publisher:*", "model:@tenant-a/*")
    outcome = pushed(
        bundle(statement()),
        tenants={"mallory": everything},
        policy=Policy(
            tenant="tenant-a",
            roots=("file:///m",),
            internal=Internal(registries=("huggingface",)),
        ),
    )
    assert {
        sighting.component
        for sighting in outcome.sightings
        if sighting.component.startswith("model:")
    } == {"model:@tenant-a/huggingface/acme-labs/m"}
    assert not lineage(outcome)


@pytest.mark.parametrize("late", [False, True])
def test_intelligence_on_what_a_model_was_made_from_reaches_all_who_hold_it(late):
    raw = bundle(statement())
    outcome = pushed(raw, operators=[MINE])
    flow = Flow()
    holders = held(NAME, "b", "gpu", 5, version="v1", digest=whole(raw))
    other = held("model:huggingface/globex/m", "c", "gpu", 5, version="v1", digest=whole(raw))
    bad = finding("malicious_payload", "lab", "model:hub/base", digest=BASE)
    if late:
        flow.saw(*holders, *other)
        flow.found(bad)
    flow.saw(*outcome.sightings)
    if not late:
        flow.found(bad)
        flow.saw(*holders, *other)
    assert flow.alerts_of("b")
    assert not flow.alerts_of("c"), "the signer may not speak of what others call the same bytes"


def test_attestation_ends_with_its_trust_root_or_namespace():
    raw = bundle(statement())
    wide = ("model:huggingface/*", *MINE)
    flow = Flow()
    flow.saw(*held(NAME, "b", "gpu", 5, version="v1", digest=whole(raw)))
    flow.found(finding("malicious_payload", "lab", "model:hub/base", digest=BASE))

    def alerts():
        flow.tick(minutes=6)
        return [view for view in flow.alerts_of("b") if view.status != "withdrawn"]

    flow.trusts = MemoryKnowledge([TrustRoot(signer=PEM, namespaces=MINE)]).trusts
    flow.saw(*pushed(raw, operators=[MINE]).sightings)
    assert alerts()
    # Another namespace beside it changes nothing.
    flow.trusts = MemoryKnowledge([TrustRoot(signer=f"{PEM}\n", namespaces=wide)]).trusts
    assert alerts()
    flow.trusts = MemoryKnowledge([TrustRoot(signer=PEM, namespaces=wide[:1])]).trusts
    assert not alerts()
    flow.saw(*pushed(raw, operators=[wide[:1]]).sightings)
    assert alerts(), "the same push, seen again under the namespace that is left"
    knowledge = MemoryKnowledge()
    flow.trusts = knowledge.trusts
    assert not alerts()
    roots = (TrustRoot(signer=PEM, namespaces=MINE),)
    knowledge.set_policy("b", msgspec.structs.replace(default_policy("b"), trust_roots=roots))
    assert not alerts(), "a tenant's trust root is another one than the operator's"
    flow.saw(*pushed(raw, tenants={"b": MINE}).sightings)
    assert alerts()
    knowledge.set_policy("b", None)
    assert not alerts()


# -- reading ---------------------------------------------------------------------------------------


def test_materials_are_digests_and_public_names_with_their_versions():
    said = statement(
        materials=[
            {"uri": "pkg:pypi/Torch@2.1.0", "digest": {"sha256": "A" * 64}},
            {"uri": "pkg:huggingface/bigorg/base@abc"},
            {"name": "model:@globex/secret@1", "digest": {"sha256": "b" * 64}},
            {"uri": "git+https://forge.example/x", "digest": {"gitCommit": "c" * 40}},
            {"uri": "pkg:npm/x@1"},
            {"uri": "pkg:::", "digest": None},
        ]
    )
    assert read_statement(orjson.dumps(said)).materials == (
        f"sha256:{'a' * 64}",
        "pypi:torch@2.1.0",
        f"pypi:torch@sha256:{'a' * 64}",
        "model:huggingface/bigorg/base@abc",
        f"sha256:{'b' * 64}",
    )
    old = statement(kind="https://slsa.dev/provenance/v0.2")
    assert read_statement(orjson.dumps(old)).materials == (f"sha256:{BASE}",)


@each(
    "said",
    [
        b"[]",
        b"{}",
        b"not json",
        orjson.dumps({**statement(), "subject": 7}),
        orjson.dumps({**statement(), "subject": [{"digest": 1}]}),
        orjson.dumps({**statement(), "predicate": {"buildDefinition": []}}),
        orjson.dumps({**statement(), "predicateType": "https://other.example"}),
        orjson.dumps(statement(materials=[[]])),
    ],
)
def test_malformed_statement_is_refused(said):
    with pytest.raises(ValueError, match=r"statement|JSON|character|literal"):
        read_statement(said)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("model:hub/x", ("model:hub/x", None)),
        ("model:hub/x@v1", ("model:hub/x", "v1")),
        ("pkg:pypi/a_b@1", ("pypi:a-b", "1")),
        ("https://x.example/a@b", (None, None)),
        ("", (None, None)),
    ],
)
def test_statement_names_map_to_components(text, read):
    assert named(text) == read
