"""Kinds of indicator, mapped to MITRE ATLAS 5.6 and NIST SP 800-218/218A."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from schemas.severity import Severity, band


class IocType(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of indicator of compromise."""

    primary: str
    """The ATLAS technique that fits best."""
    techniques: tuple[str, ...]
    mitigations: tuple[str, ...]
    ssdf: tuple[str, ...]
    base_severity: int
    """0 to 100."""
    stix_indicator_types: tuple[str, ...]
    ecs_category: tuple[str, ...]
    openc2: tuple[str, ...]
    provenance: tuple[str, ...]
    hygiene: bool = False
    """It describes a practice of a tenant, not anything hostile: not to be matched elsewhere."""
    reason: str | None = None
    """Why the base severity is below the response procedure's, if it is."""

    @property
    def severity(self) -> Severity:
        """The band of the base severity."""
        return band(self.base_severity)


class Technique(msgspec.Struct, frozen=True, kw_only=True):
    """One ATLAS technique."""

    name: str
    tactics: tuple[str, ...] = ()


class Taxonomy(msgspec.Struct, frozen=True, kw_only=True):
    """The whole table."""

    atlas_version: str
    tactics: dict[str, str]
    techniques: dict[str, Technique]
    mitigations: dict[str, str]
    ioc_types: dict[str, IocType]


_TAXONOMIES: Final = msgspec.json.Decoder(Taxonomy)


SUB_TECHNIQUE_DOTS: Final = 2


@cache
def taxonomy() -> Taxonomy:
    """Return the table, read once."""
    raw = Path(__file__).with_name("taxonomy.json").read_bytes()
    return _TAXONOMIES.decode(raw)


def ioc_type(name: str) -> IocType:
    """Return the kind of indicator called `name`.

    Raises:
        KeyError: no such kind.
    """
    return taxonomy().ioc_types[name]


def parent_technique(technique_id: str) -> str | None:
    """Return AML.T0010 for AML.T0010.003, None for a top-level technique."""
    head, _, _ = technique_id.rpartition(".")
    return head if technique_id.count(".") == SUB_TECHNIQUE_DOTS else None
