"""The rights of a signing key: its actor, its tenants, and the decisions it may make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec

from schemas.cloudevents import first_headers
from schemas.decisions import Decision, DecisionKind
from schemas.signing import SIGNATURE_HEADER, InvalidSignatureError, verify_signature

Publication = Literal["policy", "intel"]
"""The compacted topics whose records can be signed."""
POLICY_TYPE: Final = "tidewatch.policy.v1"
INTEL_TYPE: Final = "tidewatch.intel.v1"
PUBLICATION_TYPES: Final[Mapping[Publication, str]] = {"policy": POLICY_TYPE, "intel": INTEL_TYPE}
"""The signed `ce_type` of each: a signature for one topic does not count for another."""
OPERATOR_TENANT: Final = "operator"
"""The `ce_tenantid` of records for all tenants."""
PUBLICATION_WINDOW: Final = timedelta(hours=1)
"""How far `ce_time` of a policy or fact may be from the broker's time: they are signed when they
are sent, and a replayed old one would undo a newer one."""
SIGNERS_APART: Final = timedelta(minutes=1)
"""How far the clocks of signers may be apart: a policy or fact that was signed longer before the
one in force is a replay of an earlier one."""

_TIMES: Final = msgspec.json.Decoder(datetime)
_WINDOW_MS: Final = PUBLICATION_WINDOW // timedelta(milliseconds=1)
_APART_MS: Final = SIGNERS_APART // timedelta(milliseconds=1)


class NotAuthorisedError(InvalidSignatureError):
    """A record with a valid signature, by a key that may not sign it."""


class KeyBinding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The owner of a signing key, and what it may sign."""

    actor: str
    """Who decides with it; the `actor` of its decisions."""
    tenants: tuple[str, ...] | Literal["*"] = ()
    """The tenants it may decide for. `*`: all, and for the operator."""
    decisions: tuple[DecisionKind, ...] | Literal["*"] = ()
    """The kinds of decision it may make."""
    publishes: tuple[Publication, ...] = ()
    """What it may sign besides decisions: policies of its tenants, intelligence."""
    vouches: bool = False
    """Its owner authenticates people, as the console does: it also decides in their names, each as
    `NAME via ACTOR`."""
    until: datetime | None = None
    """The key counts for records that the broker received before this; None: for all."""


class TrustedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key, and its binding; without one it may sign nothing."""

    pem: bytes
    binding: KeyBinding | None = None


class _Pems(Mapping[str, bytes]):
    """The public keys of a ring, by key id."""

    def __init__(self, ring: Mapping[str, TrustedKey]) -> None:
        self._ring = ring

    def __getitem__(self, kid: str) -> bytes:
        return self._ring[kid].pem

    def __iter__(self) -> Iterator[str]:
        return iter(self._ring)

    def __len__(self) -> int:
        return len(self._ring)


def bound_signer(
    headers: Sequence[tuple[str, bytes]],
    value: bytes,
    ring: Mapping[str, TrustedKey],
    *,
    timestamp_ms: int,
    window: timedelta | None = None,
) -> tuple[str, KeyBinding]:
    """Verify the signature of a record, and return the key's id and binding.

    Args:
        headers: The record's headers.
        value: The record's value; empty for a tombstone.
        ring: The trusted keys, by key id.
        timestamp_ms: The broker's time of the record, milliseconds since the epoch.
        window: How far `ce_time` may be from it; the replay window by default.

    Raises:
        InvalidSignatureError: The signature is missing, wrong or replayed.
        NotAuthorisedError: The key has no binding, or no longer counts.
    """
    times = {} if window is None else {"window": window}
    kid = verify_signature(headers, value, _Pems(ring), timestamp_ms=timestamp_ms, **times)
    binding = ring[kid].binding
    if binding is None:
        raise NotAuthorisedError(
            f"the key {kid} is bound to no actor",
            remedy=f"describe it in {kid}.toml beside its public key",
        )
    until = binding.until
    if until is not None:
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        if datetime.fromtimestamp(timestamp_ms / 1000, UTC) >= until:
            raise NotAuthorisedError(f"the key {kid} has ended", where=until.isoformat())
    return kid, binding


def signed_at(headers: Sequence[tuple[str, bytes]], timestamp_ms: int) -> int:
    """Return when a policy or fact was signed, milliseconds since the epoch.

    Args:
        headers: The record's headers; the signature is verified where one is required.
        timestamp_ms: The broker's time of the record, milliseconds since the epoch.

    Returns:
        Its `ce_time`; 0 if the record is unsigned, or its time is outside the replay window.
    """
    by_name = first_headers(headers)
    if SIGNATURE_HEADER not in by_name:
        return 0
    try:
        time = _TIMES.decode(b'"%s"' % by_name.get("ce_time", b""))
    except msgspec.DecodeError:
        return 0
    signed_ms = round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    return signed_ms if abs(signed_ms - timestamp_ms) <= _WINDOW_MS else 0


def precedes(signed_ms: int, latest_ms: int) -> bool:
    """Return whether something was signed before what is in force: it is a replay.

    Args:
        signed_ms: When it was signed, milliseconds since the epoch; 0: it is unsigned.
        latest_ms: When the latest of the same key was signed; 0: none was.
    """
    return 0 < signed_ms < latest_ms - _APART_MS


def via(actor: str) -> str:
    """Return the suffix for the name of a person on whose behalf another actor decides.

    Args:
        actor: The actor of the key that vouches for them.
    """
    return f" via {actor}"


def authorise_decision(decision: Decision, kid: str, binding: KeyBinding) -> None:
    """Refuse a decision that the key which signed it may not make.

    Args:
        decision: What was signed.
        kid: The key's id.
        binding: The key's binding.

    Raises:
        NotAuthorisedError: It names an actor that is not the key's and that the key does not vouch
        for, or a tenant or kind that is not the key's.
    """
    if decision.actor != binding.actor and not _vouches_for(binding, decision.actor):
        raise NotAuthorisedError(f"the key {kid} is {binding.actor}'s, not {decision.actor[:80]}'s")
    _require_tenant(kid, binding, decision.tenant)
    if binding.decisions != "*" and decision.decision not in binding.decisions:
        raise NotAuthorisedError(f"the key {kid} may not decide {decision.decision}")


def _vouches_for(binding: KeyBinding, actor: str) -> bool:
    """Return whether an actor is a person for whom a key's owner vouches directly."""
    person = actor.removesuffix(via(binding.actor))
    return binding.vouches and person not in {actor, ""} and via("") not in person


def authorise_publication(
    publication: Publication, kid: str, binding: KeyBinding, tenant: str | None
) -> None:
    """Refuse a policy or a fact that the key which signed it may not publish.

    Args:
        publication: What was signed.
        kid: The key's id.
        binding: The key's binding.
        tenant: Whose policy it is; None for what counts for all tenants.

    Raises:
        NotAuthorisedError: The key may not publish these records, or not for this tenant.
    """
    if publication not in binding.publishes:
        raise NotAuthorisedError(f"the key {kid} may not publish {publication}")
    _require_tenant(kid, binding, tenant)


def _require_tenant(kid: str, binding: KeyBinding, tenant: str | None) -> None:
    if binding.tenants == "*" or (tenant is not None and tenant in binding.tenants):
        return
    whom = f"tenant {tenant[:80]}" if tenant is not None else "all tenants"
    raise NotAuthorisedError(f"the key {kid} may not sign for {whom}")
