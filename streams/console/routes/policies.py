"""Policies: each tenant's trust, automatic actions and suppressions."""

from __future__ import annotations

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.policy import default_policy
from streams.console.signed_in import Asked, Services, not_found, signed_in
from streams.reports.toml_text import to_toml


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of policies."""
    return [
        Route("/policies", signed_in(services, _list), methods=["GET"]),
        Route("/policy", signed_in(services, _policy), methods=["GET"]),
    ]


def _list(asked: Asked) -> Response:
    reader = asked.reader
    known = reader.policies()
    named = {row["id"] for row in known}
    without = [tenant for tenant in reader.tenants() if tenant not in named]
    return asked.page("policies.html", {"policies": known, "without": without})


def _policy(asked: Asked) -> Response:
    tenant = asked.text("tenant")
    if not tenant or not asked.viewer.reads(tenant):
        raise not_found("policy")
    policy = asked.reader.policy(tenant)
    return asked.page(
        "policy.html",
        {
            "tenant": tenant,
            "policy": policy or default_policy(tenant),
            "is_set": policy is not None,
            "written": asked.number("written", 0) if asked.text("written") else 0,
            "text": to_toml(msgspec.to_builtins(policy or default_policy(tenant))),
        },
    )
