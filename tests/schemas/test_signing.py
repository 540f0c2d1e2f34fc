"""Signed records: forged, altered and replayed ones are refused; vectors pin the signed bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cloudevents import binary_headers
from schemas.signing import (
    InvalidSignatureError,
    SigningKey,
    new_signing_key,
    signed_bytes,
    verify_signature,
)

TIME = datetime(2026, 11, 20, 8, 15, 30, 120_000, tzinfo=UTC)
NOW_MS = int(TIME.timestamp() * 1000)
VECTOR_KEY = SigningKey(
    kid="vector",
    pem=b"-----BEGIN PRIVATE KEY-----\n"
    b"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
    b"-----END PRIVATE KEY-----\n",
)
"""The private key of RFC 8032, test 1."""


def record(value=b'{"action":"contain"}'):
    headers = binary_headers(
        id="cmd-1",
        type="tidewatch.containment.command.v1",
        source="//tidewatch/incidents",
        time=TIME,
        tenant="tenant-a",
    )
    return headers, value


def test_the_signed_bytes_and_the_signature_are_those_of_the_contract():
    headers, value = record()
    assert signed_bytes(headers, value) == (
        b"\x00\x00\x00\x05cmd-1"
        b"\x00\x00\x00\x20tidewatch.containment.command.v1"
        b"\x00\x00\x00\x08tenant-a"
        b"\x00\x00\x00\x182026-11-20T08:15:30.120Z"
        b'\x00\x00\x00\x14{"action":"contain"}'
    )
    assert VECTOR_KEY.sign(headers, value)[1] == (
        b"ed25519;kid=vector;"
        b"5OO4h/b2IcHlGF4nCH8DI3c8zlaIyDhOOT919RbOsV3c"
        b"0vKkxWYB2dZqQrDMe6LSE6eO6BNCTEpaWSrBP24XBQ=="
    )


def test_a_signed_record_verifies_and_names_its_key():
    headers, value = record()
    signed = (*headers, VECTOR_KEY.sign(headers, value))
    ring = {"vector": VECTOR_KEY.public_pem()}
    assert verify_signature(signed, value, ring, timestamp_ms=NOW_MS) == "vector"


@given(st.integers(min_value=0, max_value=19), st.integers(min_value=1, max_value=255))
def test_any_changed_byte_is_refused(position, mask):
    headers, value = record()
    signed = (*headers, VECTOR_KEY.sign(headers, value))
    forged = bytearray(value)
    forged[position] ^= mask
    with pytest.raises(InvalidSignatureError):
        verify_signature(
            signed, bytes(forged), {"vector": VECTOR_KEY.public_pem()}, timestamp_ms=NOW_MS
        )


@pytest.mark.parametrize("name", ["ce_id", "ce_type", "ce_tenantid", "ce_time"])
def test_any_changed_signed_header_is_refused(name):
    headers, value = record()
    signed = (*headers, VECTOR_KEY.sign(headers, value))
    forged = [(key, raw[:-1] + b"x" if key == name else raw) for key, raw in signed]
    with pytest.raises(InvalidSignatureError):
        verify_signature(forged, value, {"vector": VECTOR_KEY.public_pem()}, timestamp_ms=NOW_MS)


def test_another_key_under_the_same_id_is_refused():
    headers, value = record()
    other = new_signing_key("vector")
    signed = (*headers, other.sign(headers, value))
    with pytest.raises(InvalidSignatureError):
        verify_signature(signed, value, {"vector": VECTOR_KEY.public_pem()}, timestamp_ms=NOW_MS)


def test_after_rotation_both_keys_are_trusted_until_the_old_one_is_retired():
    headers, value = record()
    new = new_signing_key("2026-12")
    ring = {"vector": VECTOR_KEY.public_pem(), "2026-12": new.public_pem()}
    for key in (VECTOR_KEY, new):
        signed = (*headers, key.sign(headers, value))
        assert verify_signature(signed, value, ring, timestamp_ms=NOW_MS) == key.kid
    del ring["vector"]
    with pytest.raises(InvalidSignatureError, match="not trusted"):
        verify_signature(
            (*headers, VECTOR_KEY.sign(headers, value)), value, ring, timestamp_ms=NOW_MS
        )


def test_a_replay_outside_the_window_is_refused():
    headers, value = record()
    signed = (*headers, VECTOR_KEY.sign(headers, value))
    late = NOW_MS + int(timedelta(days=8).total_seconds() * 1000)
    with pytest.raises(InvalidSignatureError, match="replay"):
        verify_signature(signed, value, {"vector": VECTOR_KEY.public_pem()}, timestamp_ms=late)


def test_a_key_never_shows_its_secret():
    assert "PRIVATE" not in repr(VECTOR_KEY)
