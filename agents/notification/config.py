"""The configuration of a notifier: destinations, and routes that lead to them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

from schemas.errors import TidewatchError
from schemas.severity import Severity
from schemas.toml_config import ConfigReader

NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
EVERY_TENANT: Final = "*"
ALERT: Final = "alert"
PROPOSAL: Final = "proposal"
OPERATOR_ALERT: Final = "operator-alert"
NoticeKind = Literal["alert", "proposal", "operator-alert"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
MAX_SECRET: Final = 16 * 1024


class NotifyConfigError(TidewatchError):
    """A configuration that is invalid or contradicts itself."""


class Destination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where messages go: a service that Apprise knows, or a signed webhook."""

    apprise: str | None = None
    """An Apprise URL; it usually holds a token, so `apprise_file` is the better place."""
    apprise_file: Path | None = None
    """A file with an Apprise URL."""
    webhook: str | None = None
    """The URL that signed messages are posted to."""
    secret_file: Path | None = None
    """Of a webhook: a file with the secrets that sign, one a line, the newest first."""
    plain_http: bool = False
    """Of a webhook: allow http:// to hosts other than this machine."""
    timeout_seconds: float = 10.0
    """How long to wait for a connection, and for each part of an answer."""


class QuietHours(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"begins": "from", "ends": "until"},
):
    """Hours of the week in which only severe incidents are sent."""

    time_zone: str
    """An IANA name, as Europe/Berlin."""
    begins: str
    """HH:MM, local time."""
    ends: str
    """HH:MM, local time, up to 24:00; not later than `from`: on the next day."""
    days: tuple[Day, ...] = DAYS
    """The days on which a quiet period begins."""
    break_through: Severity | None = Severity.CRITICAL
    """The least severity of messages that are sent at any hour."""


class Escalation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step taken for an incident that is not acknowledged."""

    after_seconds: float
    """Seconds after the first message; rises from step to step."""
    send_to: tuple[str, ...]
    """Names of destinations."""
    min_severity: Severity = Severity.INFORMATIONAL
    """The least severity that takes this step."""


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which records are sent to whom, and when."""

    name: str
    """Names it in messages and on the topic `notifications`."""
    tenants: tuple[str, ...]
    """The tenants it is for; `*` for all of them."""
    send_to: tuple[str, ...]
    """Names of destinations."""
    kinds: tuple[NoticeKind, ...] = ("alert", "proposal")
    """Which records it sends; operator alerts only with `*` as tenants: they may name any."""
    min_severity: Severity = Severity.INFORMATIONAL
    """Less severe incidents are not sent; a sent incident is followed until it ends."""
    group_wait_seconds: float = 30.0
    """How long a first message waits for updates that follow at once."""
    group_interval_seconds: float = 300.0
    """How long the next message of the same incident gathers updates."""
    quiet_hours: QuietHours | None = None
    escalation: tuple[Escalation, ...] = ()

    def serves(self, tenant: str | None) -> bool:
        """Return whether it is for a tenant; None: for the operator's records."""
        return EVERY_TENANT in self.tenants or (tenant is not None and tenant in self.tenants)


class Retries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often a message is tried again."""

    first_seconds: float = 2.0
    """The wait after the first failure; it doubles with each further one."""
    longest_seconds: float = 300.0
    """The longest wait."""
    give_up_seconds: float = 86_400.0
    """A message older than this becomes a dead letter at its next failure."""


class NotifyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of one notifier."""

    name: str = "default"
    """Names its consumer group and its rows on the topic `notifications`."""
    incident_url: str = ""
    """A link that messages carry, with `{incident}` and `{tenant}` for the ids."""
    retries: Retries = Retries()
    destinations: dict[str, Destination]
    routes: tuple[Route, ...]

    def route(self, name: str) -> Route | None:
        """Return the route of a name, None if there is none."""
        return next((route for route in self.routes if route.name == name), None)


def unread_files(config: NotifyConfig) -> list[str]:
    """Return the files of secrets that can't be read here, one sentence each."""
    missing: list[str] = []
    for name, destination in config.destinations.items():
        for field in ("apprise_file", "secret_file"):
            path: Path | None = getattr(destination, field)
            if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
                missing.append(f"destinations.{name}.{field}: {path} can't be read")
    return missing


def unrouted(config: NotifyConfig) -> list[str]:
    """Return the records that no route sends, one sentence each."""
    return [
        f"no route sends every tenant's {kind}s"
        if kind != OPERATOR_ALERT
        else "no route sends the operator's alerts"
        for kind in (ALERT, PROPOSAL, OPERATOR_ALERT)
        if not any(
            kind in route.kinds
            and EVERY_TENANT in route.tenants
            and route.min_severity is Severity.INFORMATIONAL
            for route in config.routes
        )
    ]


def read_secret(path: Path) -> str:
    """Return the content of a file of secrets.

    Raises:
        OSError: It can't be read.
    """
    with path.open("rb") as opened:
        return opened.read(MAX_SECRET).decode("utf-8", "replace").strip()


def clock_minutes(clock: str) -> int:
    """Return a time of day, HH:MM, as minutes from midnight: 0 to 1440."""
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


def _contradiction(config: NotifyConfig) -> str | None:
    if not NAME.fullmatch(config.name):
        return "name may contain 1 to 64 ASCII letters, digits, '.', '_' and '-' only"
    for field in msgspec.structs.fields(Retries):
        if not getattr(config.retries, field.name) > 0:
            return f"retries.{field.name} is not above 0"
    if config.incident_url:
        try:
            config.incident_url.format(incident="", tenant="")
        except (KeyError, IndexError, ValueError):
            return "incident_url may contain {incident} and {tenant} only"
        if urlsplit(config.incident_url).scheme not in {"https", "http"}:
            return "incident_url is not an https:// address"
    for name, destination in config.destinations.items():
        if not NAME.fullmatch(name):
            return "names of destinations may contain ASCII letters, digits, '.', '_' and '-' only"
        problem = _destination_problem(destination)
        if problem is not None:
            return f"destinations.{name}: {problem}"
    if not config.routes:
        return "no route is configured: nothing would be sent"
    names = [route.name for route in config.routes]
    for route in config.routes:
        if not NAME.fullmatch(route.name):
            return "names of routes may contain ASCII letters, digits, '.', '_' and '-' only"
        if names.count(route.name) > 1:
            return f"two routes are called {route.name}"
        problem = _route_problem(route, config)
        if problem is not None:
            return f"route {route.name}: {problem}"
    return None


def _destination_problem(destination: Destination) -> str | None:
    ways = (destination.apprise, destination.apprise_file, destination.webhook)
    if sum(way is not None for way in ways) != 1:
        return "give one of apprise, apprise_file and webhook"
    if not destination.timeout_seconds > 0:
        return "timeout_seconds is not above 0"
    if destination.webhook is None:
        if destination.secret_file is not None:
            return "secret_file is for webhooks; an Apprise URL holds its own token"
        return None
    if destination.secret_file is None:
        return "a webhook needs secret_file, to sign by"
    try:
        parts = urlsplit(destination.webhook)
        host = parts.hostname or ""
    except ValueError:
        return "webhook is not a URL"
    if parts.scheme not in {"https", "http"} or not host:
        return "webhook is not an https:// address"
    if parts.scheme == "http" and host not in _LOOPBACK and not destination.plain_http:
        return "webhook is not encrypted: use https://, or set plain_http = true"
    return None


def _route_problem(route: Route, config: NotifyConfig) -> str | None:
    if not route.tenants:
        return 'tenants is empty; "*" means all'
    if not route.kinds:
        return "kinds is empty: the route would send nothing"
    if OPERATOR_ALERT in route.kinds and EVERY_TENANT not in route.tenants:
        return 'operator alerts concern all tenants: only a route with tenants = ["*"] gets them'
    for where, names in (
        ("send_to", route.send_to),
        *(("escalation.send_to", step.send_to) for step in route.escalation),
    ):
        if not names:
            return f"{where} names no destination"
        for name in names:
            if name not in config.destinations:
                return f"{where} names {name}, which is not a destination"
    for field in ("group_wait_seconds", "group_interval_seconds"):
        if not getattr(route, field) >= 0:
            return f"{field} is below 0"
    waits = [step.after_seconds for step in route.escalation]
    if any(not wait > 0 for wait in waits) or waits != sorted(set(waits)):
        return "the steps of escalation do not follow one another: after_seconds must rise"
    if route.quiet_hours is not None:
        return _quiet_problem(route.quiet_hours)
    return None


def _quiet_problem(quiet: QuietHours) -> str | None:
    for name, clock in (("from", quiet.begins), ("until", quiet.ends)):
        if not _CLOCK.fullmatch(clock) or (name == "from" and clock == "24:00"):
            return f"quiet_hours.{name} is not a time of day, HH:MM"
    if quiet.begins == quiet.ends:
        return "quiet_hours begin and end at the same time"
    if not quiet.days:
        return "quiet_hours.days is empty"
    try:
        ZoneInfo(quiet.time_zone)
    except (ValueError, OSError, KeyError):
        return f"quiet_hours.time_zone: there is no time zone {quiet.time_zone!r} on this machine"
    if (quiet.begins, quiet.ends) == ("00:00", "24:00") and set(quiet.days) == set(DAYS):
        return "quiet_hours never end"
    return None


def fields(config: NotifyConfig) -> dict[str, Any]:
    """Return the fields of `--check`: routes and destinations, without secrets."""
    return {
        "name": config.name,
        "destinations": {
            name: masked(destination) for name, destination in config.destinations.items()
        },
        "routes": [
            {
                "name": route.name,
                "tenants": list(route.tenants),
                "kinds": list(route.kinds),
                "min_severity": route.min_severity,
                "send_to": list(route.send_to),
                "quiet_hours": route.quiet_hours is not None,
                "escalation": [list(step.send_to) for step in route.escalation],
            }
            for route in config.routes
        ],
    }


def masked(destination: Destination) -> str:
    """Return a destination in readable form, without anything that may be a token."""
    if destination.webhook is not None:
        parts = urlsplit(destination.webhook)
        return f"webhook {parts.scheme}://{parts.hostname}/…"
    if destination.apprise_file is not None:
        return "apprise"
    scheme, colon, _ = (destination.apprise or "").partition("://")
    return f"apprise {scheme}://…" if colon and scheme.isalnum() else "apprise"


_READER: Final = ConfigReader(
    NotifyConfig,
    what="notifications",
    example="deploy/notify.example.toml",
    error=NotifyConfigError,
    problem=_contradiction,
)
read_config: Final = _READER.read
load_config: Final = _READER.load
