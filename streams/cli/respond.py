"""`tidewatch respond`: carry out containment commands."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import TidewatchError
from streams.cli.frame import connected_settings, example, new_app
from streams.cli.output import Format, FormatOption, plain, print_json, print_line
from streams.settings import load_settings

if TYPE_CHECKING:
    from agents.response.config import ResponderConfig
    from agents.response.outcome import CommandOutcome
    from schemas.incidents.commands import CommandSpec
    from schemas.signing import SigningKey

app = new_app("Carry out containment commands.")

ConfigOption = Annotated[
    Path, typer.Option("--config", help="the responder's TOML file (deploy/responder.example.toml)")
]


@app.command(
    epilog=example(
        "tidewatch respond run --config responder.toml",
        "tidewatch respond run --config responder.toml --once --dry-run",
    )
)
def run(
    *,
    config: ConfigOption,
    once: Annotated[
        bool, typer.Option("--once", help="exit when all commands are answered")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="report what it would do, without acting or answering")
    ] = False,
) -> None:
    """Carry out the commands of the tenants in the file, until stopped.

    Only commands signed by a trusted key are carried out, each once. Results are signed.
    """
    from agents.response.config import load_config, unmet  # noqa: PLC0415 -- only this command
    from agents.response.journal import ResponseJournal  # noqa: PLC0415 -- the same
    from streams.apps.responder import KafkaResponder, sole_use  # noqa: PLC0415 -- brings Kafka
    from streams.logs import configure_logs  # noqa: PLC0415 -- the same
    from streams.signing_keys import COMMANDS, keys_dir, load_ring, trusted_dir  # noqa: PLC0415 -- the same

    chosen = load_config(config)
    missing = unmet(chosen)
    if missing:
        raise TidewatchError(missing[0], where=str(config), remedy="see: tidewatch respond check")
    settings = connected_settings()
    configure_logs(settings, app="respond")
    folder = trusted_dir(keys_dir(settings.state_dir), COMMANDS)
    ring = load_ring(folder)
    if not ring:
        raise TidewatchError(
            "no key is trusted to sign commands",
            where=str(folder),
            remedy="copy the public keys of the incidents app there, from its own such folder",
        )
    with sole_use(chosen):
        journal = ResponseJournal(chosen.state_dir / "journal.db", datetime.now(UTC))
        try:
            responder = KafkaResponder(
                settings,
                chosen,
                ring,
                _signing_key(settings.state_dir, chosen),
                journal,
                show=_show if dry_run else None,
            )
            asyncio.run(responder.run(once=once))
        finally:
            journal.close()


@app.command(epilog=example("tidewatch respond check --config responder.toml"))
def check(*, config: ConfigOption, form: FormatOption = Format.TEXT) -> None:
    """Check the file, and the folders and keys that it needs."""
    from agents.response.config import load_config, unmet  # noqa: PLC0415 -- only this command
    from streams.signing_keys import COMMANDS, keys_dir, load_ring, trusted_dir  # noqa: PLC0415 -- the same

    chosen = load_config(config)
    problems = unmet(chosen)
    folder = trusted_dir(keys_dir(load_settings().state_dir), COMMANDS)
    if not load_ring(folder):
        problems.append(f"no key is trusted to sign commands: {folder} is empty")
    if form is Format.JSON:
        print_json({"valid": True, "tenants": sorted(chosen.tenants), "problems": problems})
    else:
        print_line(f"valid: serves {plain(', '.join(sorted(chosen.tenants)))}")
        for problem in problems:
            print_line(f"missing  {plain(problem)}")
    if problems:
        raise typer.Exit(2)


@app.command(epilog=example("tidewatch respond keygen --config responder.toml > responder.pem"))
def keygen(*, config: ConfigOption) -> None:
    """Make the responder's signing key on first use, and print its public half.

    Workers trust it once it is in their keys/trusted/responder folder, in a file named after the
    responder. If they share the state folder, it is there already.
    """
    from agents.response.config import load_config  # noqa: PLC0415 -- only this command

    key = _signing_key(load_settings().state_dir, load_config(config))
    print_line(key.public_pem().decode().rstrip("\n"))


def _signing_key(state_dir: Path, config: ResponderConfig) -> SigningKey:
    """Return the responder's key under its own name, its public half among the trusted keys."""
    from agents.response.durable import write_whole  # noqa: PLC0415 -- only these commands
    from schemas.signing import SigningKey  # noqa: PLC0415 -- the same
    from streams.signing_keys import (  # noqa: PLC0415 -- the same
        RESPONDER,
        keys_dir,
        load_or_create_signing_key,
        trusted_dir,
    )

    folder = keys_dir(state_dir)
    key = load_or_create_signing_key(folder, RESPONDER)
    named = SigningKey(kid=config.name, pem=key.pem)
    public = trusted_dir(folder, RESPONDER) / f"{config.name}.pem"
    if not public.exists():
        write_whole(public, named.public_pem())
    return named


def _show(spec: CommandSpec, outcome: CommandOutcome) -> None:
    print_line(
        f"{spec.command_id}  {plain(spec.action, 20)}  {plain(spec.target, 80)}  "
        f"{outcome.status}  {plain(outcome.status_text, 200)}"
    )
