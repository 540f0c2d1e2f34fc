"""`tidewatch index`: serve a package index that refuses bad releases."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import TidewatchError
from streams.cli.frame import CheckOption, connected_settings, example, new_app, required_file
from streams.cli.output import Format, FormatOption, plain, print_json, print_line

if TYPE_CHECKING:
    from streams.index.config import IndexConfig

app = new_app("Serve a package index that refuses bad releases.")


@app.command(
    epilog=example(
        "tidewatch index --check index.toml",
        "tidewatch index --config index.toml",
    )
)
def index(
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="the index's TOML file (deploy/index.example.toml)"),
    ] = None,
    check: CheckOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Serve a simple index to pip and uv as a filtering proxy of another one, until stopped.

    It refuses releases that intelligence lists as bad, names that imitate well-known ones, and
    releases that are too new; it streams all others from the other index and checks their SHA-256.
    See docs/package-index.md.
    """
    from streams.index.config import load_config  # noqa: PLC0415 -- only this command

    if check is not None:
        _check(load_config(check), form)
        return
    _run(load_config(required_file(config)))


def _run(config: IndexConfig) -> None:
    from streams.index.serving import run_index  # noqa: PLC0415 -- brings Kafka
    from streams.logs import configure_logs  # noqa: PLC0415 -- the same

    settings = connected_settings()
    configure_logs(settings, app="index")
    asyncio.run(run_index(settings, config))


def _check(config: IndexConfig, form: Format) -> None:
    from streams.http.listening import tls_context  # noqa: PLC0415 -- only this command
    from streams.index.config import target_of  # noqa: PLC0415 -- the same

    problems: list[str] = []
    upstream = ""
    try:
        upstream = target_of(config.upstream).url
        tls_context(config.listen)
    except TidewatchError as error:
        problems.append(error.explain())
    if form is Format.JSON:
        print_json({"valid": True, "problems": problems, "upstream": upstream})
    else:
        print_line(f"valid: in front of {plain(upstream) or 'no index'}")
        for problem in problems:
            print_line(f"missing  {plain(problem)}")
    if problems:
        raise typer.Exit(2)
