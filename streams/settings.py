"""The settings: environment (`TIDEWATCH_…`) over file over defaults, checked at start."""

from __future__ import annotations

import difflib
import json
import os
import socket
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from schemas.channels import Channel
from schemas.errors import TidewatchError
from schemas.policy import TrustRoot, is_signer
from schemas.severity import Tlp
from streams.broker.paths import default_state_dir

PREFIX = "TIDEWATCH_"
NOT_SETTINGS = frozenset({"TIDEWATCH_CONFIG", "TIDEWATCH_JAVA"})
"""Variables with the prefix that name the settings file and the embedded broker's Java."""

MIB = 1024 * 1024
MAX_PORT = 65535


class SettingsError(TidewatchError):
    """A setting that is unknown, missing or out of range."""


_BINDABLE = frozenset(
    {
        Channel.REGISTRY_PUSH,
        Channel.PACKAGE_INSTALL,
        Channel.PIPELINE_RUN,
        Channel.POLICY,
        Channel.DECISIONS,
        Channel.CONTAINMENT_RESULTS,
    }
)
"""The channels that a tenant may write on a topic of its own. Intelligence is the operator's."""


class BoundTopic(BaseModel):
    """A topic bound to one tenant: its events belong to that tenant, regardless of their claims."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: Channel
    """The input channel it carries."""
    tenant: str
    """The tenant all its events belong to."""

    @field_validator("channel")
    @classmethod
    def _written_by_tenants(cls, value: Channel) -> Channel:
        if value not in _BINDABLE:
            raise ValueError(f"a tenant may write one of {', '.join(sorted(_BINDABLE))}")
        return value


class TrustedSigner(BaseModel):
    """A signer whose statements within its namespaces count as established."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    signer: str
    """A PEM public key, a PEM certificate of an authority, `sigstore:IDENTITY ISSUER`, or for
    attestations of packages the publisher that they prove."""
    namespaces: tuple[str, ...] = Field(min_length=1)
    """Keys of the components and publishers it is authorised for; `*` at the end: all below."""

    @field_validator("signer")
    @classmethod
    def _readable(cls, value: str) -> str:
        if not is_signer(value):
            raise ValueError(
                f"{value[:40]!r} is not a PEM key or certificate, `sigstore:…` or `publisher:…`"
            )
        return value


class Settings(BaseModel):
    """Everything an operator can set; each field is `TIDEWATCH_<FIELD>` or a key of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    kafka: str | None = None
    """Bootstrap servers, `host:port,host:port`; none means the embedded broker."""
    embedded_port: int = Field(default=9192, ge=0, le=65535)
    """Where the embedded broker listens on 127.0.0.1; 0 takes the last port, or a free one."""
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    """How to authenticate with user and password; none: without."""
    kafka_username: str | None = None
    """The user."""
    kafka_password: SecretStr | None = None
    """The password; better in the environment than in a file."""
    kafka_tls: bool = False
    """Encrypt the connection; implied by a CA or a certificate."""
    kafka_ca: Path | None = None
    """PEM file of the authorities to trust; the system's by default."""
    kafka_cert: Path | None = None
    """PEM file of the client's certificate, for mutual TLS."""
    kafka_key: Path | None = None
    """PEM file of the client's key."""
    kafka_key_password: SecretStr | None = None
    """The password of that key, if it has one."""

    topic_prefix: str = "supplychain."
    """Begins the name of every topic."""
    group_prefix: str = Field(default="tidewatch", min_length=1)
    """Consumer groups are `<group_prefix>-<app>`."""
    partitions: int = Field(default=4, ge=1, le=4096)
    """Partitions of the topics Tidewatch creates."""
    replication: int = Field(default=1, ge=1, le=32)
    """Copies of each topic that Tidewatch creates; at least 3 in production."""
    create_topics: bool = True
    """Create missing topics at start; when off, a missing topic is an error."""
    bound_topics: dict[str, BoundTopic] = Field(default_factory=dict)
    """Further input topics by full name, each bound to a `channel` and one `tenant`: its events
    belong to that tenant, regardless of their claims.
    """
    tenant_topics: bool = False
    """Also write the records that a tenant may read to `tenant.<id>.<channel>`."""
    max_tenants: int = Field(default=1000, ge=1)
    """Most tenants that get their own topics, also if a producer makes up tenants."""
    ecs: bool = False
    """Also write Elastic Common Schema siblings of alerts and indicators."""
    hygiene_topic: bool = False
    """Write indicators of hygiene to a topic of their own instead of among those of compromise."""
    privacy_k: int = Field(default=3, ge=2)
    """How many organisations a fact must concern before other tenants read it."""
    share_tlp: Tlp = Tlp.AMBER
    """The TLP marking of what is written for partners to the topic `intel-share`."""
    organisations: dict[str, str] = Field(default_factory=dict)
    """Tenant: the organisation it belongs to. Only tenants named here are counted where facts cross
    tenants, each organisation once; if none is named every tenant counts, so a producer that can
    make up tenants can raise a count.
    """
    trust_roots: dict[str, TrustedSigner] = Field(default_factory=dict)
    """Signers by a name of yours, each with a `signer` (a PEM public key or certificate,
    `sigstore:IDENTITY ISSUER`, or a `publisher:…` of packages) and the `namespaces` that it is
    authorised for: keys of components and publishers, with `*` at the end for all below. Their
    signatures of a push, or of a package's file, count for all tenants.
    """
    popular_holders: int = Field(default=10, ge=1)
    """If more organisations hold a component, a scan alone only proposes its containment."""
    rank_secret: SecretStr | None = None
    """Keys the choice in the ledger's full sets; the same for every worker. Without it a producer
    can compute names that displace others in its own tenant's share.
    """

    signed_topics: frozenset[Literal["policy", "intel"]] = frozenset()
    """Topics whose records must be signed by an authorised key: `policy`, `intel`. Unsigned ones
    are refused, including existing ones; `tidewatch policy set` and `intel import` sign.
    """
    signing_key: str = Field(default="operator", min_length=1)
    """The key of `keys/private` that this user's decisions, policies and facts are signed with."""

    state_dir: Path = Field(default_factory=default_state_dir)
    """Keys, the local copy of the state, and the embedded broker's data."""
    instance: str = Field(default_factory=socket.gethostname, min_length=1, max_length=100)
    """Distinguishes workers of one group: the static membership id is `<group>-<instance>`. The
    default is the host's name, so a second worker on one host needs its own."""
    http_host: str = "127.0.0.1"
    """The address that health and metrics are served on."""
    http_port: int = Field(default=0, ge=0, le=65535)
    """Health and metrics; 0 takes a free port. With several apps each takes the next one, and the
    first reports the health of all."""

    max_event_bytes: int = Field(default=MIB, ge=1024, le=64 * MIB)
    """The largest event that is read; the sizes of all topics follow from it."""
    dead_letter_ratio: float = Field(default=0.5, gt=0, le=1)
    """Share of unreadable records, of the last `dead_letter_window` of a partition, at which its
    topic is paused if it is bound to a tenant, and reported to the operator if it is shared."""
    dead_letter_window: int = Field(default=2000, ge=10)
    """Records of a partition over which that share is taken."""
    dead_letter_consecutive: int = Field(default=1000, ge=1)
    """Unreadable records in a row, of one partition, at which the same happens."""
    dead_letter_pause_seconds: float = Field(default=3600, ge=1)
    """How long a topic stays paused; a restarted worker reads it at once."""
    dead_letter_whole: int = Field(default=100, ge=0)
    """Unreadable records in a row that are kept whole; further ones share one dead letter, which
    names their offsets."""
    chunk_records: int = Field(default=500, ge=1, le=10_000)
    """Most records an agent gets at once."""
    window_chunks: int = Field(default=8, ge=1, le=256)
    """Chunks of one partition in flight at once."""
    broker_wait_seconds: float = Field(default=30, ge=0)
    """How long a starting worker waits if no broker answers at all, before it exits with 2. If one
    answers, it waits for the others without limit, as it does once it has started."""
    watchdog_seconds: float = Field(default=300, gt=0)
    """How long lag without committed progress may last before the worker ends."""
    drain_seconds: float = Field(default=10, gt=0)
    """How long a stop or a rebalance waits for chunks in flight before abandoning them."""
    commit_seconds: float = Field(default=0.3, gt=0)
    """How often progress is committed to the broker."""
    session_seconds: float = Field(default=30, ge=1)
    """How long a worker may be silent before it loses its partitions."""
    tick_seconds: float = Field(default=15, gt=0)
    """Interval of ticks, by which applications handle expiry, silence and escalation."""
    fetch_schemes: frozenset[str] = frozenset({"file", "https", "s3", "oci", "hf", "mlflow"})
    """URI schemes that may be fetched at all; each tenant's roots are in its policy."""
    fetch_private_hosts: tuple[str, ...] = ()
    """Hosts, `host:port` or networks that may be fetched from although they are not public."""
    fetch_redirect_hosts: tuple[str, ...] = (".hf.co", "cdn-lfs.huggingface.co")
    """Hosts a redirect may lead to besides a tenant's roots; `.suffix` for all below it."""
    fetch_hub: str = "https://huggingface.co"
    """The model hub that `hf://` means."""
    fetch_fsspec_schemes: frozenset[str] = frozenset()
    """Further schemes, read by fsspec implementations that are installed."""
    fetch_seconds: float = Field(default=3600, gt=0)
    """How long one file or listing may take to be fetched in all, with all its attempts."""
    fetch_bytes_per_second: int = Field(default=16 * 1024, ge=1)
    """Minimum average speed of a server, once an answer has had 20 seconds to begin."""
    fetch_credentials: Path | None = None
    """TOML file of the secrets that policies name (docs/reference/fetch-credentials.md)."""
    scan_confined: bool = False
    """Scan nothing if the kernel lacks seccomp or landlock, or denies them; files then stay
    incomplete. `tidewatch doctor` shows their state.
    """
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe log line that is written."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """json for machines, console for people, auto: console on a terminal, else json."""
    log_repeat_seconds: float = Field(default=60, ge=0)
    """Interval at which a broker's error is logged; the next line counts those omitted."""

    @field_validator("kafka")
    @classmethod
    def _bootstrap_servers(cls, value: str | None) -> str | None:
        for server in value.split(",") if value else ():
            host, colon, port = server.strip().rpartition(":")
            if server.strip().endswith("]") or not colon:
                continue  # the client's default port
            bare = ":" in host and not host.startswith("[")
            legal = port.isascii() and port.isdigit() and int(port[:6]) <= MAX_PORT
            if bare or not host or not legal:
                raise ValueError("write it as host:port,host:port, an IPv6 address in brackets")
        return value

    @field_validator("topic_prefix", "group_prefix", "instance")
    @classmethod
    def _legal_topic_characters(cls, value: str) -> str:
        if not all(c.isascii() and (c.isalnum() or c in "._-") for c in value):
            raise ValueError("may contain ASCII letters, digits, '.', '_' and '-' only")
        return value


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:  # noqa: ANN401
    """Read the settings.

    Args:
        config: A TOML file of settings; by default the one TIDEWATCH_CONFIG names, if any.
        overrides: Settings by name that win over file and environment (command-line options).

    Returns:
        The checked settings.

    Raises:
        SettingsError: A name is unknown (the nearest is suggested), a value is out of range, or
            the file can't be read.
    """
    named = os.environ.get("TIDEWATCH_CONFIG")
    path = config or (Path(named) if named else None)
    values = _read_file(path) if path else {}
    _refuse_unknown(values, where=str(path))
    env = {name.lower()[len(PREFIX) :]: name for name in os.environ if _is_setting(name)}
    _refuse_unknown(env, where="environment", prefix=PREFIX)
    _refuse_unknown(overrides, where="arguments")
    values = _merged(values, {field: _parsed(field, name) for field, name in env.items()})
    try:
        settings = Settings(**values)
        if overrides:
            settings = Settings(**{**settings.model_dump(), **overrides})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"setting {name} is not valid",
            where=env.get(name.split(".", maxsplit=1)[0].lower(), str(path or "environment")),
            remedy=str(first["msg"]),
        ) from None
    _check_together(settings)
    return settings


_TABLES_AND_LISTS = (dict, list, tuple, set, frozenset)


def _parsed(field: str, name: str) -> Any:  # noqa: ANN401 -- whatever JSON holds
    """Return what a variable says: JSON where its setting is a table or a list, else its text.

    Raises:
        SettingsError: It is no JSON; its text may be a secret, and is not repeated.
    """
    text = os.environ[name]
    declared = Settings.model_fields[field]
    if not isinstance(declared.get_default(call_default_factory=True), _TABLES_AND_LISTS):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise SettingsError(
            "a table or list can't be read",
            where=name,
            remedy='write it as JSON, such as ["one", "two"]',
        ) from None


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of both; entries of a table stand beside each other."""
    merged = dict(under)
    for name, value in over.items():
        old = under.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[name] = _merged(old, value)
        else:
            merged[name] = value
    return merged


def _is_setting(name: str) -> bool:
    return name.upper().startswith(PREFIX) and name.upper() not in NOT_SETTINGS


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(
            f"settings file can't be read ({error.strerror})",
            where=str(path),
            remedy="name an existing file in TIDEWATCH_CONFIG",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            "settings file is not TOML", where=str(path), remedy=str(error)
        ) from error


def _refuse_unknown(names: dict[str, Any], *, where: str, prefix: str = "") -> None:
    known = list(Settings.model_fields)
    for name in names:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1)
        shown = prefix + (name.upper() if prefix else name)
        guess = prefix + (near[0].upper() if prefix else near[0]) if near else ""
        raise SettingsError(
            f"unknown setting {shown}",
            where=where,
            remedy=f"did you mean {guess}?" if guess else "see: tidewatch doctor",
        )


def _check_together(settings: Settings) -> None:
    if settings.kafka_sasl_mechanism and not (settings.kafka_username and settings.kafka_password):
        raise SettingsError(
            f"{settings.kafka_sasl_mechanism} needs a user and a password",
            where="kafka_sasl_mechanism",
            remedy="set TIDEWATCH_KAFKA_USERNAME and TIDEWATCH_KAFKA_PASSWORD",
        )
    if bool(settings.kafka_cert) != bool(settings.kafka_key):
        raise SettingsError(
            "a client certificate and its key must be set together",
            where="kafka_cert, kafka_key",
            remedy="set both or neither",
        )
    for name in ("kafka_ca", "kafka_cert", "kafka_key"):
        path = getattr(settings, name)
        if path is not None and not path.is_file():
            raise SettingsError(
                f"file {path} does not exist", where=name, remedy="name an existing PEM file"
            )


def operators_trust_roots(settings: Settings) -> tuple[TrustRoot, ...]:
    """Return the operator's trust roots, in the order of their names."""
    return tuple(
        TrustRoot(signer=root.signer, namespaces=root.namespaces)
        for _, root in sorted(settings.trust_roots.items())
    )
