"""Recognises a file by its content and hands it to every parser that may apply."""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from agents.checks.artifacts.containers.declaration import COMPRESSIONS, SEVENZIP, UNREAD, ZLIB
from agents.checks.artifacts.containers.inflation import inflate
from agents.checks.artifacts.containers.sevenzips import scan_7z
from agents.checks.artifacts.containers.tars import ends_in_member, is_tar, scan_tar
from agents.checks.artifacts.containers.zips import LOCAL as ZIP_HEAD
from agents.checks.artifacts.containers.zips import find_zip, scan_zip, zip_span
from agents.checks.artifacts.formats.format import Format, Trait, endings, later
from agents.checks.artifacts.formats.names import (
    file_name,
    has_trait,
    is_declared,
    is_pickle_name,
    promised_formats,
    promises_magic,
)
from agents.checks.artifacts.formats.numpy_arrays import FORMAT as NPY
from agents.checks.artifacts.formats.numpy_arrays import scan_npy
from agents.checks.artifacts.formats.passive_files import PASSIVE
from agents.checks.artifacts.formats.plain_text import FORMAT as PLAIN_TEXT
from agents.checks.artifacts.formats.plain_text import is_text
from agents.checks.artifacts.formats.programs import PROGRAM
from agents.checks.artifacts.formats.registry import candidates
from agents.checks.artifacts.formats.tensor_data import is_described
from agents.checks.artifacts.formats.torchscript import scan_torchscript_code
from agents.checks.artifacts.pickle.heads import starts_like_pickle
from agents.checks.artifacts.pickle.streams import scan_pickle
from agents.checks.artifacts.readers.stored_data import search_data
from agents.checks.artifacts.report import FileReport, conclude
from agents.checks.artifacts.scanning import (
    Budget,
    BudgetExceededError,
    CorruptFileError,
    Scan,
    Source,
    SourceRange,
)
from agents.domain.detection import Detection
from schemas.severity import Severity

HEAD: Final = 8192
_READ_TEXT: Final = later("agents.checks.artifacts.formats.text_reader")
_SCRIPT_CODE: Final = re.compile(r"(^|/)code/.*\.py$")
_ZFILE: Final = re.compile(rb"ZF(?=0x[0-9a-f]+L? *x)[0-9a-fxL ]{19} ?")
"""joblib before 0.10: the length in 19 characters, then zlib."""
_COMPRESSED_NAME: Final = re.compile(
    "(?:"
    + "|".join(
        re.escape(ending)
        for compression in (*COMPRESSIONS, ZLIB)
        for ending in endings(compression.suffixes)
    )
    + ")$",
    re.IGNORECASE,
)
_ARCHIVED: Final = re.compile(
    b"|".join(
        b"(?:%b)" % known.magic.pattern
        for known in (SEVENZIP, *COMPRESSIONS, *UNREAD)
        if known.magic is not None
    ),
    re.DOTALL,
)
"""The magics of these archives: one test excludes all of them for most files."""
_OTHERS: Final = (b"SR\0\x04", b"SR\0\x06", b"$FL2", b"$FL3")
"""Files of IDL and SPSS, which have the suffixes of pickles."""
_OTHERWISE_NAMED: Final = frozenset(("link", "appledouble"))
"""Suffixes of files that replace another file or lie beside it."""
_BINARY: Final = frozenset({"pickle", "zip", "7z", "rar", "tar", "executable", "hdf5"})
"""Formats that do not occur in text by chance."""


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
        name: Its name, a hint of the format.
        source: Its bytes.
        siblings: Paths of the other files of the same push or folder.
        path: The reported path, if not `name`.
        budget: The limits of its cost.
        sha256: Its digest, when known.
        sink: Called with each detection at once.
        second_opinion: Whether to ask fickling too, of pickles that have imports.
    """
    scan = Scan(path or name, dispatch, budget, siblings=siblings, sink=sink)
    _guarded(scan, name, source)
    if second_opinion and "pickle" in scan.formats:
        from agents.checks.artifacts.pickle.second_opinion import ask_fickling  # noqa: PLC0415 -- of pickles alone

        _part(scan, lambda: ask_fickling(scan, source))
    _note_pickle(scan)
    return conclude(scan, source.size, sha256)


def dispatch(scan: Scan, name: str, source: Source) -> None:
    """Scan a file or member as every format that its content may be."""
    if source.size == 0:
        if scan.member is None and (
            is_pickle_name(name)
            or promises_magic(name)
            or has_trait(name, Trait.NONEMPTY)
            or has_trait(name, Trait.WEIGHTS)
            or has_trait(name, Trait.BINARY)
        ):
            scan.mark_corrupt("the file is empty")
        return
    head = source.read(0, HEAD)
    before = len(scan.formats)
    _containers(scan, name, source, head)
    first = starts_like_pickle(head)
    if first:  # before all others: its effects are reported even if another stops
        expected = _is_pickle(name, scan.formats[before:] != [])
        _part(scan, lambda: _pickle(scan, source, expected=expected))
    own = _formats(scan, name, source, head)
    if _begins(NPY, head):
        own.append(NPY)
        _part(scan, lambda: scan_npy(scan, source))
    if scan.depth and _is_script_code(scan, name):
        _part(scan, lambda: scan_torchscript_code(scan, source))
    found = scan.formats[before:]
    unread = _unread(scan, name, head)
    unrecognised = unread or (not found and scan.member is None)
    if not first:
        _part(scan, lambda: search_data(scan, source, own, unrecognised=unrecognised))
    expected = _is_pickle(name, bool(found) or unread or head.startswith(_OTHERS))
    if not first and not head.startswith(ZIP_HEAD):  # as a pickle, P would begin a persistent id
        _part(scan, lambda: _pickle(scan, source, expected=expected))
    if scan.member is None:
        if len(scan.formats) == before:
            _unrecognised(scan, name, source, head)
        elif scan.formats[before:] == [PROGRAM.name] and is_declared(name):
            scan.mark_corrupt("a page or a program, unlike its name")
    _mismatch(scan, name, scan.formats[before:])


def _is_script_code(scan: Scan, name: str) -> bool:
    """Return whether a member is TorchScript source: by its archive, or by its unique name.

    Model servers also keep Python under `code/`.
    """
    if not _SCRIPT_CODE.search(name):
        return False
    return "torchscript" in scan.within or "code/__torch__" in name


def _unrecognised(scan: Scan, name: str, source: Source, head: bytes) -> None:
    """Read a file of no known format: passive, text, or described by a file beside it.

    Anything else is not clean: it was searched for files and programs, but not understood.
    """
    for passive in PASSIVE:
        if _begins(passive, head):
            scan.formats.append(passive.name)
            return
    if has_trait(name, Trait.MAGIC) or promises_magic(name):
        scan.mark_corrupt("its content is not of the format that its name implies")
    elif (
        has_trait(name, Trait.NONEMPTY)
        and not head.strip(b"\0")
        and not source.read(max(source.size - HEAD, 0), HEAD).strip(b"\0")
    ):
        scan.mark_corrupt("nothing but zeros")
    elif has_trait(name, Trait.TEXT):
        scan.mark_corrupt("its name implies text, which it is not")
    elif is_described(name, scan.siblings):
        scan.formats.append("tensor-data")
    elif is_text(head) and not is_declared(name):
        scan.formats.append(PLAIN_TEXT.name)
        _part(scan, lambda: _READ_TEXT(scan, file_name(name), source))
    else:
        scan.mark_unsupported("its format is unknown; it was only searched for embedded files")


def _is_pickle(name: str, found: bool) -> bool:
    """Return whether a file that does not parse as a pickle is a damaged one, by its name."""
    return not found and is_pickle_name(name)


def _pickle(scan: Scan, source: Source, *, expected: bool) -> None:
    scan_pickle(scan, source, expected=expected, script="torchscript" in scan.within)


def _guarded(scan: Scan, name: str, source: Source) -> None:
    _part(scan, lambda: dispatch(scan, name, source))


def _part(scan: Scan, parse: object) -> None:
    """Run one parser: an error stops no other parser and erases no finding."""
    assert callable(parse)
    try:
        parse()
    except CorruptFileError as error:
        scan.mark_corrupt(error.what)
    except BudgetExceededError as error:
        scan.mark_incomplete(error.what)
    except (MemoryError, RecursionError) as error:
        scan.mark_incomplete(f"the scan's limits were reached: {type(error).__name__}")
    except Exception as error:  # noqa: BLE001 -- hostile input: a parser's own fault reads as incomplete, never clean
        scan.mark_incomplete(f"the parser failed: {type(error).__name__}: {error}")


def _containers(scan: Scan, name: str, source: Source, head: bytes) -> None:
    tar = is_tar(head)
    if find_zip(source, head) and not (tar and ends_in_member(source, zip_span(source))):
        _part(scan, lambda: scan_zip(scan, name, source, head))
    if tar:
        _part(scan, lambda: scan_tar(scan, source))
    if _ARCHIVED.match(head):
        if _begins(SEVENZIP, head):
            _part(scan, lambda: scan_7z(scan, source))
        for compression in COMPRESSIONS:
            if _begins(compression, head):
                method = compression.name
                _part(scan, lambda method=method: _compressed(scan, method, name, source))
    if match := _ZFILE.match(head):
        scan.formats.append("zfile")
        _part(scan, lambda: scan.descend(name, SourceRange(source, match.end(), source.size)))
    if _is_zlib(head):
        _part(scan, lambda: _compressed(scan, "zlib", name, source))


def _begins(known: Format, head: bytes) -> bool:
    return known.magic is not None and known.magic.match(head) is not None


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
    inner = _COMPRESSED_NAME.sub("", name)
    content = inflate(scan, method, source)
    scan.descend(inner.rsplit("/", 1)[-1] or "content", content)


def _unread(scan: Scan, name: str, head: bytes) -> bool:
    if not _ARCHIVED.match(head):
        return False
    for archive in UNREAD:
        if _begins(archive, head):
            kind = archive.name
            scan.formats.append(kind)
            scan.mark_incomplete(f"{kind} archives are not read")
            hides = is_pickle_name(name) or has_trait(name, Trait.WEIGHTS)
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
    promised = promised_formats(f".{extension}")
    if _OTHERWISE_NAMED.intersection(found):
        return
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


def _formats(scan: Scan, name: str, source: Source, head: bytes) -> list[Format]:
    """Read a file as the first format that matches, and return the format."""
    named = file_name(name)
    for known in candidates(name, head):
        if known.matches is None or known.parse is None:
            continue
        parse = known.parse
        try:
            fits = known.matches(named, head, source)
        except Exception as error:  # noqa: BLE001 -- a parser's own fault reads as incomplete
            scan.mark_incomplete(f"the parser failed: {type(error).__name__}: {error}")
            continue
        if fits:
            scan.formats.append(known.name)
            _part(scan, lambda parse=parse: parse(scan, named, source))
            # ordered from the most certain to those recognised by name; a file is one of them
            return [known]
    return []


def _note_pickle(scan: Scan) -> None:
    if "pickle" in scan.formats:
        scan.report(
            "TW-PICKLE-PRESENT",
            "loading the file unpickles, which can run code; what it does was analysed",
            format=next(iter(scan.formats)),
        )
