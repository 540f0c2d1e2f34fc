"""Declares archives and compressions: those that are read, and those that are recognised only."""

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.formats.format import Format, Suffix, Trait

_ARCHIVE: Final = Trait.NONEMPTY | Trait.MAGIC | Trait.BINARY
_MODEL: Final = _ARCHIVE | Trait.WEIGHTS

ZIP: Final = Format(
    name="zip",
    suffixes=(
        Suffix(".zip", _ARCHIVE, promises=("zip",)),
        Suffix(".npz", _MODEL, promises=("npz", "zip")),
        Suffix(".keras", _MODEL, claim="keras"),
        Suffix(".skops", _MODEL),
        Suffix(".mar", _MODEL),
        Suffix(".whl", Trait.MAGIC | Trait.BINARY),
    ),
    rules=(
        "TW-ARCHIVE-CRC",
        "TW-ARCHIVE-DUPLICATE",
        "TW-ARCHIVE-FLAGS",
        "TW-ARCHIVE-HIDDEN-MEMBER",
        "TW-ARCHIVE-LINK",
        "TW-ARCHIVE-MISMATCH",
        "TW-ARCHIVE-OVERLAP",
        "TW-ARCHIVE-PREPENDED",
        "TW-ARCHIVE-TRAVERSAL",
        "TW-ARCHIVE-UNREADABLE",
    ),
)
TAR: Final = Format(
    name="tar",
    suffixes=(
        # torch.save of PyTorch's own tutorial writes model.tar and checkpoint.pth.tar
        Suffix(".tar", _ARCHIVE, promises=("tar", "pytorch", "torchscript", "pickle")),
        Suffix(".tgz", _ARCHIVE),
        Suffix(".nemo", _MODEL),
    ),
    rules=("TW-ARCHIVE-DUPLICATE", "TW-ARCHIVE-LINK", "TW-ARCHIVE-TRAVERSAL"),
)
SEVENZIP: Final = Format(
    name="7z",
    suffixes=(Suffix(".7z", _ARCHIVE),),
    magic=re.compile(rb"7z\xbc\xaf\x27\x1c"),
    rules=("TW-ARCHIVE-TRAVERSAL",),
)
ZLIB: Final = Format(name="zlib", suffixes=(Suffix(".z"), Suffix(".zlib")))
"""No magic: two bytes with a checksum of their own."""
COMPRESSIONS: Final = (
    Format(
        name="gzip",
        # joblib writes zlib under this name
        suffixes=(Suffix(".gz", _ARCHIVE, promises=("gzip", "zlib")),),
        magic=re.compile(rb"\x1f\x8b\x08"),
    ),
    Format(
        name="bz2",
        suffixes=(Suffix(".bz2", _ARCHIVE),),
        magic=re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),
    ),
    Format(
        name="xz",
        suffixes=(Suffix(".xz", _ARCHIVE),),
        magic=re.compile(rb"\xfd7zXZ\0"),
    ),
    Format(
        name="lzma",
        suffixes=(Suffix(".lzma"),),
        magic=re.compile(rb"[\x5d\x6d]\0\0.{2}(\xff{8}|.{3,5}\0{3,5})", re.DOTALL),
    ),
    Format(
        name="zstd",
        suffixes=(Suffix(".zst", _ARCHIVE),),
        magic=re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
    ),
    Format(
        name="lz4",
        suffixes=(Suffix(".lz4", Trait.MAGIC),),
        magic=re.compile(rb"\x04\x22\x4d\x18"),
    ),
)
"""Compressions of one file, in the order in which they are tried."""
UNREAD: Final = tuple(
    Format(name=name, magic=re.compile(magic, re.DOTALL), rules=("TW-ARCHIVE-UNREADABLE",))
    for name, magic in (
        ("rar", rb"Rar!\x1a\x07"),
        ("cab", rb"MSCF\0\0\0\0"),
        ("arj", rb"\x60\xea.{6}"),
        ("lzh", rb".{2}-lh[0-9a-z]-"),
        ("lzip", rb"LZIP\x01"),
        ("compress", rb"\x1f\x9d[\x80-\x90]"),
        ("ar", rb"!<arch>\n"),
        ("cpio", rb"07070[127]"),
        ("xar", rb"xar!"),
        ("squashfs", rb"hsqs"),
        ("ace", rb".{7}\*\*ACE\*\*"),
        ("zoo", rb".{20}\xdc\xa7\xc4\xfd"),
    )
)
"""Archives that are recognised but not read."""
