"""Diagnoses why no broker answers: Kafka's client only says that none does."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Final

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from aiokafka.protocol.metadata import MetadataRequest

from streams.kafka.client import BrokerUnreachableError, client_options

if TYPE_CHECKING:
    from streams.settings import Settings

ASK_SECONDS: Final = 5.0
_MISMATCHES: Final = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL."""

_SPOKEN: Final = {
    "PLAINTEXT": (
        "does not speak TLS and names no user",
        "TIDEWATCH_KAFKA_TLS or TIDEWATCH_KAFKA_USERNAME",
    ),
    "SASL_PLAINTEXT": ("does not speak TLS", "TIDEWATCH_KAFKA_TLS"),
    "SSL": ("speaks TLS", "TIDEWATCH_KAFKA_TLS"),
    "SASL_SSL": ("speaks TLS", "TIDEWATCH_KAFKA_TLS"),
}
"""By security protocol: what a broker that closes the connection may require, and the settings."""


async def unreachable(settings: Settings, error: BaseException) -> BrokerUnreachableError:
    """Connect to the brokers once more, and return why the first did not answer.

    Args:
        settings: Which brokers, and how to connect.
        error: The client's error; used if no better cause is found.

    Returns:
        An error to raise, with the remedy for its cause.
    """
    failures = [answer for answer in await _ask_all(settings) if answer is not None]
    protocol = client_options(settings)["security_protocol"]
    explained = [_explain(failure, protocol) for failure in failures or [error]]
    # a refusal is more specific than an unavailable broker
    refused = [explanation for explanation in explained if not explanation[2]]
    what, remedy, passes = (refused or explained)[0]
    diagnosis = BrokerUnreachableError(what, where=str(settings.kafka), remedy=remedy)
    diagnosis.passes = passes
    return diagnosis


async def any_answers(settings: Settings) -> bool:
    """Return whether at least one broker answers a request."""
    return any(answer is None for answer in await _ask_all(settings))


async def _ask_all(settings: Settings) -> list[BaseException | None]:
    """Return the error of each broker, in order; None for one that answered."""
    options = client_options(settings)
    hosts = collect_hosts(options.pop("bootstrap_servers"), randomize=False)
    return await asyncio.gather(*(_ask(host, port, options) for host, port, _ in hosts))


async def _ask(host: str, port: int, options: dict[str, Any]) -> BaseException | None:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            connection = await create_conn(host, port, **options)
            try:
                await connection.send(MetadataRequest([]))
            finally:
                connection.close()
    except (KafkaError, OSError) as answer:  # TimeoutError is an OSError
        return answer
    return None


def _explain(error: BaseException, protocol: str) -> tuple[str, str, bool]:
    """Return the cause, the remedy, and whether it may be transient."""
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        what = f"the broker's certificate is refused ({cause.verify_message})"
        if cause.verify_code in _MISMATCHES:
            return what, "name the broker in TIDEWATCH_KAFKA as its certificate does", False
        return what, "name the authority that signed it with TIDEWATCH_KAFKA_CA", False
    if isinstance(cause, ssl.SSLError) and "CERTIFICATE" in (cause.reason or ""):
        return (
            f"the broker refuses the client's certificate ({cause.reason})",
            "set TIDEWATCH_KAFKA_CERT and TIDEWATCH_KAFKA_KEY to one it trusts",
            False,
        )
    if isinstance(error, SaslAuthenticationFailed):
        return (
            "the broker refuses the user's name or password",
            "check TIDEWATCH_KAFKA_USERNAME and TIDEWATCH_KAFKA_PASSWORD",
            False,
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return (
            "the broker does not support the SASL mechanism",
            "set TIDEWATCH_KAFKA_SASL_MECHANISM to a mechanism that it supports",
            False,
        )
    if isinstance(cause, ssl.SSLError | ConnectionResetError | asyncio.IncompleteReadError):
        spoken, setting = _SPOKEN[protocol]
        return (
            f"the broker closed the connection of a client that {spoken}",
            f"set {setting} as its listener has it, or name another port",
            True,  # a broker that is shutting down closes connections as well
        )
    return (
        "no Kafka broker answers",
        f"check TIDEWATCH_KAFKA and its SASL and TLS settings ({cause})",
        True,
    )
