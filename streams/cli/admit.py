"""`tidewatch admit`: decide for Kubernetes what may run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.counting import counted
from schemas.errors import TidewatchError
from streams.cli.frame import CheckOption, connected_settings, example, new_app, required_file
from streams.cli.output import Format, FormatOption, plain, print_json, print_line, print_table

if TYPE_CHECKING:
    from streams.admission.config import AdmissionConfig

app = new_app("Decide for Kubernetes what may run.")


@app.command(
    epilog=example(
        "tidewatch admit --check admit.toml",
        "tidewatch admit --config admit.toml",
    )
)
def admit(
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="the webhook's TOML file (deploy/admit.example.toml)"),
    ] = None,
    check: CheckOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Answer the admission reviews of a Kubernetes cluster, until stopped.

    It admits pods, and other objects that name images and models, if these are named by digest and
    scans of the namespace's tenant read them and found nothing. See docs/admission.md.
    """
    from streams.admission.config import load_config  # noqa: PLC0415 -- only this command

    if check is not None:
        _check(load_config(check), form)
        return
    _run(load_config(required_file(config)))


def _run(config: AdmissionConfig) -> None:
    from streams.admission.serving import run_admission  # noqa: PLC0415 -- brings Kafka
    from streams.logs import configure_logs  # noqa: PLC0415 -- the same

    settings = connected_settings()
    configure_logs(settings, app="admit")
    asyncio.run(run_admission(settings, config))


def _check(config: AdmissionConfig, form: Format) -> None:
    from streams.http.listening import tls_context  # noqa: PLC0415 -- only this command

    problems: list[str] = []
    try:
        if tls_context(config.listen) is None:
            problems.append("listen.certificate: the API server calls webhooks by https only")
    except TidewatchError as error:
        problems.append(error.explain())
    if form is Format.JSON:
        print_json({"valid": True, "problems": problems, "tenants": config.tenants})
    else:
        print_line(f"valid: {counted(len(config.tenants), 'namespace')}")
        print_table(["namespace", "tenant"], [list(pair) for pair in config.tenants.items()])
        for problem in problems:
            print_line(f"missing  {plain(problem)}")
    if problems:
        raise typer.Exit(2)
