"""Finds out what a file is by its content and hands it to each parser that it may be for."""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final

from agents.checks.artifacts.containers.inflation import inflate
from agents.checks.artifacts.containers.sevenzips import MAGIC as SEVENZIP_MAGIC
from agents.checks.artifacts.containers.sevenzips import scan_7z
from agents.checks.artifacts.containers.tars import is_tar, scan_tar
from agents.checks.artifacts.containers.zips import LOCAL as ZIP_HEAD
from agents.checks.artifacts.containers.zips import find_zip, scan_zip
from agents.checks.artifacts.formats.numpy_arrays import MAGIC as NPY_MAGIC
from agents.checks.artifacts.formats.numpy_arrays import scan_npy
from agents.checks.artifacts.formats.torchscript import scan_torchscript_code
from agents.checks.artifacts.pickle.second_opinion import ask_fickling
from agents.checks.artifacts.pickle.streams import Part, scan_pickle, starts_like_pickle
from agents.checks.artifacts.readers.stored_data import search_data
from agents.checks.artifacts.report import FileReport, conclude
from agents.checks.artifacts.scanning import (
    Budget,
    BudgetExceededError,
    CorruptFileError,
    Scan,
    Source,
)
from agents.domain.detection import Detection
from schemas.severity import Severity

if TYPE_CHECKING:
    from agents.checks.artifacts.formats.registry import Format

HEAD: Final = 8192
PICKLE_NAMES: Final = re.compile(
    r"\.(pkl|pickle|pickled|joblib|dill|dat\.pkl|pt|pth|ckpt|sav|pk|p|pcl|mdl|pytorch|model\.bin)(\.\w{1,3})?$|"
    r"(^|/)(pytorch_model|adapter_model|diffusion_pytorch_model|training_args|optimizer|scheduler|"
    r"consolidated|rng_state|scaler)[\w.-]*\.(bin|pt|pth)$",
    re.IGNORECASE,
)
"""Names under which a loader unpickles."""
_WEIGHTS: Final = re.compile(
    r"\.(safetensors|gguf|ggml|onnx|h5|hdf5|keras|pb|tflite|msgpack|np[yz]|bin|ubj|cbm|mlmodel|pmml|"
    r"engine|plan|pte|nemo|skops|zip|tar|tgz|gz|bz2|xz|zst|7z|mar|llamafile|json|xml|model)$",
    re.IGNORECASE,
)
"""Names of files that can't be empty and whole."""
_MAGICAL: Final = re.compile(
    r"\.(np[yz]|keras|skops|nemo|mar|zip|whl|7z|tar|tgz|gz|bz2|xz|zst|lz4|ubj|mlmodel|spm)$"
    r"|(^|[/_.-])(spiece|tokenizer|sentencepiece\.bpe)[\w.-]*\.model$",
    re.IGNORECASE,
)
"""Names of formats that are recognised by their first bytes."""
_SCRIPT_CODE: Final = re.compile(r"(^|/)code/.*\.py$")
_COMPRESSED: Final = (
    ("gzip", re.compile(rb"\x1f\x8b\x08")),
    ("bz2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")),
    ("xz", re.compile(rb"\xfd7zXZ\0")),
    ("lzma", re.compile(rb"[\x5d\x6d]\0\0.{2}(\xff{8}|.{3,5}\0{3,5})", re.DOTALL)),
    ("zstd", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")),
    ("lz4", re.compile(rb"\x04\x22\x4d\x18")),
)
_ZFILE: Final = re.compile(rb"ZF(?=0x[0-9a-f]+L? *x)[0-9a-fxL ]{19} ?")
"""joblib before 0.10: the length in 19 characters, then zlib."""
_OTHERS: Final = (b"SR\0\x04", b"SR\0\x06", b"$FL2", b"$FL3")
"""IDL's and SPSS's files, which are named as pickles are."""
_UNREAD: Final = (
    ("rar", re.compile(rb"Rar!\x1a\x07")),
    ("cab", re.compile(rb"MSCF\0\0\0\0")),
    ("arj", re.compile(rb"\x60\xea.{6}", re.DOTALL)),
    ("lzh", re.compile(rb".{2}-lh[0-9a-z]-", re.DOTALL)),
    ("lzip", re.compile(rb"LZIP\x01")),
    ("compress", re.compile(rb"\x1f\x9d[\x80-\x90]")),
    ("ar", re.compile(rb"!<arch>\n")),
    ("cpio", re.compile(rb"07070[127]")),
    ("xar", re.compile(rb"xar!")),
    ("squashfs", re.compile(rb"hsqs")),
    ("ace", re.compile(rb".{7}\*\*ACE\*\*", re.DOTALL)),
    ("zoo", re.compile(rb".{20}\xdc\xa7\xc4\xfd", re.DOTALL)),
)
_EXPECTED: Final[dict[str, frozenset[str]]] = {
    "safetensors": frozenset({"safetensors"}),
    "gguf": frozenset({"gguf"}),
    "onnx": frozenset({"onnx"}),
    "npy": frozenset({"npy"}),
    "npz": frozenset({"npz", "zip"}),
    "json": frozenset(),
    "txt": frozenset(),
    "md": frozenset(),
    "yaml": frozenset(),
    "yml": frozenset(),
    "py": frozenset({"python"}),
    "csv": frozenset(),
    "png": frozenset(),
    "jpg": frozenset(),
    "h5": frozenset({"hdf5", "keras", "keras-h5", "h5"}),
    "tflite": frozenset({"tflite"}),
    "pb": frozenset({"savedmodel", "tensorflow", "onnx"}),
    "pt": frozenset({"pickle", "zip", "pytorch", "torchscript", "tar", "npz"}),
    "pth": frozenset({"pickle", "zip", "pytorch", "torchscript", "tar", "npz", "site"}),
    "zip": frozenset({"zip"}),
    "gz": frozenset({"gzip", "zlib"}),  # joblib writes zlib under this name
    "tar": frozenset({"tar"}),
}
"""Formats a name promises; other recognised content makes it a lie."""
_BINARY: Final = frozenset({"pickle", "zip", "7z", "rar", "tar", "executable", "hdf5"})
"""Formats that never stand in text by chance."""


def scan_source(
    name: str,
    source: Source,
    siblings: frozenset[str] = frozenset(),
    *,
    path: str | None = None,
    budget: Budget | None = None,
    sha256: str | None = None,
    sink: Callable[[Detection], None] | None = None,
    second_opinion: bool = False,
) -> FileReport:
    """Scan one file in this process.

    Args:
        name: Its name, for what it says of the format.
        source: Its bytes.
        siblings: Paths of the other files of the same push or folder.
        path: As reported, when other than `name`.
        budget: What it may cost.
        sha256: Its digest, when known.
        sink: Hears of each detection at once.
        second_opinion: Whether to ask fickling too, of pickles that have imports.
    """
    scan = Scan(path or name, dispatch, budget, siblings=siblings, sink=sink)
    _guarded(scan, name, source)
    if second_opinion and "pickle" in scan.formats:
        _part(scan, lambda: ask_fickling(scan, source))
    _note_pickle(scan)
    return conclude(scan, source.size, sha256)


def dispatch(scan: Scan, name: str, source: Source) -> None:
    """Scan a file or member as all that its content may be."""
    if source.size == 0:
        if scan.member is None and (PICKLE_NAMES.search(name) or _WEIGHTS.search(name)):
            scan.mark_corrupt("the file is empty")
        return
    head = source.read(0, HEAD)
    before = len(scan.formats)
    _containers(scan, name, source, head)
    first = starts_like_pickle(head)
    if first:  # before all others: what it does stays told, whatever they run into
        expected = _is_pickle(name, scan.formats[before:] != [])
        _part(scan, lambda: _pickle(scan, source, expected=expected))
    own = _formats(scan, name, source, head)
    if head.startswith(NPY_MAGIC):
        own.append("npy")
        _part(scan, lambda: scan_npy(scan, source))
    if _SCRIPT_CODE.search(name) and scan.depth:
        _part(scan, lambda: scan_torchscript_code(scan, source))
    found = scan.formats[before:]
    unread = _unread(scan, name, head)
    if unread or (not found and scan.member is None):
        own.append("unknown")
    if not first:
        _part(scan, lambda: search_data(scan, source, own))
    expected = _is_pickle(name, bool(found) or unread or head.startswith(_OTHERS))
    if not first and not head.startswith(ZIP_HEAD):  # as a pickle, P would begin a persistent id
        _part(scan, lambda: _pickle(scan, source, expected=expected))
    if len(scan.formats) == before and scan.member is None:
        _unrecognised(scan, name, source, head)
    _mismatch(scan, name, scan.formats[before:])


def _unrecognised(scan: Scan, name: str, source: Source, head: bytes) -> None:
    """Call a file damaged that is nothing that is known and whose name promises what would be."""
    if _MAGICAL.search(name):
        scan.mark_corrupt("nothing in it is of the format that its name says")
    elif (
        _WEIGHTS.search(name)
        and not head.strip(b"\0")
        and not source.read(max(source.size - HEAD, 0), HEAD).strip(b"\0")
    ):
        scan.mark_corrupt("nothing but zeros")


def _is_pickle(name: str, found: bool) -> bool:
    """Say whether a file that breaks as a pickle is a damaged one, by its name or its magic."""
    if found:
        return False
    return bool(PICKLE_NAMES.search(name))


def _pickle(scan: Scan, source: Source, *, expected: bool) -> None:
    scan_pickle(scan, source, expected=expected, script="torchscript" in scan.within)


def _guarded(scan: Scan, name: str, source: Source) -> None:
    _part(scan, lambda: dispatch(scan, name, source))


def _part(scan: Scan, parse: object) -> None:
    """Run one parser; what stops it never stops the others, nor erases what it found."""
    assert callable(parse)
    try:
        parse()
    except CorruptFileError as error:
        scan.mark_corrupt(error.what)
    except BudgetExceededError as error:
        scan.mark_incomplete(error.what)
    except (MemoryError, RecursionError) as error:
        scan.mark_incomplete(f"the scan's limits were reached: {type(error).__name__}")
    except Exception as error:  # noqa: BLE001 -- rule 4: a parser's own fault reads as incomplete, never clean
        scan.mark_incomplete(f"the parser failed: {type(error).__name__}: {error}")


def _containers(scan: Scan, name: str, source: Source, head: bytes) -> None:
    if find_zip(source, head):
        _part(scan, lambda: scan_zip(scan, name, source, head))
    if is_tar(head):
        _part(scan, lambda: scan_tar(scan, source))
    if head.startswith(SEVENZIP_MAGIC):
        _part(scan, lambda: scan_7z(scan, source))
    for method, magic in _COMPRESSED:
        if magic.match(head):
            _part(scan, lambda method=method: _compressed(scan, method, name, source))
    if match := _ZFILE.match(head):
        scan.formats.append("zfile")
        _part(scan, lambda: scan.descend(name, Part(source, match.end(), source.size)))
    if _is_zlib(head):
        _part(scan, lambda: _compressed(scan, "zlib", name, source))


def _is_zlib(head: bytes) -> bool:
    if len(head) < 6 or head[0] & 0x0F != 8 or head[0] >> 4 > 7 or (head[0] << 8 | head[1]) % 31:
        return False
    import zlib  # noqa: PLC0415 -- in the interpreter already

    try:
        return bool(zlib.decompressobj().decompress(head, 64))
    except zlib.error:
        return False


def _compressed(scan: Scan, method: str, name: str, source: Source) -> None:
    scan.formats.append(method)
    inner = re.sub(r"\.(gz|bz2|xz|lzma|zst|lz4|z|zlib)$", "", name, flags=re.IGNORECASE)
    content = inflate(scan, method, source)
    scan.descend(inner.rsplit("/", 1)[-1] or "content", content)


def _unread(scan: Scan, name: str, head: bytes) -> bool:
    for kind, magic in _UNREAD:
        if magic.match(head):
            scan.formats.append(kind)
            scan.mark_incomplete(f"{kind} archives are not read")
            hides = PICKLE_NAMES.search(name) or name.lower().endswith(".bin")
            scan.report(
                "TW-ARCHIVE-UNREADABLE",
                f"a {kind} archive, which is not read"
                + (", under the name of weights that no loader reads from one" if hides else ""),
                severity=Severity.CRITICAL if hides else None,
                name=kind,
            )
            return True
    return False


def _mismatch(scan: Scan, name: str, found: list[str]) -> None:
    extension = name.rsplit("/", 1)[-1].rpartition(".")[2].lower()
    promised = _EXPECTED.get(extension)
    if promised is None or not found or promised.intersection(found) or "document" in found:
        return
    if not promised and not _BINARY.intersection(found):
        return
    scan.report(
        "TW-FILE-EXTENSION",
        f"the name says {extension}, the content is {found[0]}",
        expected=extension,
        actual=found[0],
        name=found[0],
    )


def _formats(scan: Scan, name: str, source: Source, head: bytes) -> list[str]:
    """Read a file by the first format that it fits, and return that: none of its members'."""
    for one in _registered():
        try:
            fits = one.matches(name, head, source)
        except Exception as error:  # noqa: BLE001 -- a parser's own fault reads as incomplete
            scan.mark_incomplete(f"the parser failed: {type(error).__name__}: {error}")
            continue
        if fits:
            scan.formats.append(one.name)
            _part(scan, lambda one=one: one.parse(scan, name, source))
            # ordered from the surest to what only the name says; a file is one of them
            return [one.name]
    return []


@cache
def _registered() -> tuple[Format, ...]:
    # Imported on first use: the formats descend into containers, which this module reads.
    from agents.checks.artifacts.formats.registry import FORMATS  # noqa: PLC0415

    return FORMATS


def _note_pickle(scan: Scan) -> None:
    if "pickle" in scan.formats:
        scan.report(
            "TW-PICKLE-PRESENT",
            "loading the file unpickles, which can run code; what it does was analysed",
            format=next(iter(scan.formats)),
        )
