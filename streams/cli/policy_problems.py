"""Finds settings in a tenant's policy with no effect, or an unexpected one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

from agents.checks.packages.indexes import read_origin
from agents.checks.provenance.identity import REGISTRY_ALIASES, registry_name
from agents.checks.suppressing import last_day
from agents.domain.check_names import CheckName
from agents.domain.rules import all_rules
from agents.fetching.errors import RefusedError
from agents.fetching.fetch_scope import parse_location
from agents.messages import OPERATOR
from agents.triage.incidents.recovery import ENTRY_POINT
from schemas.cloudevents import ID_LIMIT
from schemas.components import PREFIXES, ComponentKind
from schemas.documents.openc2 import ACTIONS
from schemas.incidents.commands import UNDO
from schemas.policy import Policy, TrustRoot, is_signer

COMMANDED: Final = frozenset(ACTIONS) - frozenset(UNDO.values())
"""Actions that an incident calls for; those that undo others follow automatically."""
EVALUATION: Final = "evaluation:"
"""Begins the name of a required check that only a person's evaluation passes."""
REGISTRIES: Final = frozenset(
    {
        *REGISTRY_ALIASES,
        *REGISTRY_ALIASES.values(),
        "artifact-registry",
        "azure-ml",
        "ecr",
        "github",
        "gitlab",
        "harbor",
        "jfrog",
        "mlflow",
        "oci",
        "quay",
        "sagemaker",
        "wandb",
        # types of purl, by which CDEvents name where an artifact is
        "conda",
        "docker",
        "generic",
        "golang",
        "maven",
        "npm",
        "pypi",
    }
)
"""Registries that adapters name by a word; all others they name by their host."""
_HOST: Final = re.compile(
    r"(?=[^\s/]*[.:])[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?(/\S*)?"
)
_SHORT: Final = 3
"""Letters that a prefix of names has at least."""
_SHOWN: Final = 100


def policy_problems(policy: Policy) -> list[str]:
    """Return the settings with no effect or an unexpected one, a sentence each.

    Args:
        policy: A policy that can be read.
    """
    return [
        *_tenant(policy.tenant),
        *_actions(policy),
        *_checks(policy.required_checks),
        *_roots(policy.roots),
        *_registries(policy),
        *_publishers(policy.trusted.publishers),
        *_indexes(policy),
        *_suppressions(policy),
        *_trust_roots(policy.trust_roots),
    ]


@cache
def known_checks() -> frozenset[str]:
    """Return the names of checks; those of files end with an underscore and the path."""
    return frozenset((*CheckName, ENTRY_POINT))


def is_known_check(name: str) -> bool:
    """Return whether a required name is a check's name, or the prefix of such names."""
    known = known_checks()
    return name in known or any(
        check.startswith(f"{name}_") or name.startswith(f"{check}_") for check in known
    )


def is_known_registry(name: str) -> bool:
    """Return whether an adapter, or an event with a host for a registry, names a registry so."""
    bare = registry_name(name)
    return bare in REGISTRIES or _HOST.fullmatch(bare) is not None


def _tenant(tenant: str) -> Iterator[str]:
    shown = repr(tenant[:_SHOWN])
    if not tenant.strip() or tenant != tenant.strip():
        yield f"tenant: {shown} is empty or begins or ends with white space"
    elif len(tenant) > ID_LIMIT:
        yield f"tenant: longer than {ID_LIMIT} characters, which no event's tenant is"
    elif not tenant.isprintable() or "|" in tenant:
        yield f"tenant: {shown} has a control character, or a | as between parts of keys"
    elif tenant == OPERATOR:
        yield f"tenant: {shown} is the name of the operator's own records"


def _near(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _actions(policy: Policy) -> Iterator[str]:
    undoing: dict[str, str] = {undo: action for action, undo in UNDO.items()}
    for field, actions in (("automatic", policy.automatic), ("advised", policy.advised)):
        for action in actions:
            if action in undoing:
                yield f"{field}: {action} follows {undoing[action]} automatically: do not name it"
            elif action not in COMMANDED:
                near = _near(action, COMMANDED)
                yield f"{field}: {action[:_SHOWN]!r} is not an action{near}"
    if policy.automatic and policy.dry_run:
        yield "automatic: nothing happens while dry_run is on"
    both = sorted(set(policy.automatic) & set(policy.advised))
    if both:
        yield f"automatic and advised both name {', '.join(both)}"


def _checks(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if not is_known_check(name) and not name.startswith(EVALUATION):
            near = _near(name, known_checks())
            yield (
                f"required_checks: {name[:_SHOWN]!r} is not a check{near or '; '}"
                f"{' ' if near else ''}write {EVALUATION}{name[:_SHOWN]} if a person is to pass it"
            )


def _roots(roots: Iterable[str]) -> Iterator[str]:
    for root in roots:
        try:
            location = parse_location(root)
        except RefusedError as error:
            yield f"roots: {root[:_SHOWN]!r}: {error.what}; write it as scheme://host/path"
            continue
        if location.query or location.fragment:
            yield f"roots: {root[:_SHOWN]!r} has a query or fragment, which is ignored"
        elif location.scheme != "file" and not location.host and location.scheme != "hf":
            yield f"roots: {root[:_SHOWN]!r} names no host"


def _trust_roots(roots: Iterable[TrustRoot]) -> Iterator[str]:
    for root in roots:
        if not is_signer(root.signer):
            yield (
                f"trust_roots: {root.signer[:40]!r} is not a PEM public key, a PEM certificate, "
                "no sigstore:IDENTITY ISSUER and no publisher:…"
            )
        if not root.namespaces:
            yield "trust_roots: a signer without namespaces is authorised for nothing"
        for name in root.namespaces:
            prefix = name.partition(":")[0]
            if prefix not in PREFIXES or name == "*":
                yield (
                    f"trust_roots: {name[:_SHOWN]!r} is not a component key; "
                    "write kind:name, or kind:name/* for all below"
                )


def _registries(policy: Policy) -> Iterator[str]:
    for field, names in (
        ("trusted.registries", policy.trusted.registries),
        ("internal.registries", policy.internal.registries),
    ):
        for name in names:
            if not is_known_registry(name):
                near = _near(registry_name(name), REGISTRIES)
                yield (
                    f"{field}: no adapter names a registry {name[:_SHOWN]!r}{near or ';'}"
                    " write its host, or one of "
                    f"{', '.join(sorted(REGISTRIES - set(REGISTRY_ALIASES)))}"
                )


def _publishers(publishers: Iterable[str]) -> Iterator[str]:
    for key in publishers:
        prefix, _, name = key.partition(":")
        if prefix != ComponentKind.PUBLISHER or "/" not in name or prefix not in PREFIXES:
            yield (
                f"trusted.publishers: {key[:_SHOWN]!r} is not a publisher key;"
                " write publisher:<registry>/<name>"
            )


def _indexes(policy: Policy) -> Iterator[str]:
    for field, urls in (
        ("trusted.indexes", policy.trusted.indexes),
        ("internal.indexes", policy.internal.indexes),
    ):
        for url in urls:
            origin = read_origin(url if "://" in url else f"https://{url}")
            if origin is None:
                yield f"{field}: {url[:_SHOWN]!r} can't be read, so it allows nothing"
            elif origin.userinfo:
                yield f"{field}: an index with credentials in it; use `credentials`"
            elif origin.scheme == "http" and not origin.is_local:
                yield f"{field}: {origin.url} does not use TLS"
    if (policy.internal.names or policy.internal.prefixes) and not policy.internal.indexes:
        yield "internal: names without indexes, so dependency confusion is not detected"
    for prefix in policy.internal.prefixes:
        if len(prefix.strip("-_.")) < _SHORT:
            yield f"internal.prefixes: {prefix!r} is so short that it matches public packages"


def _suppressions(policy: Policy) -> Iterator[str]:
    for number, suppression in enumerate(policy.suppressions, 1):
        if last_day(suppression) is None:
            yield f"suppressions: number {number} ends on no day; write expires as YYYY-MM-DD"
        elif not (suppression.rule_id or suppression.digest or suppression.path):
            yield f"suppressions: number {number} names no rule, digest or path"
        elif suppression.rule_id and suppression.rule_id not in all_rules():
            near = _near(suppression.rule_id, all_rules())
            yield f"suppressions: {suppression.rule_id[:_SHOWN]!r} is not a rule{near}"
