"""`tidewatch scan`: models, requirement files and pipeline definitions, checked like events."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import orjson
import typer

from schemas.errors import TidewatchError
from schemas.severity import Severity, Verdict
from schemas.version import VERSION
from streams.cli.frame import example, new_app
from streams.cli.output import print_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agents.fetching.fetcher import Fetcher
    from streams.reports.entries import FileEntry, ScanSummary
    from streams.scanning.cache import ReportCache
    from streams.scanning.targets import Target

app = new_app("Check models, requirement files and pipeline definitions.")

EXIT_FINDINGS = 1
EXIT_INCOMPLETE = 2
UNANALYSED = "incomplete_analysis"
"""The kind of finding that only says that something was not looked at."""


class ReportFormat(StrEnum):
    """Formats of a scan."""

    TABLE = "table"
    JSON = "json"
    SARIF = "sarif"
    CYCLONEDX = "cyclonedx"


@app.command(
    epilog=example(
        "tidewatch scan model/",
        "tidewatch scan hf://org/name@main --format sarif > scan.sarif",
        "tidewatch scan requirements.txt --fail-on high",
    )
)
def scan(
    targets: Annotated[
        list[str], typer.Argument(help="files, folders, or locations (https, s3, oci, hf, file)")
    ],
    *,
    form: Annotated[ReportFormat, typer.Option("--format", help="of the report")] = (
        ReportFormat.TABLE
    ),
    fail_on: Annotated[
        Severity, typer.Option(help="exit with 1 when a finding is at least this severe")
    ] = Severity.MEDIUM,
    digest: Annotated[
        bool, typer.Option("--digest", help="compute the SHA-256 of every file")
    ] = False,
    suppressions: Annotated[
        Path | None, typer.Option(help="TOML file of findings that are not to be reported")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="folder of results by digest and rule version")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, max=64, help="files at the same time")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="write the report into this file")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress")] = False,
) -> None:
    """Scan files, folders and locations; nothing that is scanned is loaded or run.

    Exit code 0: clean; 1: findings at or above --fail-on; 2: something could not be scanned.
    """
    from streams.reports.entries import summarise  # noqa: PLC0415 -- --help needs no scanner
    from streams.scanning.cache import ReportCache  # noqa: PLC0415 -- the same
    from streams.scanning.suppressions import (  # noqa: PLC0415 -- the same
        no_suppressions,
        read_suppressions,
    )

    rules = read_suppressions(suppressions) if suppressions else no_suppressions()
    files = tuple(
        rules.apply(file)
        for file in _scan_all(
            targets,
            jobs=jobs or min(os.cpu_count() or 1, 8),
            digest=digest or rules.need_digests,
            cache=ReportCache(cache) if cache else None,
            quiet=quiet or not sys.stderr.isatty(),
        )
    )
    summary = summarise(files, rules.expired)
    _write(render(form, files, summary), output)
    for entry in rules.expired:
        print(f"tidewatch: suppression expired: {entry}", file=sys.stderr)  # noqa: T201 -- a warning
    code = exit_code(files, fail_on)
    if code:
        raise typer.Exit(code)


def exit_code(files: Sequence[FileEntry], fail_on: Severity) -> int:
    """Return 1 for findings at or above a severity, else 2 for what was not analysed, else 0.

    A finding that only says that something was not analysed leads to 2, not to 1.
    """
    from streams.reports.entries import active  # noqa: PLC0415 -- --help needs no scanner

    found = (finding for file in files for finding in active(file))
    if any(
        finding.severity.rank >= fail_on.rank and finding.ioc_type != UNANALYSED
        for finding in found
    ):
        return EXIT_FINDINGS
    if any(file.verdict in {Verdict.INCOMPLETE, Verdict.CORRUPT} for file in files):
        return EXIT_INCOMPLETE
    return 0


def render(form: ReportFormat, files: tuple[FileEntry, ...], summary: ScanSummary) -> str:
    """Return the report in a format."""
    from streams.reports import cyclonedx, entries, sarif, table  # noqa: PLC0415 -- --help is quick

    match form:
        case ReportFormat.TABLE:
            return "\n".join(table.table(files, summary))
        case ReportFormat.JSON:
            document = entries.document(files, summary)
        case ReportFormat.SARIF:
            document = sarif.sarif(files, VERSION)
        case ReportFormat.CYCLONEDX:
            document = cyclonedx.cyclonedx(files, VERSION)
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


def _scan_all(
    arguments: Sequence[str], *, jobs: int, digest: bool, cache: ReportCache | None, quiet: bool
) -> list[FileEntry]:
    from agents.checks.artifacts.sandbox.pool import SandboxPool  # noqa: PLC0415 -- --help is quick
    from streams.scanning.engine import scan_targets  # noqa: PLC0415 -- the same

    with ExitStack() as held:
        entries, targets = _resolve(arguments, held)
        pool = held.enter_context(SandboxPool(min(jobs, len(targets) or 1)))
        with _progress(len(targets), quiet=quiet) as done:
            entries += scan_targets(targets, pool, digest=digest, cache=cache, done=done)
    return entries


def _resolve(arguments: Sequence[str], held: ExitStack) -> tuple[list[FileEntry], list[Target]]:
    """Return the entries of manifests and of what can't be had, and the targets to scan."""
    from streams.reports.entries import FileEntry  # noqa: PLC0415 -- --help is quick
    from streams.scanning.manifest_kinds import manifest_kind  # noqa: PLC0415 -- the same
    from streams.scanning.targets import is_location, local_targets  # noqa: PLC0415 -- the same

    entries: list[FileEntry] = []
    targets: list[Target] = []
    for argument in arguments:
        try:
            if is_location(argument):
                targets += _located(argument, held)
                continue
            path = Path(argument)
            if not path.exists():
                raise TidewatchError("no such file", where=argument)  # noqa: TRY301 -- below
            kind = manifest_kind(path) if path.is_file() else None
            if kind is not None:
                entries.append(_manifest(path, kind))
            else:
                targets += local_targets(path)
        except TidewatchError as error:
            # One bad argument never stops the others; its entry says why.
            entries.append(
                FileEntry(path=argument, verdict=Verdict.INCOMPLETE, reasons=(error.explain(),))
            )
    return entries, targets


def _manifest(path: Path, kind: str) -> FileEntry:
    from agents.domain.knowledge import MemoryKnowledge  # noqa: PLC0415 -- models need no such checks
    from streams.scanning.manifests import check_manifest  # noqa: PLC0415 -- the same

    return check_manifest(path, kind, MemoryKnowledge())


def _located(location: str, held: ExitStack) -> Iterator[Target]:
    from streams.cli.output import quiet_logs  # noqa: PLC0415 -- local files need none
    from streams.scanning.locations import remote_targets  # noqa: PLC0415 -- brings HTTP

    quiet_logs()
    return remote_targets(location, held.enter_context(_fetcher(location)))


def _fetcher(location: str) -> Fetcher:
    """Return what reads a location: by the operator's rules, with the secrets of `local`."""
    from streams.fetch_credentials import fetch_rules, read_credentials  # noqa: PLC0415 -- --help is quick
    from streams.scanning.locations import local_fetcher  # noqa: PLC0415 -- the same
    from streams.scanning.targets import LOCAL_TENANT  # noqa: PLC0415 -- the same
    from streams.settings import load_settings  # noqa: PLC0415 -- the same

    settings = load_settings()
    own = [
        one
        for one in read_credentials(settings.fetch_credentials).values()
        if LOCAL_TENANT in one.tenants
    ]
    host = urlsplit(settings.fetch_hub if location.startswith("hf:") else location).netloc
    fitting = [
        one for one in own if host in one.hosts or (location.startswith("s3:") and one.access_key)
    ]
    return local_fetcher(location, fetch_rules(settings), fitting[0] if fitting else None)


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """Show progress on the error side, when a person watches."""
    if quiet or total < 2:  # noqa: PLR2004 -- one file needs no bar
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415 -- only people need it
    from rich.progress import Progress  # noqa: PLC0415 -- the same

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scanning", total=total)
        yield lambda: bar.advance(task)
