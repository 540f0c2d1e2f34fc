"""`tidewatch policy`: set, show and check tenants' policies."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import orjson
import typer

from schemas.channels import Channel
from schemas.conversion import Converter
from schemas.errors import TidewatchError
from schemas.policy import Policy, default_policy
from streams.cli.frame import connected_settings, example, new_app
from streams.cli.output import Format, FormatOption, plain, print_json, print_line
from streams.cli.policy_problems import policy_problems
from streams.kafka.compacted import latest_values, publish_values
from streams.reports.toml_text import to_toml

if TYPE_CHECKING:
    from streams.settings import Settings

_POLICY: Final = Converter(Policy)

_POLICIES: Final = msgspec.json.Decoder(Policy)

app = new_app("Set, show and check tenants' policies.")

MAX_POLICY_BYTES = 1 << 20


class InvalidPolicyError(TidewatchError):
    """A policy file that can't be read, or is not valid."""


def read_policy(file: Path) -> Policy:
    """Return the policy in a TOML or JSON file.

    Raises:
        InvalidPolicyError: Unreadable, an unknown field, or a field of the wrong kind.
    """
    try:
        raw = file.read_bytes()[: MAX_POLICY_BYTES + 1]
    except OSError as error:
        raise InvalidPolicyError(
            f"can't read it ({error.strerror})", where=str(file), remedy="name a readable file"
        ) from error
    return parse_policy(raw, str(file))


def parse_policy(raw: bytes, where: str) -> Policy:
    """Return the policy in TOML or JSON.

    Args:
        raw: The text.
        where: Where it is from, for errors.

    Raises:
        InvalidPolicyError: It is too large, has an unknown field, or one of the wrong kind.
    """
    if len(raw) > MAX_POLICY_BYTES:
        raise InvalidPolicyError("a policy of more than 1 MiB", where=where)
    try:
        document: Any = (
            orjson.loads(raw) if raw.lstrip()[:1] == b"{" else tomllib.loads(raw.decode())
        )
        unknown = sorted(_unknown(document, Policy))
        if unknown:
            raise InvalidPolicyError(
                f"unknown fields: {', '.join(unknown)}",
                where=where,
                remedy=f"fields are {', '.join(Policy.__struct_fields__)}",
            )
        return _POLICY(document)
    except (ValueError, msgspec.ValidationError) as error:
        raise InvalidPolicyError(f"not a policy: {error}", where=where) from error


def _unknown(document: Any, kind: type[Any], path: str = "") -> list[str]:  # noqa: ANN401 -- any JSON value
    """Return unknown fields: a misspelt one would protect nothing."""
    if not isinstance(document, dict):
        return []
    known = {field.name: field.type for field in msgspec.structs.fields(kind)}
    found: list[str] = []
    for name, value in document.items():
        inner = known.get(name)
        if inner is None:
            found.append(f"{path}{name}")
        elif isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            found += _unknown(value, inner, f"{path}{name}.")
    return found


def _credentials_problem(policy: Policy, settings: Settings) -> str | None:
    """Return why the policy's credentials have no effect, if the file of secrets is known here."""
    if policy.credentials is None or settings.fetch_credentials is None:
        return None
    from streams.fetch_credentials import credentials_problem, read_tables  # noqa: PLC0415 -- --help is quick

    return credentials_problem(policy, read_tables(settings.fetch_credentials))


@app.command("set", epilog=example("tidewatch policy set tenant-a.toml"))
def set_policy(
    file: Annotated[Path, typer.Argument(help="the policy, TOML or JSON")],
    *,
    form: FormatOption = Format.TEXT,
) -> None:
    """Publish a tenant's policy; it applies from the next event on."""
    policy = read_policy(file)
    settings = connected_settings()
    problem = _credentials_problem(policy, settings)
    if problem is not None:
        raise InvalidPolicyError(
            problem, where=str(file), remedy="name one of these tables, or add it to the file"
        )
    value = msgspec.json.encode(policy)
    asyncio.run(publish_values(settings, Channel.POLICY, [(policy.tenant, value)]))
    if form is Format.JSON:
        print_json({"tenant": policy.tenant, "version": policy.version})
        return
    print_line(plain(f"policy {policy.version} of {policy.tenant} is set"))
    for problem in policy_problems(policy):
        print_line(plain(f"  note: {problem}"))


@app.command(epilog=example("tidewatch policy show tenant-a --format json"))
def show(
    tenant: Annotated[str, typer.Argument(help="the tenant")],
    *,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show a tenant's policy as `policy set` takes it, or the default if it has none."""
    values = asyncio.run(latest_values(connected_settings(), Channel.POLICY))
    raw = values.get(tenant)
    policy = default_policy(tenant) if raw is None else _POLICIES.decode(raw)
    document = msgspec.to_builtins(policy)
    if form is Format.JSON:
        print_json(document)
        return
    if raw is None:
        print_line(plain(f"# {tenant} has no policy; this is the default"))
    for line in to_toml(document).splitlines():
        print_line(plain(line))


@app.command(epilog=example("tidewatch policy check tenant-a.toml"))
def check(
    file: Annotated[Path, typer.Argument(help="the policy, TOML or JSON")],
    *,
    form: FormatOption = Format.TEXT,
) -> None:
    """Check a policy file; exit code 1 if a setting has no effect or an unexpected one."""
    policy = read_policy(file)
    problems = policy_problems(policy)
    from streams.settings import load_settings  # noqa: PLC0415 -- --help is quick

    problem = _credentials_problem(policy, load_settings())
    problems += [problem] if problem else []
    if form is Format.JSON:
        print_json({"tenant": policy.tenant, "problems": problems})
    else:
        for problem in problems or ["no problems found"]:
            print_line(plain(problem))
    if problems:
        raise typer.Exit(1)
