"""Declares the files beside a model that no loader reads: images, tables, signatures."""

from __future__ import annotations

from typing import Final

from agents.checks.artifacts.formats.format import Content, Format, Suffix, Trait

IMAGE: Final = Format(
    name="image",
    suffixes=(
        Suffix(".png", content=Content.DESCRIPTION, promises=()),
        Suffix(".jpg", content=Content.DESCRIPTION, promises=()),
        Suffix(".jpeg", content=Content.DESCRIPTION),
        Suffix(".gif", content=Content.DESCRIPTION),
        Suffix(".webp", content=Content.DESCRIPTION),
    ),
)
TABLE: Final = Format(
    name="table",
    suffixes=(Suffix(".parquet", Trait.BINARY, Content.DESCRIPTION),),
)
PAPER: Final = Format(name="pdf", suffixes=(Suffix(".pdf", content=Content.DESCRIPTION),))
SIGNATURE: Final = Format(
    name="signature",
    suffixes=(
        Suffix(".sha256", content=Content.DESCRIPTION),
        Suffix(".sig", content=Content.DESCRIPTION),
        Suffix(".sigstore", content=Content.DESCRIPTION),
    ),
)
