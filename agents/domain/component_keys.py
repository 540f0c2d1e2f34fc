"""Makes component keys from an event's content: a private name (`@…`) belongs to its tenant."""

from __future__ import annotations

import re
from typing import Final

from schemas.components import (
    component_key,
    normalise_key,
    tenant_part,
    tenant_scoped,
)

_CONTENT: Final = re.compile(r"[0-9a-f]{40}|(?:sha256:)?[0-9a-f]{64}", re.IGNORECASE)


def names_content(version: str | None) -> bool:
    """Return whether a version is a commit or digest, and so names immutable content."""
    return version is not None and _CONTENT.fullmatch(version.strip()) is not None


def event_key(prefix: str, name: str, tenant: str) -> str:
    """Return the key of a component that an event of a tenant names.

    Args:
        prefix: The kind of component.
        name: As the event names it; `@owner/name` means the tenant's own `name` for any owner: no
            event reaches another tenant's namespace.
        tenant: The event's tenant.

    Raises:
        InvalidComponentError: unknown kind or empty name.
    """
    return confined(component_key(prefix, name), tenant)


def own_key(prefix: str, name: str, tenant: str) -> str:
    """Return the key of a name that is private to its tenant.

    Raises:
        InvalidComponentError: unknown kind or empty name.
    """
    key = event_key(prefix, name, tenant)
    return key if key.startswith(f"{prefix}:@") else tenant_scoped(key, tenant)


def named_key(text: str, tenant: str) -> str:
    """Return a whole key that an event of a tenant wrote, in canonical form.

    Raises:
        InvalidComponentError: not a component key.
    """
    return confined(normalise_key(text), tenant)


def confined(key: str, tenant: str) -> str:
    """Return a key as an event of `tenant` may use it: another's private name as its own."""
    prefix, colon, name = key.partition(":")
    if not colon or not name.startswith("@"):
        return key
    if name.startswith(f"@{tenant_part(tenant)}/"):
        return key
    bare = (name.partition("/")[2] or name).lstrip("@")
    # A name of only an owner still differs from all others of the tenant.
    return tenant_scoped(component_key(prefix, bare if bare.strip("/ ") else name), tenant)


def is_foreign(key: str, tenant: str) -> bool:
    """Return whether a key is another tenant's private name."""
    start = key.find(":") + 1
    return (
        start > 0
        and key.startswith("@", start)
        and not key.startswith(f"@{tenant_part(tenant)}/", start)
    )
