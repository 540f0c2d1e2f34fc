"""Recognises the files beside a model that run nothing: images, tables, sound, fonts, papers."""

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.formats.format import Content, Format, Suffix

_DESCRIBES: Final = Content.DESCRIPTION
IMAGE: Final = Format(
    name="image",
    suffixes=(
        *(
            Suffix(ending, content=_DESCRIBES, promises=("image",))
            for ending in (".png", ".jpg", ".jpeg", ".gif", ".webp")
        ),
        *(Suffix(ending, promises=("image",)) for ending in (".bmp", ".ico", ".tif", ".tiff")),
    ),
    magic=re.compile(
        rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP|BM.{4}\x00{4}|\x00\x00\x01\x00.\x00"
        rb"|II\*\x00|MM\x00\*",
        re.DOTALL,
    ),
)
TABLE: Final = Format(
    name="table",
    suffixes=(
        Suffix(".parquet", content=_DESCRIBES, promises=("table",)),
        *(
            Suffix(ending, promises=("table",))
            for ending in (".arrow", ".feather", ".orc", ".avro", ".sqlite", ".sqlite3")
        ),
    ),
    magic=re.compile(
        rb"PAR1|ARROW1\x00\x00|FEA1|ORC|Obj\x01|SQLite format 3\x00|\xff{4}.{3}\x00", re.DOTALL
    ),
)
"""Parquet, Arrow (also as a stream), Feather, ORC, Avro, SQLite."""
MEDIA: Final = Format(
    name="media",
    suffixes=tuple(
        Suffix(ending, promises=("media",))
        for ending in (".wav", ".mp3", ".flac", ".ogg", ".mp4", ".m4a", ".webm", ".avi", ".mov")
    ),
    magic=re.compile(
        rb"RIFF.{4}(?:WAVE|AVI )|ID3|\xff[\xe2-\xfb]|fLaC|OggS|.{4}ftyp|\x1a\x45\xdf\xa3", re.DOTALL
    ),
)
FONT: Final = Format(
    name="font",
    suffixes=tuple(
        Suffix(ending, promises=("font",)) for ending in (".ttf", ".otf", ".woff", ".woff2")
    ),
    magic=re.compile(rb"\x00\x01\x00\x00\x00|OTTO|ttcf|true|wOF[F2]"),
)
PAPER: Final = Format(
    name="pdf",
    suffixes=(Suffix(".pdf", content=_DESCRIBES, promises=("pdf",)),),
    magic=re.compile(rb"%PDF-\d"),
)
SIGNATURE: Final = Format(
    name="signature",
    suffixes=(
        Suffix(".sha256", content=_DESCRIBES),
        Suffix(".sig", content=_DESCRIBES),
        Suffix(".sigstore", content=_DESCRIBES),
    ),
    magic=re.compile(
        rb"-----BEGIN [A-Z ]*SIGNATURE-----|untrusted comment: |[\x88\x89\xc2].{1,2}\x04[\x00-\x13]"
        rb"|[0-9a-fA-F]{64}(?:\s|$)|SHA256 ?\(",
        re.DOTALL,
    ),
)
PASSIVE: Final = (IMAGE, TABLE, MEDIA, FONT, PAPER, SIGNATURE)
