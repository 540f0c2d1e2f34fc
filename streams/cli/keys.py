"""`tidewatch keys`: make signing keys and bind them to actors, tenants and decisions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from schemas.cloudevents import format_time
from schemas.conversion import Converter
from schemas.errors import TidewatchError
from schemas.key_bindings import KeyBinding, TrustedKey
from streams.cli.frame import example, new_app
from streams.cli.output import Format, FormatOption, plain, print_json, print_line, print_table
from streams.settings import load_settings
from streams.signing_keys import (
    OPERATOR,
    check_key_name,
    keys_dir,
    load_or_create_signing_key,
    load_trusted,
    trusted_dir,
    write_binding,
)

_BINDING: Final = Converter(KeyBinding)

app = new_app("Make the keys that sign decisions, and bind each to rights.")

NameArgument = Annotated[str, typer.Argument(help="the key's id")]
ActorOption = Annotated[str, typer.Option(help="the key's actor, recorded with each decision")]
TenantsOption = Annotated[
    list[str] | None,
    typer.Option("--tenant", help="a tenant it may decide for, repeatable; * for all"),
]
DecisionsOption = Annotated[
    list[str] | None,
    typer.Option("--decision", help="a decision it may make, repeatable; * for all"),
]
PublishesOption = Annotated[
    list[str] | None, typer.Option("--publish", help="policy or intel, repeatable")
]
VouchesOption = Annotated[
    bool, typer.Option("--vouches", help="decide on behalf of people, as the console does")
]


def _binding(
    actor: str,
    tenants: list[str] | None,
    decisions: list[str] | None,
    publishes: list[str] | None,
    *,
    vouches: bool,
) -> KeyBinding:
    """Return the binding that the options describe.

    Raises:
        TidewatchError: A decision or publication is unknown, or a fact is to be for one tenant.
    """
    try:
        binding = _BINDING(
            {
                "actor": actor,
                "tenants": "*" if "*" in (tenants or ()) else tenants or (),
                "decisions": "*" if "*" in (decisions or ()) else decisions or (),
                "publishes": publishes or (),
                "vouches": vouches,
            }
        )
    except msgspec.ValidationError as error:
        raise TidewatchError(
            f"invalid binding: {error}",
            where="--decision, --publish",
            remedy="decisions are named as the commands of: tidewatch incidents --help",
        ) from error
    if "intel" in binding.publishes and binding.tenants != "*":
        raise TidewatchError(
            "intelligence counts for all tenants",
            where="--publish intel",
            remedy="add --tenant '*'",
        )
    return binding


@app.command(
    epilog=example(
        "tidewatch keys create ann --actor ann@acme.example --tenant acme --decision approve"
    )
)
def create(
    name: NameArgument,
    *,
    actor: ActorOption,
    tenant: TenantsOption = None,
    decision: DecisionsOption = None,
    publish: PublishesOption = None,
    vouches: VouchesOption = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make a key, and bind it to its actor and rights.

    To use it, set TIDEWATCH_SIGNING_KEY to its name. Workers with another state folder trust it
    once its two files below keys/trusted/operator are copied there.
    """
    check_key_name(name)
    binding = _binding(actor, tenant, decision, publish, vouches=vouches)
    folder = keys_dir(load_settings().state_dir)
    load_or_create_signing_key(folder, name, purpose=OPERATOR)
    path = write_binding(folder, name, binding)
    if form is Format.JSON:
        _print_binding(name, binding)
        return
    print_line(plain(f"made {name} of {actor}: {path.with_suffix('.pem')} and {path}"))


@app.command(epilog=example("tidewatch keys bind ann --actor ann@acme.example --tenant acme"))
def bind(
    name: NameArgument,
    *,
    actor: ActorOption,
    tenant: TenantsOption = None,
    decision: DecisionsOption = None,
    publish: PublishesOption = None,
    vouches: VouchesOption = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Change what a trusted key may sign."""
    folder = keys_dir(load_settings().state_dir)
    _trusted(name)
    binding = _binding(actor, tenant, decision, publish, vouches=vouches)
    path = write_binding(folder, name, binding)
    if form is Format.JSON:
        _print_binding(name, binding)
        return
    print_line(plain(f"bound {name} to {actor}: {path}"))


@app.command(epilog=example("tidewatch keys retire ann"))
def retire(name: NameArgument, *, form: FormatOption = Format.TEXT) -> None:
    """Retire a key: records that the broker receives from now on can't be signed with it.

    Earlier signatures stay valid, also when workers read the records again. Remove a stolen key
    instead: delete its files.
    """
    binding = _trusted(name).binding
    if binding is None:
        raise TidewatchError(f"{name} is bound to no actor, so it signs nothing", where=name)
    now = datetime.now(UTC)
    folder = keys_dir(load_settings().state_dir)
    ended = msgspec.structs.replace(binding, until=now)
    write_binding(folder, name, ended)
    if form is Format.JSON:
        _print_binding(name, ended)
        return
    print_line(plain(f"{name} of {binding.actor} ends at {format_time(now)}"))


@app.command("list", epilog=example("tidewatch keys list"))
def list_keys(*, form: FormatOption = Format.TEXT) -> None:
    """List the keys that may sign decisions, policies and intelligence."""
    trusted = load_trusted(_folder())
    if form is Format.JSON:
        print_json(
            [
                {"key": kid, "actor": None, **msgspec.to_builtins(key.binding or {})}
                for kid, key in trusted.items()
            ]
        )
        return
    print_table(
        ("key", "actor", "tenants", "decisions", "publishes", "until"),
        [_row(kid, key) for kid, key in trusted.items()],
    )


def _print_binding(name: str, binding: KeyBinding) -> None:
    """Print what a key may sign, as a JSON document."""
    print_json({"name": name, **msgspec.to_builtins(binding)})


def _row(kid: str, key: TrustedKey) -> tuple[str, ...]:
    binding = key.binding
    if binding is None:
        return (kid, "nobody", "", "", "", "")
    return (
        kid,
        binding.actor,
        ", ".join(binding.tenants),
        ", ".join(binding.decisions),
        ", ".join(binding.publishes),
        "" if binding.until is None else format_time(binding.until),
    )


def _folder() -> Path:
    return trusted_dir(keys_dir(load_settings().state_dir), OPERATOR)


def _trusted(name: str) -> TrustedKey:
    check_key_name(name)
    found = load_trusted(_folder()).get(name)
    if found is None:
        raise TidewatchError(
            f"no key {name} is trusted",
            where=str(_folder()),
            remedy="put its public key there, or see: tidewatch keys list",
        )
    return found
