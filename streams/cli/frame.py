"""Shared by all commands: their declaration, and the broker they connect to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import TidewatchError

if TYPE_CHECKING:
    from streams.settings import Settings


PortOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="port of the embedded Kafka on 127.0.0.1, 0 for a free one; by default "
        "TIDEWATCH_EMBEDDED_PORT, which is 9192",
    ),
]


CheckOption = Annotated[
    Path | None, typer.Option("--check", help="check this file and this machine, then exit")
]
"""The option of a command that runs by a file, to check the file only."""


def new_app(what: str) -> typer.Typer:
    """Return a command group without commands.

    Args:
        what: The group's help: its purpose, in a sentence.
    """
    return typer.Typer(
        help=what,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def example(*lines: str) -> str:
    """Return the `epilog` of a command: its examples, each on a line of its own.

    Args:
        lines: Command lines, as a shell reads them; they are never wrapped, so that they can be
            copied. Each is run by a test, in this order.
    """
    # a paragraph that begins with \b is printed as it is
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def connected_settings() -> Settings:
    """Return the settings with a broker: the configured one, or the running embedded one.

    The password of this user's embedded broker is found automatically.

    Raises:
        SettingsError: A setting is wrong.
        TidewatchError: There is no broker to connect to.
    """
    from streams.broker.access import with_password  # noqa: PLC0415 -- the same
    from streams.settings import load_settings  # noqa: PLC0415 -- not every command has any

    settings = load_settings()
    if settings.kafka is not None:
        return with_password(settings)
    from streams.broker import status  # noqa: PLC0415 -- not needed where a Kafka is named

    found = status(settings.state_dir)
    if not found.ready:
        raise TidewatchError(
            "TIDEWATCH_KAFKA names no Kafka, and no embedded one runs",
            where=str(settings.state_dir),
            remedy="set TIDEWATCH_KAFKA=host:port, or start one with: tidewatch broker start",
        )
    return with_password(settings.model_copy(update={"kafka": found.bootstrap}))


def required_file(config: Path | None) -> Path:
    """Return the file that `--config` names.

    Raises:
        TidewatchError: It names none.
    """
    if config is None:
        raise TidewatchError("no file is given", where="--config", remedy="give --config FILE")
    return config
