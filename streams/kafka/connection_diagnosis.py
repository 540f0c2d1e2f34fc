"""Says why no broker answers: Kafka's client tells only that none does."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from aiokafka.protocol.metadata import MetadataRequest

from streams.kafka.client import BrokerUnreachableError, client_options

if TYPE_CHECKING:
    from streams.settings import Settings

ASK_SECONDS: Final = 5.0
_MISMATCHES: Final = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL."""


async def unreachable(settings: Settings, error: BaseException) -> BrokerUnreachableError:
    """Ask the brokers once more, and return what kept the first from answering.

    Args:
        settings: Where they are, and how to connect.
        error: What the client said; told where nothing better is found.

    Returns:
        An error to raise, with the remedy for its cause.
    """
    options = client_options(settings)
    hosts = collect_hosts(options.pop("bootstrap_servers"), randomize=False)
    found: BaseException = error
    for host, port, _ in hosts:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                connection = await create_conn(host, port, **options)
                try:
                    await connection.send(MetadataRequest([]))
                finally:
                    connection.close()
        except (KafkaError, OSError) as answer:  # TimeoutError is an OSError
            found = answer
            break
    what, remedy = _explain(found, tls="SSL" in options["security_protocol"])
    return BrokerUnreachableError(what, where=str(settings.kafka), remedy=remedy)


def _explain(error: BaseException, *, tls: bool) -> tuple[str, str]:
    """Return what happened and what to do."""
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        what = f"the broker's certificate is refused ({cause.verify_message})"
        if cause.verify_code in _MISMATCHES:
            return what, "name the broker in TIDEWATCH_KAFKA as its certificate does"
        return what, "name the authority that signed it with TIDEWATCH_KAFKA_CA"
    if isinstance(cause, ssl.SSLError) and "CERTIFICATE" in (cause.reason or ""):
        return (
            f"the broker refuses the client's certificate ({cause.reason})",
            "set TIDEWATCH_KAFKA_CERT and TIDEWATCH_KAFKA_KEY to one it trusts",
        )
    if isinstance(error, SaslAuthenticationFailed):
        return (
            "the broker refuses the user's name or password",
            "check TIDEWATCH_KAFKA_USERNAME and TIDEWATCH_KAFKA_PASSWORD",
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return (
            "the broker does not take the SASL mechanism",
            "set TIDEWATCH_KAFKA_SASL_MECHANISM to one that it is set up for",
        )
    if isinstance(cause, ssl.SSLError | ConnectionResetError | asyncio.IncompleteReadError):
        spoken = "speaks TLS" if tls else "does not speak TLS"
        return (
            f"the broker hung up on a client that {spoken}",
            "set TIDEWATCH_KAFKA_TLS as its listener has it, or name another port",
        )
    return (
        "no Kafka broker answers",
        f"check TIDEWATCH_KAFKA and its SASL and TLS settings ({cause})",
    )
