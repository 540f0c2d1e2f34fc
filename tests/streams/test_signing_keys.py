"""Keys in the state folder: made once, private, and trusted for what they are for."""

from __future__ import annotations

import stat

import pytest

from schemas.signing import new_signing_key
from streams.signing_keys import (
    RESPONDER,
    KeyFileError,
    load_or_create_signing_key,
    load_ring,
    responder_ring,
    trusted_dir,
)


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path):
    first = load_or_create_signing_key(tmp_path, "commands")
    again = load_or_create_signing_key(tmp_path, "commands")
    assert first.pem == again.pem
    private = tmp_path / "private" / "commands.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert load_ring(trusted_dir(tmp_path, "commands")) == {"commands": first.public_pem()}


def test_a_folder_that_is_not_there_trusts_nobody(tmp_path):
    assert load_ring(tmp_path / "missing") == {}


def test_a_tenants_own_responder_answers_for_that_tenant_alone(tmp_path):
    operator = load_or_create_signing_key(tmp_path, RESPONDER)
    own = new_signing_key("acme-1")
    folder = trusted_dir(tmp_path, RESPONDER) / "acme"
    folder.mkdir()
    (folder / "acme-1.pem").write_bytes(own.public_pem())
    assert set(responder_ring(tmp_path, "acme")) == {operator.kid, "acme-1"}
    assert set(responder_ring(tmp_path, "globex")) == {operator.kid}


def test_a_tenants_key_cannot_take_the_operators_name(tmp_path):
    operator = load_or_create_signing_key(tmp_path, RESPONDER)
    folder = trusted_dir(tmp_path, RESPONDER) / "acme"
    folder.mkdir()
    (folder / f"{operator.kid}.pem").write_bytes(new_signing_key("x").public_pem())
    assert responder_ring(tmp_path, "acme")[operator.kid] == operator.public_pem()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(KeyFileError, match="file"):
        load_or_create_signing_key(blocked, "commands")
