"""`tidewatch scan`: check models, requirement files and pipeline definitions like events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from schemas.severity import Severity
from streams.cli.frame import example, new_app
from streams.cli.scan_run import ReportFormat, ScanOptions, carry_out

app = new_app("Check models, requirement files and pipeline definitions.")


@app.command(
    epilog=example(
        "tidewatch scan model/",
        "tidewatch scan hf://org/name@main --format sarif > scan.sarif",
        "tidewatch scan requirements.txt --fail-on high",
        "pip freeze | tidewatch scan -",
    )
)
def scan(
    targets: Annotated[
        list[str],
        typer.Argument(help="files, folders, locations (https, s3, oci, hf, file), or - for stdin"),
    ],
    *,
    form: Annotated[ReportFormat, typer.Option("--format", help="of the report")] = (
        ReportFormat.TABLE
    ),
    fail_on: Annotated[
        Severity, typer.Option(help="exit with 1 for a finding of at least this severity")
    ] = Severity.MEDIUM,
    kind: Annotated[
        str | None, typer.Option("--as", help="the kind of the named files, such as requirements")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="leave out paths that match, such as '*/docs/*'")
    ] = None,
    intel: Annotated[
        list[Path] | None,
        typer.Option(
            help="a feed of intelligence; default: that of `tidewatch intel` on this machine"
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="a policy; default: that of `tidewatch policy` on this machine"),
    ] = None,
    digest: Annotated[
        bool, typer.Option("--digest", help="compute the SHA-256 of every file")
    ] = False,
    suppressions: Annotated[
        Path | None, typer.Option(help="TOML file of findings to suppress")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="folder of results by digest and rule version")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=64, help="files scanned in parallel")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="write the report to this file")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress")] = False,
) -> None:
    """Scan files, folders and locations; nothing that is scanned is loaded or run.

    Exit code 0: clean; 1: findings at or above --fail-on; 2: something could not be scanned, or is
    recognised and not checked.
    """
    code = carry_out(
        ScanOptions(
            targets=tuple(targets),
            form=form,
            fail_on=fail_on,
            kind=kind,
            exclude=tuple(exclude or ()),
            intel=tuple(intel or ()),
            policy=policy,
            digest=digest,
            suppressions=suppressions,
            cache=cache,
            jobs=jobs,
            output=output,
            quiet=quiet,
        )
    )
    if code:
        raise typer.Exit(code)
