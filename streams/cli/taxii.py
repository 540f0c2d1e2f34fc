"""`tidewatch taxii`: serve what is shared with partners by TAXII 2.1."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.counting import counted
from schemas.errors import TidewatchError
from streams.cli.frame import CheckOption, connected_settings, example, new_app, required_file
from streams.cli.output import Format, FormatOption, plain, print_json, print_line

if TYPE_CHECKING:
    from streams.taxii.config import TaxiiConfig

app = new_app("Serve what is shared with partners by TAXII 2.1.")


@app.command(
    epilog=example(
        "tidewatch taxii --check taxii.toml",
        "tidewatch taxii --config taxii.toml",
    )
)
def taxii(
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="the server's TOML file (deploy/taxii.example.toml)"),
    ] = None,
    check: CheckOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Serve the topic `intel-share` to the readers that the file names, until stopped.

    There is a collection for each TLP marking, and a reader sees those up to its own. A reader that
    the file binds to a tenant also sees that tenant's own indicators. By default the server
    listens on this machine only. See docs/sharing.md.
    """
    from streams.taxii.config import load_config  # noqa: PLC0415 -- only this command

    if check is not None:
        _check(load_config(check), form)
        return
    asyncio.run(_run(load_config(required_file(config))))


def _check(config: TaxiiConfig, form: Format) -> None:
    from streams.taxii.config import read_tokens  # noqa: PLC0415 -- only this command

    problem = ""
    try:
        read_tokens(config)
    except TidewatchError as error:
        problem = error.explain()
    readers = {reader.name: reader for reader in config.readers}
    if form is Format.JSON:
        markings = {name: list(map(str, reader.markings)) for name, reader in readers.items()}
        tenants = {name: reader.tenant for name, reader in readers.items() if reader.tenant}
        problems = [problem] if problem else []
        print_json({"valid": True, "problems": problems, "readers": markings, "tenants": tenants})
    else:
        print_line(f"valid: {counted(len(readers), 'reader')}")
        for name, reader in readers.items():
            own = f", of what is shared and of {reader.tenant}" if reader.tenant else ""
            print_line(plain(f"  {name} reads TLP {', '.join(reader.markings)}{own}"))
        if problem:
            print_line(f"missing  {plain(problem)}")
    if problem:
        raise typer.Exit(2)


async def _run(config: TaxiiConfig) -> None:
    from streams.logs import configure_logs  # noqa: PLC0415 -- only this command
    from streams.taxii.serving import KafkaTaxii  # noqa: PLC0415 -- brings Kafka

    settings = connected_settings()
    configure_logs(settings, app="taxii")
    server = KafkaTaxii(settings, config)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.run(stop)
