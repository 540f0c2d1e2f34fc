"""`tidewatch console`: incidents, components and containment in a browser."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.frame import connected_settings, example, new_app
from streams.cli.output import Format, FormatOption, plain, print_json, print_line

if TYPE_CHECKING:
    from streams.console.config import ConsoleConfig

app = new_app("Show incidents, components and containment in a browser.")


@app.command(
    epilog=example(
        "tidewatch console --check console.toml",
        "tidewatch console --config console.toml",
    )
)
def console(
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help="the console's TOML file (deploy/console.example.toml); optional"
        ),
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", help="check this file and this machine, then exit")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="the port, 0 for a free one")
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="print a new link to the console running here")
    ] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Serve the console until stopped, and print the link that signs you in.

    The link works once; `--link` prints another. With an OpenID provider, the link is the console's
    address.
    """
    from streams.console.config import ConsoleConfig, load_config  # noqa: PLC0415 -- brings HTTP

    if link:
        from streams.console.serving import printed_link  # noqa: PLC0415 -- the same
        from streams.settings import load_settings  # noqa: PLC0415 -- the same

        _say(printed_link(load_settings().state_dir), form)
        return
    if check is not None:
        _check(load_config(check), form)
        return
    chosen = load_config(config) if config is not None else ConsoleConfig()
    asyncio.run(_run(_on_port(chosen, port), form))


def _on_port(config: ConsoleConfig, port: int | None) -> ConsoleConfig:
    import msgspec  # noqa: PLC0415 -- only this command

    if port is None:
        return config
    listen = msgspec.structs.replace(config.listen, port=port)
    return msgspec.structs.replace(config, listen=listen)


def _say(link: str, form: Format) -> None:
    if form is Format.JSON:
        print_json({"link": link})
    else:
        print_line(link)


def _check(config: ConsoleConfig, form: Format) -> None:
    from schemas.errors import TidewatchError  # noqa: PLC0415 -- only this command
    from streams.console.openid import OpenId  # noqa: PLC0415 -- the same
    from streams.http.listening import tls_context  # noqa: PLC0415 -- the same

    problem = None
    try:
        tls_context(config.listen)
        config.intelligence.read_key()
        if config.oidc is not None:
            OpenId(config.oidc, config.url)
    except TidewatchError as error:
        problem = error.explain()
    address = f"{config.listen.host}:{config.listen.port}"
    if form is Format.JSON:
        print_json({"valid": True, "problems": [problem] if problem else [], "listen": address})
    else:
        print_line(f"valid: listens on {address}")
        if problem:
            print_line(plain(f"missing  {problem}"))
    if problem:
        raise typer.Exit(2)


async def _run(config: ConsoleConfig, form: Format) -> None:
    from streams.console.serving import KafkaConsole  # noqa: PLC0415 -- brings Kafka
    from streams.logs import configure_logs  # noqa: PLC0415 -- the same

    settings = connected_settings()
    configure_logs(settings, app="console")
    made = KafkaConsole(settings, config)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await made.run(stop, lambda link: _say(link, form))
