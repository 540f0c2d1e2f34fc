"""Maps the claims of an OpenID provider to a console user: name, roles and tenants."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from streams.console.config import OpenIdConfig
from streams.console.viewer import Viewer
from streams.http.problems import HttpError

MOST_NAME: Final = 200
MOST_VALUES: Final = 2_000
"""The most values of one claim that are read: providers list every group of a person."""
ALL: Final = "*"


def viewer_of(claims: Mapping[str, Any], config: OpenIdConfig) -> Viewer:
    """Return the person that the claims of an ID token describe.

    The highest of several roles counts; tenants are combined.

    Args:
        claims: The claims of a token that was verified.
        config: Which claims count, and what their values mean.

    Raises:
        HttpError: They name no person, or one without a role or a tenant here.
    """
    name = _name(claims, config.name_claim)
    roles = [
        config.roles[value]
        for value in _values(claims, config.roles_claim)
        if value in config.roles
    ]
    tenants = {
        tenant
        for value in _values(claims, config.tenants_claim)
        for tenant in config.tenants.get(value, ())
    }
    if not roles:
        raise _refused(f"{name} has no role here", config.roles_claim, "oidc.roles")
    if not tenants:
        raise _refused(f"{name} has no tenant here", config.tenants_claim, "oidc.tenants")
    return Viewer(
        name=name,
        role=max(roles, key=lambda role: role.rank),
        tenants=ALL if ALL in tenants else tuple(sorted(tenants)),
    )


def lacks(claims: Mapping[str, Any], config: OpenIdConfig) -> bool:
    """Return whether a claim that counts is not among these.

    Args:
        claims: The claims of a token that was verified.
        config: Which claims count.
    """
    counted = {config.name_claim, config.roles_claim, config.tenants_claim}
    if config.name_claim == "email":
        counted.add("email_verified")
    return any(_claim(claims, name) is None for name in counted)


def _name(claims: Mapping[str, Any], claim: str) -> str:
    name = _claim(claims, claim)
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise _refused(f"your provider does not give your {claim}", claim, "oidc.name_claim")
    if claim == "email" and claims.get("email_verified") is not True:
        # a user who can set any address there could decide under another's name
        raise _refused(
            "your provider has not verified your address", "email_verified", "oidc.name_claim"
        )
    if len(name) > MOST_NAME:
        raise _refused(f"your {claim} is too long", claim, "oidc.name_claim")
    return name.strip()


def _refused(what: str, claim: str, field: str) -> HttpError:
    return HttpError(
        HTTPStatus.FORBIDDEN,
        what,
        where=f"claim {claim}",
        remedy=f"ask the operator: the claim {claim} and the setting {field} decide",
    )


def _values(claims: Mapping[str, Any], claim: str) -> list[str]:
    value = _claim(claims, claim)
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [item for item in value[:MOST_VALUES] if isinstance(item, str)]
    return []


def _claim(claims: Mapping[str, Any], claim: str) -> object:
    """Return a claim by its name, or by a path of names separated by full stops."""
    if claim in claims:
        return claims[claim]
    found: object = claims
    for name in claim.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
