"""How every Kafka client of Tidewatch connects: addresses, SASL and TLS, from the settings."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from schemas.errors import TidewatchError
from streams.kafka.batches import BATCH_FACTOR, bound_batches

if TYPE_CHECKING:
    from streams.settings import Settings


class BrokerUnreachableError(TidewatchError):
    """No broker answered at the configured addresses."""

    passes = False
    """Whether it may be transient: a broker is unavailable, rather than refusing this client."""


def bootstrap_servers(settings: Settings) -> list[str]:
    """Return the broker addresses, `host:port` each.

    Raises:
        BrokerUnreachableError: None is configured.
    """
    if not settings.kafka:
        raise BrokerUnreachableError(
            "no Kafka broker is configured",
            where="TIDEWATCH_KAFKA",
            remedy="set it to host:port, or start the embedded one with: tidewatch up",
        )
    return [address.strip() for address in settings.kafka.split(",") if address.strip()]


def client_options(settings: Settings) -> dict[str, Any]:
    """Return the connection arguments of any aiokafka client, and limit what it may inflate.

    Args:
        settings: The checked settings.

    Returns:
        `bootstrap_servers`, `security_protocol`, and the SASL and TLS arguments in use.

    Raises:
        TidewatchError: A certificate can't be loaded, or no broker is named.
    """
    bound_batches(settings.max_event_bytes * BATCH_FACTOR)
    options: dict[str, Any] = {"bootstrap_servers": bootstrap_servers(settings)}
    context = _tls_context(settings)
    if context is not None:
        options["ssl_context"] = context
    if settings.kafka_sasl_mechanism:
        password = settings.kafka_password
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_username
        options["sasl_plain_password"] = password.get_secret_value() if password else ""
    protocol = "SASL_" if settings.kafka_sasl_mechanism else ""
    transport = "SSL" if context is not None else "PLAINTEXT"
    options["security_protocol"] = protocol + transport
    return options


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    if not (settings.kafka_tls or settings.kafka_ca or settings.kafka_cert):
        return None
    try:
        context = ssl.create_default_context(
            cafile=str(settings.kafka_ca) if settings.kafka_ca else None
        )
        if settings.kafka_cert and settings.kafka_key:
            secret = settings.kafka_key_password
            context.load_cert_chain(
                settings.kafka_cert,
                settings.kafka_key,
                secret.get_secret_value() if secret else None,
            )
    except (ssl.SSLError, OSError) as error:
        raise TidewatchError(
            "TLS files can't be loaded",
            where="kafka_ca, kafka_cert, kafka_key",
            remedy=f"check that they are PEM and belong together ({error})",
        ) from error
    return context
