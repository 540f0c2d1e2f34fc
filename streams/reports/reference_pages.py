"""The reference of settings, policies, responders and notifiers in Markdown, from their types.

Written by `make docs`, which runs `python -m streams.reports.reference_pages docs/reference`.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from agents.notification.config import NotifyConfig
from agents.response.config import ResponderConfig
from schemas.policy import Policy
from streams.admission.config import AdmissionConfig
from streams.console.config import ConsoleConfig
from streams.fetch_credentials import FetchSecrets
from streams.gateway.config import GatewayConfig
from streams.index.config import IndexConfig
from streams.reports.field_docs import (
    ITEM,
    NAMED,
    Documented,
    field_meanings,
    struct_fields,
    unit_of,
)
from streams.settings import PREFIX, Settings
from streams.taxii.config import TaxiiConfig

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "deploy"
_JSON_TYPES: Final = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "null": "none",
    "object": "table",
    "array": "list",
}
_BOUNDS: Final = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
_AT_RUN_TIME: Final = {"state_dir": "below the user's data folder", "instance": "the host's name"}
"""Defaults of settings that differ from machine to machine."""


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """One page: a type, its complete example, and an introduction."""

    page: str
    title: str
    intro: str
    fields: tuple[Documented, ...]
    example: str
    """The file in `deploy/` that shows every field."""


_PAGES: Final = (
    (
        "policy.md",
        "Policy of a tenant",
        Policy,
        "policy.example.toml",
        (
            "A policy is a TOML or JSON file that `tidewatch policy set` publishes; it holds"
            " from the next event on. A tenant without one has the defaults: it trusts no one"
            " by name and automates nothing. `tidewatch policy check` reports settings"
            " with no effect or an unexpected one; `tidewatch policy show` prints it as `set`"
            " takes it."
        ),
    ),
    (
        "fetch-credentials.md",
        "Credentials for fetching",
        FetchSecrets,
        "fetch-credentials.example.toml",
        (
            "The TOML file that the setting `fetch_credentials` names, on the machines of the scan"
            " application. A tenant's policy names one of its tables as `credentials`;"
            " [gateway](../gateway.md#what-a-push-refers-to) shows it. A table names the tenants"
            " that may use it, and its token or password goes to its hosts only. Any secret may be"
            " written out, or be `env:NAME` or `file:PATH`. The file is read when a worker starts."
        ),
    ),
    (
        "responder.md",
        "Configuration of a responder",
        ResponderConfig,
        "responder.example.toml",
        (
            "The TOML file of `tidewatch respond run --config FILE`. All paths are absolute."
            " An unknown field is refused. `tidewatch respond check` says what this machine"
            " lacks for it."
        ),
    ),
    (
        "notifications.md",
        "Configuration of a notifier",
        NotifyConfig,
        "notify.example.toml",
        (
            "The TOML file of `tidewatch notify --config FILE`;"
            " [notifications](../notifications.md) explains it. An unknown field is refused."
            " `tidewatch notify --check FILE` reports what this machine lacks for it."
        ),
    ),
    (
        "gateway.md",
        "Configuration of a gateway",
        GatewayConfig,
        "gateway.example.toml",
        (
            "The TOML file of `tidewatch gateway --config FILE`; [gateway](../gateway.md) has a"
            " section for each producer. An unknown field is refused. `tidewatch gateway"
            " --check FILE` prints each endpoint's address and reports what this machine lacks."
        ),
    ),
    (
        "admission.md",
        "Configuration of the admission webhook",
        AdmissionConfig,
        "admit.example.toml",
        (
            "The TOML file of `tidewatch admit --config FILE`; [admission](../admission.md)"
            " explains it. An unknown field is refused. `tidewatch admit --check FILE` says"
            " what this machine lacks for it."
        ),
    ),
    (
        "package-index.md",
        "Configuration of the package index",
        IndexConfig,
        "index.example.toml",
        (
            "The TOML file of `tidewatch index --config FILE`;"
            " [package index](../package-index.md) explains it. An unknown field is refused."
            " `tidewatch index --check FILE` reports what this machine lacks for it."
        ),
    ),
    (
        "taxii.md",
        "Configuration of the TAXII server",
        TaxiiConfig,
        "taxii.example.toml",
        (
            "The TOML file of `tidewatch taxii --config FILE`;"
            " [sharing](../sharing.md) explains it. An unknown field is refused."
            " `tidewatch taxii --check FILE` reports what this machine lacks for it."
        ),
    ),
    (
        "console.md",
        "Configuration of the console",
        ConsoleConfig,
        "console.example.toml",
        (
            "The TOML file of `tidewatch console --config FILE`; none is needed on one machine."
            " [Console](../console.md) explains it. An unknown field is refused."
            " `tidewatch console --check FILE` reports what this machine lacks for it."
        ),
    ),
)
"""The pages of a policy and of configuration files: name, title, type, example, introduction."""


def references() -> tuple[Reference, ...]:
    """Return the pages, each with all fields of its type."""
    return (
        Reference(
            page="settings.md",
            title="Settings",
            intro=(
                "Each setting is a key of the file that `TIDEWATCH_CONFIG` names, or the"
                f" environment variable `{PREFIX}<NAME>` in capitals, which wins. Tables and lists"
                " are JSON in the environment. An unknown name is refused. `tidewatch doctor`"
                " checks them all."
            ),
            fields=settings_fields(),
            example="tidewatch.example.toml",
        ),
        *(
            Reference(
                page=page,
                title=title,
                intro=intro,
                fields=tuple(struct_fields(of)),
                example=example,
            )
            for page, title, of, example, intro in _PAGES
        ),
    )


def settings_fields() -> tuple[Documented, ...]:
    """Return every setting, in the order of the source."""
    schema = Settings.model_json_schema(mode="serialization")
    meanings = field_meanings(Settings)
    found: list[Documented] = []
    for name, shape in schema["properties"].items():
        field = Settings.model_fields[name]
        default = field.default
        if field.default_factory is not None:
            default = _AT_RUN_TIME.get(name) or field.get_default(call_default_factory=True)
        found.append(
            Documented(
                path=name,
                type=_json_type(_resolved(shape, schema)),
                unit=unit_of(name),
                required=field.is_required(),
                default=default,
                meaning=meanings.get(name, ""),
            )
        )
    return tuple(found)


def _resolved(shape: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a field's shape refers to, if it refers to a definition."""
    name = str(shape.get("$ref", "")).removeprefix("#/$defs/")
    found: Mapping[str, Any] = schema.get("$defs", {}).get(name, shape)
    return found


def _json_type(shape: Mapping[str, Any]) -> str:
    if "anyOf" in shape:
        return " or ".join(dict.fromkeys(_json_type(variant) for variant in shape["anyOf"]))
    if "enum" in shape:
        return " or ".join(f"`{value}`" for value in shape["enum"])
    text = _JSON_TYPES[shape.get("type", "object")]
    if "items" in shape:
        text = f"{text} of {_json_type(shape['items'])}"
    bounds = [f"{words} {shape[name]:,}" for name, words in _BOUNDS.items() if name in shape]
    return text + (f", {' and '.join(bounds)}" if bounds else "")


def example_of(document: Any, path: str) -> Any:  # noqa: ANN401 -- any TOML value
    """Return what an example file says at a field's path, None if it does not name it.

    Args:
        document: The example.
        path: As of `Documented`; of lists and tables any element that names the field counts.
    """
    values = [document]
    for part in path.split("."):
        name = part.removesuffix(ITEM)
        values = [
            found
            for value in values
            if isinstance(value, Mapping)
            for found in (
                value.values() if name == NAMED else [value[name]] if name in value else []
            )
        ]
        if part.endswith(ITEM):
            values = [item for value in values if isinstance(value, list) for item in value]
    return values[0] if values else None


def reference_pages(examples: Path = EXAMPLES) -> dict[str, str]:
    """Return every page by its file name.

    Args:
        examples: The folder of the example files.
    """
    return {
        reference.page: _page(reference, (examples / reference.example).read_text(encoding="utf-8"))
        for reference in references()
    }


def _page(reference: Reference, example: str) -> str:
    document = tomllib.loads(example)
    lines = [
        f"# {reference.title}",
        "",
        reference.intro,
        "",
        (
            "Generated from the types by `make docs`. The examples are those of"
            f" [`deploy/{reference.example}`](../../deploy/{reference.example}), which names every"
            " field."
        ),
        "",
        *table(reference.fields, document),
        "",
        "## Complete example",
        "",
        "```toml",
        example.rstrip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def table(fields: Iterable[Documented], document: Any) -> list[str]:  # noqa: ANN401 -- any TOML value
    """Return the rows of fields: name, meaning, type and unit, default, example.

    Args:
        fields: The fields.
        document: An example of what they make up.
    """
    lines = ["| field | meaning | type | default | example |", "|---|---|---|---|---|"]
    fields = tuple(fields)
    # the fields within have rows of their own
    outer = {field.path.rpartition(".")[0].removesuffix(ITEM) for field in fields}
    outer |= {path.removesuffix(f".{NAMED}") for path in outer}
    for field in fields:
        example = example_of(document, field.path)
        shown = "" if example is None or field.path in outer else _code(example)
        kind = field.type + (f" ({field.unit})" if field.unit else "")
        default = "required" if field.required else _default(field)
        cells = (f"`{field.path}`", field.meaning, kind, default, shown)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return lines


def _default(field: Documented) -> str:
    value = field.default
    if field.path in _AT_RUN_TIME:
        return str(value)
    if value is None:
        return "none"
    if isinstance(value, frozenset):
        value = sorted(value)
    if isinstance(value, msgspec.Struct):
        return "the defaults of its fields"
    return _code(value) if value or isinstance(value, bool | int | float) else "empty"


def _code(value: Any) -> str:  # noqa: ANN401 -- any plain value
    text = value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode()
    return f"`{text}`"


def write_pages(folder: Path) -> None:
    """Write the reference into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in reference_pages().items():
        (folder / name).write_text(text, encoding="utf-8")


def main() -> None:
    """Write the reference into the folder that the command line names."""
    if len(sys.argv) != 2:  # noqa: PLR2004 -- the program and the folder
        raise SystemExit("usage: python -m streams.reports.reference_pages FOLDER")
    write_pages(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
