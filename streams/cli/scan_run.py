"""Carries out `tidewatch scan` as its command line asks."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

import orjson

from schemas.errors import TidewatchError
from schemas.severity import Severity, Verdict
from schemas.version import VERSION
from streams.cli.printing import plain, print_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agents.domain.knowledge import MemoryKnowledge
    from agents.fetching.fetcher import Fetcher
    from schemas.intel import IntelFact
    from streams.adapters.manifests.kinds import Kind
    from streams.reports.entries import FileEntry, ScanSummary
    from streams.scanning.cache import ReportCache
    from streams.scanning.selection import ManifestTarget
    from streams.scanning.targets import Target

EXIT_FINDINGS: Final = 1
EXIT_INCOMPLETE: Final = 2
UNANALYSED: Final = "incomplete_analysis"
"""The kind of a finding that only reports that something was not analysed."""


class ReportFormat(StrEnum):
    """Formats of a scan."""

    TABLE = "table"
    JSON = "json"
    SARIF = "sarif"
    CYCLONEDX = "cyclonedx"


class ScanOptions(NamedTuple):
    """The request of a command line; omitted options have these values."""

    targets: tuple[str, ...]
    form: ReportFormat = ReportFormat.TABLE
    fail_on: Severity = Severity.MEDIUM
    kind: str | None = None
    exclude: tuple[str, ...] = ()
    intel: tuple[Path, ...] = ()
    policy: Path | None = None
    digest: bool = False
    suppressions: Path | None = None
    cache: Path | None = None
    jobs: int | None = None
    output: Path | None = None
    quiet: bool = False


_FLAGS: Final[dict[str, str]] = {"-q": "quiet", "--quiet": "quiet", "--digest": "digest"}
_VALUED: Final[dict[str, tuple[str, Callable[[str], object]]]] = {
    "--format": ("form", ReportFormat),
    "--fail-on": ("fail_on", Severity),
    "-o": ("output", Path),
    "--output": ("output", Path),
}
"""The usual options, with the request of each."""


def plainly_asked(words: Sequence[str]) -> ScanOptions | None:
    """Return the request of a command line of usual words; None for any other.

    Typer reads all of them, errors and help too, and takes longer to start than a scan does.

    Args:
        words: The words after `tidewatch scan`.
    """
    targets: list[str] = []
    asked: dict[str, Any] = {}
    waiting = iter(words)
    for word in waiting:
        name, given, value = word.partition("=")
        if word == "-" or not word.startswith("-"):
            targets.append(word)
        elif word in _FLAGS:
            asked[_FLAGS[word]] = True
        elif name in _VALUED and (not given or name.startswith("--")):
            field, read = _VALUED[name]
            try:
                asked[field] = read(value if given else next(waiting))
            except (StopIteration, ValueError):
                return None
        else:
            return None
    return ScanOptions(tuple(targets), **asked) if targets else None


def carry_out(request: ScanOptions) -> int:
    """Scan, write the report, and return the exit code.

    Raises:
        TidewatchError: the request can't be carried out.
    """
    from streams.reports.entries import summarise  # noqa: PLC0415 -- --help needs no scanner
    from streams.scanning.suppressions import (  # noqa: PLC0415 -- the same
        no_suppressions,
        read_suppressions,
    )

    rules = read_suppressions(request.suppressions) if request.suppressions else no_suppressions()
    request = request._replace(digest=request.digest or rules.need_digests)
    entries, notices = _scan_all(request)
    files = tuple(map(rules.apply, entries))
    summary = summarise(files, rules.expired, notices)
    _write(render(request.form, files, summary), request.output)
    for entry in rules.expired:
        _warn(f"suppression expired: {entry}")
    if request.form is not ReportFormat.TABLE or request.output is not None:
        for notice in notices:  # the table shows it
            _warn(notice)
    return exit_code(files, request.fail_on)


def _report_cache(folder: Path) -> ReportCache:
    from streams.scanning.cache import ReportCache  # noqa: PLC0415 -- few scans have one

    return ReportCache(folder)


def _warn(text: str) -> None:
    print(f"tidewatch: {plain(text)}", file=sys.stderr)  # noqa: T201 -- a warning


def _kind(name: str | None) -> Kind | None:
    if name is None:
        return None
    from streams.adapters.manifests.kinds import KINDS, named  # noqa: PLC0415 -- --help is quick

    kind = named(name)
    if kind is None:
        known = ", ".join(sorted({possible.name for possible in KINDS}))
        raise TidewatchError(
            f"no kind of manifest {name!r}", where="--as", remedy=f"one of {known}"
        )
    return kind


def exit_code(files: Sequence[FileEntry], fail_on: Severity) -> int:
    """Return 1 for findings at or above a severity, else 2 for an incomplete analysis, else 0.

    A finding that only reports an incomplete analysis leads to 2, not to 1. So does anything
    unchecked: a gate never passes it.
    """
    from streams.reports.entries import active, is_unfinished  # noqa: PLC0415 -- --help is quick

    found = (finding for file in files for finding in active(file))
    if any(
        finding.severity.rank >= fail_on.rank and finding.ioc_type != UNANALYSED
        for finding in found
    ):
        return EXIT_FINDINGS
    if any(map(is_unfinished, files)):
        return EXIT_INCOMPLETE
    return 0


def render(form: ReportFormat, files: tuple[FileEntry, ...], summary: ScanSummary) -> str:
    """Return the report in a format."""
    match form:
        case ReportFormat.TABLE:
            from streams.reports.table import table  # noqa: PLC0415 -- each writes one of them

            return "\n".join(table(files, summary))
        case ReportFormat.JSON:
            from streams.reports.entries import document as written  # noqa: PLC0415 -- the same

            document = written(files, summary)
        case ReportFormat.SARIF:
            from streams.reports.sarif import sarif  # noqa: PLC0415 -- the same

            document = sarif(files, VERSION)
        case ReportFormat.CYCLONEDX:
            from streams.reports.cyclonedx import cyclonedx  # noqa: PLC0415 -- the same

            document = cyclonedx(files, VERSION)
    return orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _write(report: str, output: Path | None) -> None:
    if output is None:
        print_line(report)
        return
    try:
        output.write_text(report + "\n", "utf-8")
    except OSError as error:
        raise TidewatchError(
            f"can't write the report ({error.strerror})", where=str(output)
        ) from error


def _scan_all(request: ScanOptions) -> tuple[list[FileEntry], tuple[str, ...]]:
    from agents.checks.artifacts.sandbox.process import prepare  # noqa: PLC0415 -- --help is quick

    if any(map(_is_scanned, request.targets)):
        prepare()
    from agents.checks.artifacts.sandbox.pool import SandboxPool  # noqa: PLC0415 -- the same
    from agents.checks.artifacts.sandbox.protocol import Limits  # noqa: PLC0415 -- the same
    from streams.scanning.engine import scan_targets  # noqa: PLC0415 -- the same
    from streams.scanning.selection import Selection  # noqa: PLC0415 -- the same

    if request.policy is not None:
        from streams.cli.policy import read_policy  # noqa: PLC0415 -- few scans name one

        read_policy(request.policy)  # report an error in it before the scan
    facts = _fed(request.intel)  # the same, also where no manifest is scanned
    kind = _kind(request.kind)
    jobs = request.jobs or min(os.cpu_count() or 1, 8)
    quiet = request.quiet or not sys.stderr.isatty()
    with ExitStack() as held:
        entries, targets = _resolve(request, held)
        selection = Selection(kind)
        limits = Limits(confined=_must_be_confined())
        pool = held.enter_context(SandboxPool(min(jobs, len(targets) or 1), limits))
        with _progress(len(targets), quiet=quiet) as done:
            scanned = scan_targets(
                targets,
                pool,
                digest=request.digest,
                cache=_report_cache(request.cache) if request.cache else None,
                done=done,
                wanted=selection.is_artifact,
            )
        checked, notices = _check_manifests(selection.manifests(targets), request, facts)
    return [*entries, *_joined(checked, scanned)], notices


def _joined(checked: Sequence[FileEntry], scanned: Sequence[FileEntry]) -> Iterator[FileEntry]:
    """Yield one entry for each file, also where it was checked as a manifest and scanned."""
    if not checked:
        yield from scanned
        return
    from streams.scanning.manifests import merged  # noqa: PLC0415 -- models need no such checks

    by_path = {file.path: file for file in scanned}
    for file in checked:
        artifact = by_path.pop(file.path, None)
        yield merged(file, artifact) if artifact else file
    yield from by_path.values()


def _fed(feeds: Sequence[Path]) -> list[IntelFact]:
    """Return the facts of the feeds that the user names."""
    if not feeds:
        return []
    from streams.cli.intel import feed_facts  # noqa: PLC0415 -- the readers of feeds are heavy

    return [fact for file in feeds for fact in feed_facts(file)]


def _check_manifests(
    manifests: Sequence[ManifestTarget], request: ScanOptions, facts: Sequence[IntelFact]
) -> tuple[list[FileEntry], tuple[str, ...]]:
    if not manifests:
        return [], ()
    from streams.scanning.manifests import check_manifest  # noqa: PLC0415 -- models need no such checks

    knowledge, notices = _knowledge(request, facts)
    entries = [check_manifest(manifest, knowledge, digest=request.digest) for manifest in manifests]
    return entries, notices


def _knowledge(
    request: ScanOptions, facts: Sequence[IntelFact]
) -> tuple[MemoryKnowledge, tuple[str, ...]]:
    """Return the knowledge to check with: from the user's files, else from this machine's."""
    from agents.domain.knowledge import MemoryKnowledge  # noqa: PLC0415 -- models need no such checks
    from streams.broker.paths import default_state_dir  # noqa: PLC0415 -- the same
    from streams.scanning.knowledge import (  # noqa: PLC0415 -- the same
        NO_INTELLIGENCE,
        learn_facts,
        learn_held_facts,
        learn_held_policy,
        learn_policy,
    )

    knowledge = MemoryKnowledge()
    notices: list[str] = []
    state_dir = default_state_dir()
    if os.environ.get("TIDEWATCH_CONFIG"):
        from streams.settings import load_settings  # noqa: PLC0415 -- brings pydantic

        state_dir = load_settings().state_dir
    if request.intel:
        learn_facts(knowledge, facts)
    else:
        learn_held_facts(knowledge, state_dir)
    if request.policy is not None:
        from streams.cli.policy import read_policy  # noqa: PLC0415 -- few scans name one

        learn_policy(knowledge, read_policy(request.policy))
    elif several := learn_held_policy(knowledge, state_dir):
        notices.append(
            f"policies of several tenants are held ({', '.join(several)}), none applies: "
            "name one with --policy"
        )
    if not len(knowledge):
        notices.append(NO_INTELLIGENCE)
    return knowledge, tuple(notices)


def _resolve(request: ScanOptions, held: ExitStack) -> tuple[list[FileEntry], list[Target]]:
    """Return the entries of arguments that can't be read, and the targets to scan."""
    from streams.reports.entries import FileEntry  # noqa: PLC0415 -- --help is quick
    from streams.scanning.targets import shown_path  # noqa: PLC0415 -- the same

    entries: list[FileEntry] = []
    targets: list[Target] = []
    for argument in request.targets:
        try:
            found = list(_targets(argument, held))
            kept = [report for report in found if not _is_excluded(report, request.exclude)]
            if not kept:
                raise TidewatchError(  # noqa: TRY301 -- its entry says so, and the others go on
                    "there is nothing to scan",
                    where=shown_path(argument),
                    remedy="everything is excluded" if found else "the folder holds no file",
                )
            targets += kept
        except TidewatchError as error:
            # One bad argument never stops the others; its entry says why.
            entries.append(
                FileEntry(
                    path=shown_path(argument) or "(empty argument)",
                    verdict=Verdict.INCOMPLETE,
                    reasons=(error.explain(),),
                )
            )
    return entries, targets


def _is_scanned(argument: str) -> bool:
    """Return whether an argument names files that a scanning process reads, as far as names say."""
    from streams.adapters.manifests.kinds import may_be_manifest  # noqa: PLC0415 -- --help is quick

    return os.path.isdir(argument) or (  # noqa: PTH112 -- an argument, which need be no path
        os.path.isfile(argument) and not may_be_manifest(argument)  # noqa: PTH113 -- the same
    )


def _is_excluded(target: Target, patterns: Sequence[str]) -> bool:
    return any(
        fnmatchcase(target.path, pattern) or fnmatchcase(target.name, pattern)
        for pattern in patterns
    )


def _targets(argument: str, held: ExitStack) -> Iterator[Target]:
    """Yield the targets of one argument.

    Raises:
        TidewatchError: It names nothing that can be read.
    """
    from streams.adapters.manifests.neighbours import root_for  # noqa: PLC0415 -- --help is quick
    from streams.scanning.targets import is_location, local_targets, shown_path  # noqa: PLC0415 -- the same

    if not argument.strip():
        raise TidewatchError(
            "an argument is empty",
            where="scan",
            remedy="name a file or folder; a variable may be unset",
        )
    if is_location(argument):
        yield from _located(argument, held)
        return
    if argument == "-":
        yield _standard_input(held)
        return
    path = Path(argument)
    if not os.path.lexists(path):
        raise TidewatchError("no such file", where=shown_path(argument))
    yield from local_targets(path, None if path.is_dir() else root_for(path))


def _standard_input(held: ExitStack) -> Target:
    """Return the target of the standard input, kept in a file for as long as the scan takes."""
    from streams.scanning.targets import Target, open_local  # noqa: PLC0415 -- --help is quick

    folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="tidewatch-")))
    file = folder / "stdin"
    with file.open("wb") as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept)
    if not file.stat().st_size:
        raise TidewatchError(
            "there is nothing to scan",
            where="standard input",
            remedy="it is empty: its producer may have failed",
        )
    return Target(
        path="-", name="stdin", open=partial(open_local, file), local=str(file), root=Path.cwd()
    )


def _located(location: str, held: ExitStack) -> Iterator[Target]:
    from streams.cli.output import quiet_logs  # noqa: PLC0415 -- local files need none
    from streams.scanning.locations import remote_targets  # noqa: PLC0415 -- brings HTTP

    quiet_logs()
    return remote_targets(location, held.enter_context(_fetcher(location)))


def _fetcher(location: str) -> Fetcher:
    """Return the reader of a location: by the operator's rules, with the secrets of `local`."""
    from streams.fetch_credentials import fetch_rules, read_credentials  # noqa: PLC0415 -- --help is quick
    from streams.scanning.locations import local_fetcher  # noqa: PLC0415 -- the same
    from streams.scanning.targets import LOCAL_TENANT  # noqa: PLC0415 -- the same
    from streams.settings import load_settings  # noqa: PLC0415 -- the same

    settings = load_settings()
    try:
        host = urlsplit(settings.fetch_hub if location.startswith("hf:") else location).netloc
    except ValueError as error:
        raise TidewatchError(
            f"not a location ({error})", where=location, remedy="correct its host"
        ) from error
    own = [
        credential
        for credential in read_credentials(settings.fetch_credentials).values()
        if LOCAL_TENANT in credential.tenants
    ]
    fitting = [
        credential
        for credential in own
        if host in credential.hosts or (location.startswith("s3:") and credential.access_key)
    ]
    return local_fetcher(location, fetch_rules(settings), fitting[0] if fitting else None)


def _must_be_confined() -> bool:
    """Return whether the settings refuse to scan unconfined."""
    if not {"TIDEWATCH_SCAN_CONFINED", "TIDEWATCH_CONFIG"}.intersection(os.environ):
        return False
    from streams.settings import load_settings  # noqa: PLC0415 -- costs more than a small scan

    return load_settings().scan_confined


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """Show progress on standard error, if it is a terminal."""
    if quiet or total < 2:  # noqa: PLR2004 -- one file needs no bar
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415 -- only people need it
    from rich.progress import Progress  # noqa: PLC0415 -- the same

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scanning", total=total)
        yield lambda: bar.advance(task)
