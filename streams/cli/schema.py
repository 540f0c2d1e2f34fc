"""`tidewatch schema`: the JSON Schema of what flows on each topic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from schemas.channels import Channel
from schemas.counting import counted
from schemas.errors import TidewatchError
from schemas.export import all_schemas, topic_schema
from streams.cli.frame import example, new_app
from streams.cli.output import print_line

app = new_app("Print or write the JSON Schema of what flows on each topic.")


@app.command(epilog=example("tidewatch schema iocs", "tidewatch schema --directory schemas-v1"))
def schema(
    channel: Annotated[
        Channel | None, typer.Argument(help="one channel; without it, all", show_default=False)
    ] = None,
    *,
    directory: Annotated[
        Path | None, typer.Option(help="write one file for each channel into this folder")
    ] = None,
) -> None:
    """Print the JSON Schema (2020-12) of a channel's values, or of all channels by name."""
    if directory is None:
        document = (
            topic_schema(channel)
            if channel is not None
            else {name.value: schema_name for name, schema_name in all_schemas().items()}
        )
        sys.stdout.buffer.write(_pretty(document))
        return
    chosen = {channel: topic_schema(channel)} if channel is not None else all_schemas()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, schema_name in chosen.items():
            (directory / f"{name.value}.schema.json").write_bytes(_pretty(schema_name))
    except OSError as error:
        raise TidewatchError(
            f"can't write there ({error.strerror})",
            where=str(error.filename or directory),
            remedy="name a folder that can be written",
        ) from error
    print_line(f"{counted(len(chosen), 'schema')} in {directory}")


def _pretty(document: object) -> bytes:
    """Return a document as JSON for people and programs alike."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
