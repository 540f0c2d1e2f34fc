"""Editing a tenant's policy: it is checked and compared before it is set."""

from __future__ import annotations

import difflib
from hashlib import sha256
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from agents.logs import Logger
from schemas.policy import Policy, default_policy
from streams.cli.output import plain
from streams.cli.policy import InvalidPolicyError, parse_policy
from streams.cli.policy_problems import policy_problems
from streams.console.pages import link, preformatted, secured
from streams.console.signed_in import MOST_TEXT, Asked, Services, not_found, signed_in
from streams.console.viewer import Role
from streams.reports.toml_text import to_toml

log = Logger()

CONTEXT: Final = 3
"""The lines of context around a change."""


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of editing."""
    return [
        Route("/policy/edit", signed_in(services, _edit, role=Role.ADMIN), methods=["GET"]),
        Route("/policy/edit", signed_in(services, _sent, role=Role.ADMIN), methods=["POST"]),
    ]


def _edit(asked: Asked) -> Response:
    tenant, current = _of(asked, asked.text("tenant"))
    base = current or default_policy(tenant)
    next_one = msgspec.structs.replace(base, version=base.version + (current is not None))
    return _form(asked, tenant, current, _text(next_one))


def _sent(asked: Asked) -> Response:
    tenant, current = _of(asked, asked.form.get("tenant", ""))
    text, step = asked.form.get("policy", ""), asked.form.get("step", "")
    try:
        policy = parse_policy(text.encode("utf-8", "replace"), "policy")
        _fits(policy, tenant, current)
    except InvalidPolicyError as error:
        said = f"{error.what}; {error.remedy}" if error.remedy else error.what
        return _form(asked, tenant, current, text, said, HTTPStatus.UNPROCESSABLE_ENTITY)
    if step == "edit":
        return _form(asked, tenant, current, _text(policy))
    if step != "set":
        return _compared(asked, tenant, current, policy)
    if asked.form.get("before", "") != _mark(current):
        said = "the policy was changed meanwhile: this is the difference from the current one"
        return _compared(asked, tenant, current, policy, said, HTTPStatus.CONFLICT)
    asked.services.change.set_policy(policy)
    log.info("console-policy-set", viewer=asked.viewer.name, tenant=tenant, version=policy.version)
    target = link("/policy", tenant=tenant, written=policy.version)
    return secured(RedirectResponse(target, HTTPStatus.SEE_OTHER))


def _of(asked: Asked, tenant: str) -> tuple[str, Policy | None]:
    """Return a tenant that this person may set a policy for, and its policy."""
    if not tenant or not asked.viewer.reads(tenant):
        raise not_found("policy")
    return tenant, asked.reader.policy(tenant)


def _fits(policy: Policy, tenant: str, current: Policy | None) -> None:
    """Refuse a policy of another tenant, or one older than the current one."""
    if policy.tenant != tenant:
        raise InvalidPolicyError(
            f"it is {policy.tenant[:80]}'s policy", remedy=f'write tenant = "{tenant}"'
        )
    if current is not None and policy.version <= current.version:
        raise InvalidPolicyError(
            f"version {policy.version} is not above the current one",
            remedy=f"write version = {current.version + 1}",
        )


def _form(
    asked: Asked,
    tenant: str,
    current: Policy | None,
    text: str,
    problem: str = "",
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    return asked.page(
        "policy_edit.html",
        {
            "tenant": tenant,
            "before": _mark(current),
            "text": preformatted(text),
            "problem": problem,
            "most": MOST_TEXT,
        },
        status,
    )


def _compared(
    asked: Asked,
    tenant: str,
    current: Policy | None,
    policy: Policy,
    problem: str = "",
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    return asked.page(
        "policy_compared.html",
        {
            "tenant": tenant,
            "version": policy.version,
            "before": _mark(current),
            "text": preformatted(_text(policy)),
            "changes": _changes(_text(current or default_policy(tenant)), _text(policy)),
            "notes": policy_problems(policy),
            "problem": problem,
        },
        status,
    )


def _changes(before: str, after: str) -> list[tuple[str, str]]:
    """Return the lines that differ with some context: the kind of each change, and the line."""
    words = {"+": "added", "-": "removed", " ": "same"}
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=CONTEXT, lineterm="")
    return [(words[line[0]], line[1:]) for line in list(lines)[2:] if line[0] in words]


def _text(policy: Policy) -> str:
    return "\n".join(plain(line) for line in to_toml(msgspec.to_builtins(policy)).splitlines())


def _mark(policy: Policy | None) -> str:
    """Return the fingerprint of a policy's state."""
    return sha256(msgspec.json.encode(policy)).hexdigest()
