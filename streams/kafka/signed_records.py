"""Signs published policies and facts, and refuses records without an authorised signature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agents.ports import Headers, Record
from schemas import dead_letters as reasons
from schemas.canonical import stable_hash
from schemas.channels import Channel
from schemas.cloudevents import binary_headers, first_headers
from schemas.errors import UnreadableRecordError
from schemas.key_bindings import (
    OPERATOR_TENANT,
    PUBLICATION_TYPES,
    PUBLICATION_WINDOW,
    NotAuthorisedError,
    Publication,
    TrustedKey,
    authorise_publication,
    bound_signer,
    precedes,
    signed_at,
)
from schemas.signing import InvalidSignatureError
from streams.signing_keys import OPERATOR, KeyRing, keys_dir, trusted_dir

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.signing_keys import Signer

Admit = Callable[[Record], None]
"""Raises `UnreadableRecordError` for a record without an authorised signature."""
PUBLICATIONS: Final[Mapping[Channel, Publication]] = {
    Channel.POLICY: "policy",
    Channel.INTEL: "intel",
}
"""The channels whose records can be signed."""
ROOM: Final = 10_000
"""The keys of a partition after which those that need not be remembered are forgotten."""


@contextmanager
def refusing_signatures() -> Iterator[None]:
    """Turn the errors of signatures into the refusal of a record."""
    try:
        yield
    except NotAuthorisedError as error:
        raise UnreadableRecordError(reasons.NOT_AUTHORISED, error.explain()) from error
    except InvalidSignatureError as error:
        raise UnreadableRecordError(reasons.INVALID_SIGNATURE, error.what) from error


def require_broker_time(record: Record) -> None:
    """Refuse a record whose producer set its timestamp, on which replay windows rest.

    Raises:
        UnreadableRecordError: It is.
    """
    if not record.appended:
        raise UnreadableRecordError(
            reasons.PRODUCER_TIME,
            f"topic {record.topic} does not set message.timestamp.type=LogAppendTime",
        )


def require_type(record: Record, kind: str) -> None:
    """Refuse a record that was signed for another topic, by its signed `ce_type`.

    Raises:
        InvalidSignatureError: It is.
    """
    found = first_headers(record.headers).get("ce_type")
    if found != kind.encode():
        raise InvalidSignatureError(f"the record is not signed as {kind}")


def publication_headers(
    channel: Channel, key: str, value: bytes | None, signer: Signer, now: datetime
) -> Headers:
    """Return the headers of a signed policy or fact; its key is signed as `ce_id`.

    Args:
        channel: One of `PUBLICATIONS`.
        key: The record's key: a tenant, or a component.
        value: Its value; None for a tombstone.
        signer: The signer.
        now: The time of signing.

    Raises:
        NotAuthorisedError: The signer's key may not publish it.
    """
    publication = PUBLICATIONS[channel]
    tenant = _tenant(publication, key)
    authorise_publication(publication, signer.key.kid, signer.binding, tenant)
    headers = binary_headers(
        id=key,
        type=PUBLICATION_TYPES[publication],
        source=f"//tidewatch/actor/{signer.binding.actor}",
        time=now,
        tenant=tenant or OPERATOR_TENANT,
    )
    return (*headers, signer.key.sign(headers, value or b""))


def admitting(channel: Channel, ring: Mapping[str, TrustedKey]) -> Admit:
    """Return a check that refuses the records of a channel without an authorised signature.

    Args:
        channel: One of `PUBLICATIONS`.
        ring: The trusted keys, by key id.
    """
    publication = PUBLICATIONS[channel]

    def admit(record: Record) -> None:
        key = (record.key or b"").decode("utf-8", "replace")
        require_broker_time(record)
        with refusing_signatures():
            require_type(record, PUBLICATION_TYPES[publication])
            kid, binding = bound_signer(
                record.headers,
                record.value or b"",
                ring,
                timestamp_ms=record.timestamp_ms,
                window=PUBLICATION_WINDOW,
            )
            headers = first_headers(record.headers)
            tenant = _tenant(publication, key)
            signed_for = (headers.get("ce_id"), headers.get("ce_tenantid"))
            if signed_for != (record.key, (tenant or OPERATOR_TENANT).encode()):
                raise InvalidSignatureError("the record is signed for another key")
            authorise_publication(publication, kid, binding, tenant)

    return admit


class LatestSigned:
    """When the latest record of each key of a partition was signed, and its offset."""

    def __init__(self) -> None:
        """Start empty."""
        self._signed: dict[bytes, tuple[int, int]] = {}
        self._room = ROOM

    def __len__(self) -> int:
        """Return how many keys it remembers."""
        return len(self._signed)

    def refuses(self, record: Record) -> bool:
        """Return whether a record is a replay; note it if it is not.

        Records that were read before are known by their offset: a reader may start over.
        """
        key, signed_ms = record.key or b"", signed_at(record.headers, record.timestamp_ms)
        latest_ms, offset = self._signed.get(key, (0, -1))
        if record.offset <= offset:
            return False
        if precedes(signed_ms, latest_ms):
            return True
        self._signed[key] = (max(signed_ms, latest_ms), record.offset)
        if len(self._signed) > self._room:
            self._forget(record.timestamp_ms)
        return False

    def _forget(self, now_ms: int) -> None:
        """Forget signatures so old that the replay window refuses all earlier ones."""
        oldest_ms = now_ms - PUBLICATION_WINDOW // timedelta(milliseconds=1)
        kept = {key: at for key, at in self._signed.items() if at[0] >= oldest_ms}
        self._signed, self._room = kept, max(ROOM, 2 * len(kept))


def in_order(admit: Admit) -> Admit:
    """Return a check that also refuses records signed before one already admitted.

    Within the replay window, a signed record could be published again after a later one of its key.

    Args:
        admit: Refuses a record without an authorised signature.
    """
    latest: dict[tuple[str, int], LatestSigned] = {}

    def check(record: Record) -> None:
        admit(record)
        if latest.setdefault((record.topic, record.partition), LatestSigned()).refuses(record):
            raise UnreadableRecordError(
                reasons.INVALID_SIGNATURE,
                "it was signed before the record in force: it is a replay, or the clock of the "
                "machine that signed it is behind",
            )

    return check


def admission(settings: Settings, channel: Channel, *, ordered: bool = True) -> Admit | None:
    """Return that check for a channel; None where signatures are not required.

    Args:
        settings: Which topics must be signed, and the keys.
        channel: The channel.
        ordered: Whether it also refuses replays within the window; False for a reader that keeps
            what was signed last in rows, and may read records again.

    Raises:
        KeyFileError: The trusted keys can't be read.
    """
    if PUBLICATIONS.get(channel) not in settings.signed_topics:
        return None
    admit = admitting(channel, KeyRing(trusted_dir(keys_dir(settings.state_dir), OPERATOR)))
    return in_order(admit) if ordered else admit


def admission_rules(settings: Settings, channel: Channel) -> str:
    """Return a digest of what admission to a channel depends on; empty if it admits all.

    Raises:
        KeyFileError: The trusted keys can't be read.
    """
    if PUBLICATIONS.get(channel) not in settings.signed_topics:
        return ""
    ring = KeyRing(trusted_dir(keys_dir(settings.state_dir), OPERATOR))
    return stable_hash(*(f"{kid}={ring[kid].binding}" for kid in sorted(ring)))


def _tenant(publication: Publication, key: str) -> str | None:
    """Return the tenant that a record is about, None for one that applies to all."""
    return key if publication == "policy" else None
