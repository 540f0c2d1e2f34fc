"""`tidewatch gateway`: take events and webhooks over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.counting import counted
from schemas.errors import TidewatchError
from streams.cli.frame import connected_settings, example, new_app, required_file
from streams.cli.output import Format, FormatOption, plain, print_json, print_line, print_table

if TYPE_CHECKING:
    from streams.gateway.config import GatewayConfig

app = new_app("Take events and webhooks over HTTP.")


@app.command(
    epilog=example(
        "tidewatch gateway --check gateway.toml",
        "tidewatch gateway --config gateway.toml",
    )
)
def gateway(
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="the gateway's TOML file (deploy/gateway.example.toml)"),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", help="list this file's addresses and what is missing"),
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option("--test", help="try this endpoint of the running gateway; repeatable"),
    ] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Receive producers' events over HTTP, and write them to the topics of events, until stopped.

    Each endpoint of the file is bound to a tenant, a producer and a secret; `--check` prints the
    address to paste at the producer, and `--test` sends a request with the endpoint's proof that is
    not written to Kafka. docs/gateway.md has a section for each producer.
    """
    from streams.gateway.config import load_config  # noqa: PLC0415 -- only this command

    if check is not None:
        _check(load_config(check), form)
        return
    if test:
        _test(load_config(required_file(config)), test, form)
        return
    _run(load_config(required_file(config)))


def _test(config: GatewayConfig, names: list[str], form: Format) -> None:
    """Test endpoints, and exit with 1 if one refuses its producer's request."""
    from streams.gateway.trying import try_endpoint  # noqa: PLC0415 -- only this option

    tried = {name: try_endpoint(name, config) for name in names}
    if form is Format.JSON:
        print_json(
            {
                name: {"url": outcome.url, "status": outcome.status or None, "well": outcome.well}
                for name, outcome in tried.items()
            }
        )
    else:
        for name, outcome in tried.items():
            answer = str(outcome.status) if outcome.status else "-"
            print_line(f"{plain(name)}  {answer}  {plain(outcome.url)}  {plain(outcome.why)}")
    if not all(outcome.well for outcome in tried.values()):
        raise typer.Exit(1)


def _run(config: GatewayConfig) -> None:
    from streams.gateway.running import run_gateway  # noqa: PLC0415 -- brings Kafka
    from streams.logs import configure_logs  # noqa: PLC0415 -- the same

    settings = connected_settings()
    configure_logs(settings, app="gateway")
    asyncio.run(run_gateway(settings, config))


def _check(config: GatewayConfig, form: Format) -> None:
    from streams.gateway.config import fields  # noqa: PLC0415 -- only this command

    shown, problems = fields(config), _problems(config)
    if form is Format.JSON:
        print_json({"valid": True, "problems": problems, **shown})
    else:
        print_line(f"valid: {counted(len(config.endpoints), 'endpoint')}")
        print_table(
            ["endpoint", "tenant", "producer", "proof", "address"],
            [
                [
                    name,
                    endpoint["tenant"],
                    endpoint["producer"],
                    f"{endpoint['proof']} {endpoint['header'] or ''}".strip(),
                    endpoint["url"],
                ]
                for name, endpoint in shown["endpoints"].items()
            ],
        )
        for problem in problems:
            print_line(f"missing  {plain(problem)}")
    if problems:
        raise typer.Exit(2)


def _problems(config: GatewayConfig) -> list[str]:
    """Return what this machine lacks, one sentence each."""
    from streams.gateway.proofs import Prover  # noqa: PLC0415 -- only this command
    from streams.http.listening import tls_context  # noqa: PLC0415 -- the same

    problems: list[str] = []
    for name, endpoint in config.endpoints.items():
        try:
            Prover(name, endpoint)
        except TidewatchError as error:
            problems.append(error.explain())
    try:
        tls_context(config.listen)
    except TidewatchError as error:
        problems.append(error.explain())
    return problems
