"""Recognises the tables of checkpoints, which hold numbers and the locations of others."""

from __future__ import annotations

from typing import Final

from agents.checks.artifacts.formats.format import Format, Suffix, Trait, parse_numbers
from agents.checks.artifacts.readers.protobuf import LENGTH, VARINT, looks_like
from agents.checks.artifacts.scanning import CorruptFileError, Scan, Source

_FOOTER: Final = 48
_TABLE: Final = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
"""The last bytes of LevelDB's tables, as which TensorFlow writes the index of a checkpoint."""
_OCDBT: Final = (b"\x0c\xdb\x3a\x2a", b"\x0c\xdb\x20\xde", b"\x0c\xdb\x1c\xde")
"""Manifest, node of the tree and version node of TensorStore's database, as Orbax writes it."""
_OCDBT_HEAD: Final = 12
_RECORD: Final = 16
"""Bytes of a TFRecord besides its data: a length, and two checksums."""
MAX_RECORDS: Final = 5_000_000
_FINGERPRINT: Final = {1: VARINT, 2: VARINT, 3: VARINT, 4: VARINT, 5: VARINT, 6: LENGTH, 7: LENGTH}
MAX_FINGERPRINT: Final = 4096


def _is_table(name: str, head: bytes, source: Source) -> bool:
    del head
    size = source.size
    named = name.lower().endswith(".index") and size >= _FOOTER
    return named and source.read(size - 8, 8) == _TABLE


def _is_ocdbt(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file begins as a part of the database, with its own length."""
    del name
    length = int.from_bytes(head[4:12], "little")
    return head.startswith(_OCDBT) and _OCDBT_HEAD < length <= source.size


def _is_records(name: str, head: bytes, source: Source) -> bool:
    base = name.lower().rpartition("/")[2]
    named = ".tfrecord" in base or base.startswith("events.out.tfevents.")
    return named and int.from_bytes(head[:8], "little") + _RECORD <= source.size


def _is_fingerprint(name: str, head: bytes, source: Source) -> bool:
    return (
        name.lower().rpartition("/")[2] == "fingerprint.pb"
        and source.size <= MAX_FINGERPRINT
        and looks_like(head, _FINGERPRINT)
    )


def _parse_records(scan: Scan, name: str, source: Source) -> None:
    """Follow the lengths of the records, whose data no model loader runs.

    Raises:
        CorruptFileError: a record reaches beyond the file.

    Source: TensorFlow's `record_writer.h`.
    """
    del name
    offset = 0
    for _ in range(MAX_RECORDS):
        if offset >= source.size:
            return
        scan.budget.step(1)
        length = int.from_bytes(source.read(offset, 8), "little")
        offset += length + _RECORD
        if offset > source.size:
            raise CorruptFileError(f"a record of {length} bytes reaches beyond the file")
    scan.mark_incomplete(f"more than {MAX_RECORDS} records")


INDEX: Final = Format(name="checkpoint-index", matches=_is_table, parse=parse_numbers, numeric=True)
OCDBT: Final = Format(
    name="ocdbt", firsts=b"\x0c", matches=_is_ocdbt, parse=parse_numbers, numeric=True
)
RECORDS: Final = Format(
    name="tfrecord",
    suffixes=(Suffix(".tfrecord", Trait.NONEMPTY), Suffix(".tfrecords", Trait.NONEMPTY)),
    matches=_is_records,
    parse=_parse_records,
    numeric=True,
)
FINGERPRINT: Final = Format(
    name="savedmodel-fingerprint", matches=_is_fingerprint, parse=parse_numbers, numeric=True
)
TABLES: Final = (INDEX, OCDBT, RECORDS, FINGERPRINT)
