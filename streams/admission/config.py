"""The configuration of the admission webhook: tenants of namespaces, and what is admitted."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

import msgspec

from schemas.cloudevents import ID_LIMIT
from schemas.errors import TidewatchError
from schemas.severity import Severity
from schemas.toml_config import ConfigReader
from streams.http.decisions import OnUnknown
from streams.http.listening import Limits, Listen, check_listen

PORT: Final = 9443
BODY_BYTES: Final = 8 * 1024 * 1024
"""An object of etcd's largest size, twice, as JSON."""


class AdmissionConfigError(TidewatchError):
    """A configuration that is invalid or inconsistent."""


class AdmissionListen(Listen, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address of the webhook, and its certificates."""

    port: int = PORT
    """The port; 0 takes a free one, which the log names."""


class ReviewLimits(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the webhook's connections."""

    body_bytes: int = BODY_BYTES
    """Largest body of a request."""


class AdmissionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of one admission webhook."""

    tenants: dict[str, str]
    """By namespace, or a pattern of namespaces as `ml-*`, the tenant whose assessments count; the
    first that matches. An object without a namespace matches an empty one.
    """
    unknown: OnUnknown = OnUnknown.REFUSE
    """What to do with images and models that are not named by digest, not fully assessed, or could
    not be checked: `refuse` fails closed, `admit` fails open with a warning. Known bad ones are
    refused either way.
    """
    fail_on: Severity = Severity.HIGH
    """The least severe finding that refuses."""
    require_signature: bool = False
    """Refuse images and models without a signature of the tenant's keys, verified by the scan."""
    exempt: tuple[str, ...] = ()
    """Images and models that need no assessment: patterns as `registry.example/system/*`. Known bad
    ones are refused all the same."""
    clients: tuple[str, ...] = ()
    """Names of client certificates that may call the webhook, as `CN=kube-apiserver` or `DNS:…`; if
    empty, any client may.
    """
    listen: AdmissionListen = AdmissionListen()
    """Where it listens."""
    limits: ReviewLimits = ReviewLimits()
    """Limits of its connections."""

    def tenant_of(self, namespace: str) -> str | None:
        """Return the tenant of a namespace, None if it has none."""
        if namespace in self.tenants:
            return self.tenants[namespace]
        matching = (
            tenant for pattern, tenant in self.tenants.items() if fnmatchcase(namespace, pattern)
        )
        return next(matching, None)

    def is_exempt(self, reference: str) -> bool:
        """Return whether an image or model needs no assessment."""
        return any(fnmatchcase(reference, pattern) for pattern in self.exempt)


def _contradiction(config: AdmissionConfig) -> str | None:
    if not config.tenants:
        return "tenants: no namespace has a tenant"
    for pattern, tenant in config.tenants.items():
        if not tenant.strip() or len(tenant) > ID_LIMIT:
            return f"tenants.{pattern}: the tenant is empty or too long"
    if config.clients and config.listen.client_ca is None:
        return "clients need listen.client_ca"
    return check_listen(config.listen, config.limits)


_READER: Final = ConfigReader(
    AdmissionConfig,
    what="the admission webhook",
    example="deploy/admit.example.toml",
    error=AdmissionConfigError,
    problem=_contradiction,
)
read_config: Final = _READER.read
load_config: Final = _READER.load
