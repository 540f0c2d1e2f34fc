"""The configuration of a gateway: endpoints, each bound to a tenant, a producer and a proof."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import msgspec

from schemas.cloudevents import ID_LIMIT
from schemas.errors import TidewatchError
from schemas.toml_config import ConfigReader
from streams.adapters import ADAPTERS
from streams.http.listening import Limits, Listen, check_listen

CLOUDEVENTS: Final = "cloudevents"
GITHUB: Final = "github"
"""GitHub sends several kinds of deliveries to one address, distinguished by a header."""
PRODUCERS: Final = tuple(sorted({*ADAPTERS, CLOUDEVENTS, GITHUB}))
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
Proof = Literal["bearer", "header", "hmac-sha256", "mlflow", "mtls", "path"]


class GatewayConfigError(TidewatchError):
    """A configuration that is invalid or inconsistent."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint: one producer of one tenant, and how its requests authenticate."""

    tenant: str
    """The tenant of its events, whatever a payload says."""
    producer: str
    """The kind of payload: `cloudevents`, `github`, or a kind of `tidewatch send --as`."""
    proof: Proof | None = None
    """How a request authenticates; by default as its producer does."""
    secret: str | None = None
    """The secret by reference, `env:NAME` or `file:PATH`; a file has one per line, newest
    first, and all are valid."""
    header: str | None = None
    """The header with the secret or signature, if it is not the producer's default."""
    clients: tuple[str, ...] = ()
    """For mtls: names of certificates, each `CN=…,O=…` in the order of the certificate, or an
    alternative name as `DNS:…` or `URI:…`."""
    system: str | None = None
    """The host or runner, for payloads that do not name it."""
    registry: str | None = None
    """The name of the registry, for payloads that do not name it."""


class Pressure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits on requests in memory until the broker acknowledges them."""

    in_flight_bytes: int = 64 * 1024 * 1024
    """Bytes of requests at once. Half is split among the tenants, so that none can fill the share
    of another; the other half is first come, first served."""
    deliver_seconds: float = 10.0
    """How long a request waits for the broker before it is answered 503."""


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of one gateway."""

    public_url: str = ""
    """The address that producers use, if it differs from `listen`."""
    listen: Listen = Listen()
    limits: Limits = Limits()
    pressure: Pressure = Pressure()
    endpoints: dict[str, Endpoint]


class ProofRule(msgspec.Struct, frozen=True, kw_only=True):
    """How an endpoint's requests are proved."""

    kind: Proof
    header: str = ""
    prefix: str = ""
    """The prefix of the signature in its header."""


_OWN: Final[dict[str, ProofRule]] = {
    # the producer's own scheme; all others send a token
    "huggingface": ProofRule(kind="header", header="X-Webhook-Secret"),
    "mlflow": ProofRule(kind="mlflow", header="X-MLflow-Signature"),
    "harbor": ProofRule(kind="header", header="Authorization"),
    "jfrog": ProofRule(kind="header", header="X-JFrog-Event-Auth"),
    GITHUB: ProofRule(kind="hmac-sha256", header="X-Hub-Signature-256", prefix="sha256="),
    "github-package": ProofRule(kind="hmac-sha256", header="X-Hub-Signature-256", prefix="sha256="),
    "github-workflow-run": ProofRule(
        kind="hmac-sha256", header="X-Hub-Signature-256", prefix="sha256="
    ),
    "gitlab": ProofRule(kind="header", header="X-Gitlab-Token"),
    "wandb": ProofRule(kind="hmac-sha256", header="X-Wandb-Signature"),
}


def proof_rule(endpoint: Endpoint) -> ProofRule:
    """Return how the requests of an endpoint are proved."""
    own = _OWN.get(endpoint.producer, ProofRule(kind="bearer", header="Authorization"))
    kind = endpoint.proof or own.kind
    if kind in {"mtls", "path"}:
        return ProofRule(kind=kind)
    if kind == "bearer":
        return ProofRule(kind=kind, header="Authorization")
    header = own.header if endpoint.header is None else endpoint.header
    prefix = own.prefix if kind == "hmac-sha256" else ""
    return ProofRule(kind=kind, header=header, prefix=prefix)


def _contradiction(config: GatewayConfig) -> str | None:
    problem = check_listen(config.listen, config.limits)
    if problem is not None:
        return problem
    if config.public_url and not config.public_url.startswith(("https://", "http://")):
        return "public_url is not an https:// address"
    if config.pressure.in_flight_bytes < 4 * config.limits.body_bytes:
        return "pressure.in_flight_bytes is less than four of the largest bodies"
    if not config.pressure.deliver_seconds > 0:
        return "pressure.deliver_seconds is not above 0"
    if not config.endpoints:
        return "no endpoint is configured"
    for name, endpoint in config.endpoints.items():
        if not _NAME.fullmatch(name):
            return "names of endpoints may contain 1 to 64 of a to z, 0 to 9 and '-' only"
        problem = _endpoint_problem(endpoint, config)
        if problem is not None:
            return f"endpoints.{name}: {problem}"
    return None


def _endpoint_problem(endpoint: Endpoint, config: GatewayConfig) -> str | None:
    if not endpoint.tenant.strip() or len(endpoint.tenant) > ID_LIMIT:
        return "tenant is empty or too long"
    if endpoint.producer not in PRODUCERS:
        return f"producer is none of {', '.join(PRODUCERS)}"
    rule = proof_rule(endpoint)
    if rule.kind == "mtls":
        if not endpoint.clients:
            return "mtls needs clients: the names of certificates"
        if config.listen.client_ca is None:
            return "mtls needs listen.client_ca"
        return "secret is not for mtls" if endpoint.secret is not None else None
    if endpoint.clients:
        return "clients are for mtls"
    if endpoint.secret is None:
        return f"{rule.kind} needs secret"
    if rule.kind == "mlflow" and endpoint.producer != "mlflow":
        return "the proof mlflow is for the producer mlflow"
    if endpoint.producer == CLOUDEVENTS and rule.kind != "bearer":
        return "cloudevents are proved by bearer or mtls"
    if rule.kind in {"header", "hmac-sha256"} and not _HEADER.fullmatch(rule.header):
        return f"{rule.kind} needs header: a name of ASCII letters, digits and '-'"
    if endpoint.header is not None and rule.kind not in {"header", "hmac-sha256"}:
        return f"header is not for {rule.kind}"
    return None


def fields(config: GatewayConfig) -> dict[str, Any]:
    """Return the fields of `--check`: addresses and proofs, without secrets."""
    return {
        "listen": f"{config.listen.host}:{config.listen.port}",
        "endpoints": {
            name: {
                "tenant": endpoint.tenant,
                "producer": endpoint.producer,
                "url": url_of(name, config),
                "proof": proof_rule(endpoint).kind,
                "header": proof_rule(endpoint).header or None,
            }
            for name, endpoint in config.endpoints.items()
        },
    }


def url_of(name: str, config: GatewayConfig) -> str:
    """Return the address to give to a producer."""
    listen = config.listen
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    scheme = "https" if listen.certificate else "http"
    base = config.public_url.rstrip("/") or f"{scheme}://{host}:{listen.port}"
    endpoint = config.endpoints[name]
    if endpoint.producer == CLOUDEVENTS:
        return f"{base}/v1/events"
    secret = "/SECRET" if proof_rule(endpoint).kind == "path" else ""
    return f"{base}/v1/hooks/{name}{secret}"


_READER: Final = ConfigReader(
    GatewayConfig,
    what="the gateway",
    example="deploy/gateway.example.toml",
    error=GatewayConfigError,
    problem=_contradiction,
)
read_config: Final = _READER.read
load_config: Final = _READER.load
