"""The embedded broker's password, and the settings that clients of the same user connect with."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import msgspec
from pydantic import SecretStr

from streams.broker.paths import Places
from streams.private_files import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from streams.settings import Settings

USER: Final = "tidewatch"
"""The one user of the embedded broker; it may do everything."""
_MODULE: Final = "org.apache.kafka.common.security.plain.PlainLoginModule"


def own_password(places: Places) -> str:
    """Return the password of a state folder's broker; make it on first use.

    Raises:
        OSError: The file can't be read or written.
    """
    try:
        found = places.password.read_text("ascii").strip()
    except FileNotFoundError:
        found = ""
    if not found:
        found = secrets.token_urlsafe(32)
        write_private(places.password, found + "\n")
    return found


def guarded_properties(password: str) -> dict[str, str]:
    """Return the properties by which a broker asks both its listeners' clients for a password.

    Args:
        password: The user's.
    """
    jaas = f'{_MODULE} required username="{USER}" password="{password}" user_{USER}="{password}";'
    return {
        "listener.security.protocol.map": "CONTROLLER:SASL_PLAINTEXT,PLAINTEXT:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.plaintext.plain.sasl.jaas.config": jaas,
        "listener.name.controller.plain.sasl.jaas.config": jaas,
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
    }


def with_password(settings: Settings) -> Settings:
    """Return the settings with the password of this user's embedded broker, if they name it.

    Args:
        settings: Name a Kafka. Nothing is added where they have a user of their own.
    """
    places = Places(settings.state_dir.resolve())
    if settings.kafka is None or settings.kafka_sasl_mechanism is not None:
        return settings
    try:
        record = _RECORDS.decode(places.record.read_bytes())
        if not record.guarded or settings.kafka != f"127.0.0.1:{record.ports.client}":
            return settings
        password = places.password.read_text("ascii").strip()
    except (OSError, msgspec.DecodeError):
        return settings
    return settings.model_copy(
        update={
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_username": USER,
            "kafka_password": SecretStr(password),
        }
    )


def password_file(state_dir: Path) -> Path:
    """Return the file with the password, for clients that are not Tidewatch's."""
    return Places(state_dir.resolve()).password


class _Ports(msgspec.Struct, frozen=True):
    client: int


class _Recorded(msgspec.Struct, frozen=True):
    """The part of the recorded state that clients need."""

    ports: _Ports
    guarded: bool = False


_RECORDS: Final = msgspec.json.Decoder(_Recorded)
