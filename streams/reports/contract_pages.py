"""The contract of the topics in Markdown, generated: an index, and a page for each topic.

Written by `make docs`, which runs `python -m streams.reports.contract_pages docs/contract`.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from schemas.channels import Channel
from schemas.documents.openc2 import EXTENSION, Answer
from schemas.export import HEADERS, record_type, topic_schema
from schemas.incidents.commands import CommandSpec
from streams.apps.topology import APPLICATIONS, EVENT_CHANNELS, written_channels
from streams.kafka.topics import (
    ENVELOPE_BYTES,
    TENANT_CHANNELS,
    TOMBSTONE_DAYS,
    TOPICS,
    Cleanup,
    Direction,
    TopicSpec,
)
from streams.reports.contract_samples import Sample, samples
from streams.reports.field_docs import Documented, struct_fields
from streams.reports.signature_vectors import vector_files
from streams.settings import Settings

INDEX: Final = "README.md"
HEADER_MEANINGS: Final = {
    "ce_specversion": "CloudEvents 1.0.",
    "ce_id": "The record's id: the same content has the same id on every replay.",
    "ce_source": "What wrote it.",
    "ce_type": "The kind of document.",
    "ce_time": "The time of what it reports, RFC 3339.",
    "ce_tenantid": "The tenant it belongs to; `operator`: for the operator alone.",
    "ce_subject": "What it is about.",
    "ce_correlationid": "The incident it belongs to.",
    "ce_causationid": "What caused it: the id of an event, or of a command.",
    "ce_signature": "`ed25519;kid=<key id>;<base64>`, see [signatures](../contract.md#signatures).",
    "ce_severity": "The severity, to route by.",
    "ce_disposition": "block, detect or context, to route by.",
    "ce_ioctype": "The kind of indicator, to route by.",
    "ce_category": "compromise or hygiene, to route by.",
    "ce_status": "The status, to route by.",
    "ce_revision": "The revision, to order by.",
    "ce_stage": "event, scan or baseline.",
    "ce_final": "true: no further assessment of the event follows.",
    "ce_activity": "create, update or close.",
    "ce_action": "The action of the command.",
    "ce_mode": "automatic, approved, proposal or advised.",
    "ce_kind": "The kind of operator alert.",
    "content-type": "Of the value.",
    "source_topic": "The position of the refused record.",
    "source_partition": "Its partition.",
    "source_offset": "Its offset.",
    "source_timestamp": "Its broker timestamp, milliseconds since the epoch.",
    "source_key": "Its key, base64.",
    "reason": "The reason code.",
    "error": "The detail, without the record's content.",
    "app": "The application that refused it.",
    "notifier": "The notifier that wrote it; absent: brought back from the dead letters.",
    "original_headers": "Its headers, as JSON.",
    "original_key": "Its key.",
    "original_size": "The size of its value, where the letter keeps less of it.",
}
"""The headers of records, and what they hold."""
_COMMAND: Final = (f"args.{EXTENSION}", CommandSpec)
_EXTENSIONS: Final[Mapping[Channel, tuple[str, Any]]] = {
    Channel.CONTAINMENT_COMMANDS: _COMMAND,
    Channel.CONTAINMENT_PROPOSALS: _COMMAND,
    Channel.CONTAINMENT_RESULTS: (f"results.{EXTENSION}", Answer),
    **{channel: ("data", record_type(channel)) for channel in EVENT_CHANNELS},
}
"""Where the fields of our records are in a standard's document."""
_DIRECTIONS: Final = {
    "in": "Tidewatch reads it",
    "internal": "between applications",
    "out": "Tidewatch writes it",
}


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contract of one topic."""

    purpose: str
    document: str
    order: str
    repeated: str
    deduplicate: str
    ends: str
    written_by: str = ""


@cache
def contracts() -> dict[Channel, Contract]:
    """Return the contract of each channel, read once."""
    text = resources.files("streams.reports").joinpath("contract.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[Channel, Contract])


def contract_pages() -> dict[str, str]:
    """Return every page and file by its path below the folder of the contract."""
    pages = {INDEX: _index(), **vector_files()}
    for channel, sample in samples().items():
        pages[f"{channel}.md"] = _page(channel, sample)
    return pages


def write_pages(folder: Path) -> None:
    """Write the pages into a folder, and remove pages of topics that are gone."""
    pages = contract_pages()
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in folder.glob("*.md"):
        if path.name not in pages:
            path.unlink()


def _index() -> str:
    lines = [
        "# Topics",
        "",
        (
            "One page for each topic, with a complete sample record. Rules for all of them are"
            " in [the contract](../contract.md). Generated from the tables of topics and"
            " applications, the JSON Schemas and the code that writes the records, by `make docs`."
        ),
        "",
        "| topic | key | written by | content |",
        "|---|---|---|---|",
    ]
    for channel, spec in TOPICS.items():
        one = contracts()[channel]
        lines.append(
            f"| [{channel}]({channel}.md) | {spec.key} | {_writers(channel)} | {one.purpose} |"
        )
    return "\n".join(lines) + "\n"


def _writers(channel: Channel) -> str:
    apps = [app.name for app in APPLICATIONS.values() if channel in written_channels(app)]
    said = contracts()[channel].written_by
    return "; ".join(filter(None, (", ".join(apps), said)))


def _readers(channel: Channel) -> str:
    apps = [app.name for app in APPLICATIONS.values() if channel in {*app.reads, *app.references}]
    return ", ".join(apps) or "consumers"


def _page(channel: Channel, sample: Sample) -> str:
    spec, one = TOPICS[channel], contracts()[channel]
    schema = topic_schema(channel)
    prefix = Settings.model_fields["topic_prefix"].default
    lines = [
        f"# {channel}",
        "",
        one.purpose,
        "",
        "| | |",
        "|---|---|",
        f"| topic | `{prefix}{channel}`{_of_tenants(channel)} |",
        f"| direction | {_DIRECTIONS[spec.direction]} |",
        f"| written by | {_writers(channel)} |",
        f"| read by | {_readers(channel)} |",
        f"| key | {spec.key} |",
        f"| document | {one.document} |",
        f"| schema | `tidewatch schema {channel}` |",
        f"| largest record | {_largest(spec)} |",
        f"| kept | {_kept(spec)} |",
        f"| order | {one.order} |",
        f"| repeated | {one.repeated} |",
        f"| deduplicate | {one.deduplicate} |",
        f"| ends | {one.ends} |",
        "",
        "[All topics](README.md), [the contract](../contract.md).",
        "",
        *_headers(sample, schema.get(HEADERS, {})),
        *_fields(channel),
        *_sample(sample),
    ]
    return "\n".join(lines) + "\n"


def _of_tenants(channel: Channel) -> str:
    own = f", and `tenant.<tenant>.{channel}` with the setting `tenant_topics`"
    return own if channel in TENANT_CHANNELS else ""


def _largest(spec: TopicSpec) -> str:
    times = (
        f"{spec.size_factor} times `max_event_bytes`"
        if spec.size_factor > 1
        else "`max_event_bytes`"
    )
    default = Settings.model_fields["max_event_bytes"].default
    size = default * spec.size_factor + ENVELOPE_BYTES
    return f"{times} + {ENVELOPE_BYTES:,} bytes for the envelope: {size:,} bytes by default"


def _kept(spec: TopicSpec) -> str:
    if spec.cleanup is Cleanup.COMPACT:
        return f"the last record of each key; tombstones for {TOMBSTONE_DAYS} days"
    return f"{spec.retention_days} days"


def _headers(sample: Sample, schema: dict[str, Any]) -> list[str]:
    required = schema.get("required", ())
    said = {name: field["description"] for name, field in schema.get("properties", {}).items()}
    rows = []
    for name, raw in sample.headers:
        meaning = said.get(name) or HEADER_MEANINGS[name]
        needed = " Required." if name in required else ""
        rows.append(f"| `{name}` | {meaning}{needed} | {_cell(raw.decode())} |")
    if not rows:
        return ["## Headers", "", "None are read.", ""]
    return ["## Headers", "", "| header | meaning | in the sample |", "|---|---|---|", *rows, ""]


def _cell(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _fields(channel: Channel) -> list[str]:
    place, kind = _EXTENSIONS.get(channel, ("", record_type(channel)))
    if kind is None or TOPICS[channel].direction is Direction.INTERNAL:
        return []
    lines = ["## Fields", "", "| field | type | meaning |", "|---|---|---|"]
    for field in struct_fields(kind, place):
        meaning = f"{field.meaning}{_presence(field)}".strip()
        lines.append(f"| `{field.path}` | {_bar(field.type)} | {_bar(meaning)} |")
    return [*lines, ""]


def _bar(text: str) -> str:
    """Return text for a cell of a table; what is in backticks keeps its angle brackets."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if at % 2 else part.replace("<", "\\<") for at, part in enumerate(parts))


def _presence(field: Documented) -> str:
    if field.required:
        return ""
    value = field.default
    if value is None or (not isinstance(value, bool | int | float) and not value):
        return " May be absent."
    if isinstance(value, msgspec.Struct | msgspec.Raw):
        return " May be absent."
    return f" Absent: {value if isinstance(value, str) else orjson.dumps(value).decode()}."


def _sample(sample: Sample) -> list[str]:
    try:
        value = orjson.dumps(orjson.loads(sample.value), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        value = sample.value.decode()
    return ["## Sample", "", f"Key: {_cell(sample.key)}", "", "```json", value, "```"]


def main() -> None:
    """Write the pages into the folder that the command line names."""
    if len(sys.argv) != 2:  # noqa: PLR2004 -- the program and the folder
        raise SystemExit("usage: python -m streams.reports.contract_pages FOLDER")
    write_pages(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
