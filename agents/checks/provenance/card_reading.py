"""Reads the claims of a model card: the YAML metadata at the head of its README."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from schemas.events import Card, Claim

CARD_NAME: Final = "README.md"
CARD_BYTES: Final = 256 * 1024
"""Bytes read of a card; its metadata is at the beginning."""
MAX_ITEMS: Final = 64
_HEAD: Final = re.compile(r"\A\ufeff?---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)
_ALIAS: Final = re.compile(r"(^|[\s\[{,:-])\*\w")
_NAME: Final = 500
_Loader: Final[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Reads all values as text, in C where there is one: its composer calls itself for each level."""
MAX_DEPTH: Final = 40
MAX_EVENTS: Final = 100_000
_NOTHING: Final = frozenset(("", "~", "null", "Null", "NULL"))


def read_card(raw: bytes) -> Card | None:
    """Return the claims of a card, or None if it has no readable metadata.

    Args:
        raw: The beginning of the file, at most `CARD_BYTES`.

    Source: the model hub's card metadata: `license`, `base_model`, `datasets`, `model-index`.
    """
    head = _HEAD.match(raw[:CARD_BYTES].decode("utf-8", "replace").replace("\r\n", "\n"))
    if head is None or _ALIAS.search(head[1]):
        # No card needs aliases, and they let a small YAML text expand.
        return None
    try:
        if not _is_plain(head[1]):
            return None
        # All values as text: numbers to the base of sixty cost more than their length to compute.
        found = yaml.load(head[1], Loader=_Loader)  # noqa: S506 -- constructs no objects
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError):
        return None
    if not isinstance(found, dict):
        return None
    return Card(
        license=next(iter(_texts(found.get("license"))), None),
        base_model=tuple(_texts(found.get("base_model"))),
        datasets=tuple(_texts(found.get("datasets"))),
        claims=tuple(_claims(found.get("model-index"))),
    )


def _is_plain(text: str) -> bool:
    """Return whether a card's metadata has few values, not deeply nested, without custom tags."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        tag = getattr(event, "tag", None)
        if count > MAX_EVENTS or depth > MAX_DEPTH or (tag and "python" in tag):
            return False
    return True


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 -- any YAML value
    values = value if isinstance(value, list) else [value]
    for item in values[:MAX_ITEMS]:
        if isinstance(item, str) and item.strip() not in _NOTHING:
            yield item.strip()[:_NAME]


def _dicts(value: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 -- any YAML value
    for item in (value if isinstance(value, list) else [])[:MAX_ITEMS]:
        if isinstance(item, dict):
            yield item


def _text(value: Any) -> str | None:  # noqa: ANN401 -- any YAML value
    return value[:_NAME] if isinstance(value, str) and value not in _NOTHING else None


def _claims(index: Any) -> Iterator[Claim]:  # noqa: ANN401 -- any YAML value
    count = 0
    for model in _dicts(index):
        for result in _dicts(model.get("results")):
            source, dataset = result.get("source"), result.get("dataset")
            evidence = _text(source.get("url")) if isinstance(source, dict) else None
            place = _text(dataset.get("name")) if isinstance(dataset, dict) else None
            for metric in _dicts(result.get("metrics")):
                count += 1
                if count > MAX_ITEMS:
                    return
                name = f"{_text(metric.get('type')) or 'metric'} on {place or 'unnamed data'}"
                yield Claim(
                    name=f"evaluation: {name}"[:_NAME],
                    result=_text(metric.get("value")),
                    evidence=evidence,
                )
