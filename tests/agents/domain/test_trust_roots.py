"""Ids of trust roots, and which are in force."""

from __future__ import annotations

import msgspec

from agents.domain.knowledge import MemoryKnowledge
from agents.domain.trust_roots import AuthorisedRoot, root_id, root_ids
from schemas.policy import TrustRoot, default_policy

ACME = TrustRoot(signer="sigstore:a@acme.example https://accounts.acme.example",
                 namespaces=("model:hub/acme/*", "model:hub/*"))  # fmt: skip


def with_roots(tenant, *roots):
    return msgspec.structs.replace(default_policy(tenant), trust_roots=roots)


def test_id_derives_from_signer_namespace_and_owner():
    ids = {
        root_id("x", "model:a/*"),
        root_id("y", "model:a/*"),
        root_id("x", "model:b/*"),
        root_id("x", "model:a/*", "t"),
        root_id("x", "model:a/*", "u"),
    }
    assert len(ids) == 5
    assert root_id(" x\n", "model:a/*") == root_id("x", "model:a/*")


def test_each_namespace_that_covers_a_component_is_a_trust_root():
    asked = MemoryKnowledge([ACME]).signers("model:hub/acme/m")
    assert [request.root for request in asked] == [
        root_id(ACME.signer, name) for name in ACME.namespaces
    ]
    assert [signer.root for signer in MemoryKnowledge([ACME]).signers("model:hub/b/m")] == [
        root_id(ACME.signer, "model:hub/*")
    ]


def test_trust_roots_are_in_force_until_removed():
    knowledge = MemoryKnowledge([ACME])
    ours, theirs = root_ids([ACME]), root_ids([ACME], "b")
    assert all(map(knowledge.trusts, ours))
    assert not any(map(knowledge.trusts, theirs))
    knowledge.set_policy("b", with_roots("b", ACME))
    assert all(map(knowledge.trusts, ours | theirs))
    knowledge.set_policy("b", with_roots("b", msgspec.structs.replace(ACME, namespaces=())))
    assert not any(map(knowledge.trusts, theirs))
    knowledge.set_policy("b", with_roots("b", ACME))
    knowledge.set_policy("b", None)
    assert not any(map(knowledge.trusts, theirs))
    assert all(map(knowledge.trusts, ours))


def test_no_policy_speaks_for_the_operator():
    knowledge = MemoryKnowledge()
    knowledge.set_policy("", with_roots("", ACME))
    assert knowledge.signers("model:hub/acme/m") == ()
    assert not any(map(knowledge.trusts, root_ids([ACME])))


def test_a_signer_is_the_same_for_one_owner():
    one = AuthorisedRoot(signer="x", tenant="b", root="1")
    assert one.is_same(AuthorisedRoot(signer="x", tenant="b", root="2"))
    assert not one.is_same(AuthorisedRoot(signer="x", root="1"))
