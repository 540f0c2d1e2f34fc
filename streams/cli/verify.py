"""`tidewatch verify`: verify the provenance and integrity of a model or package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import orjson
import typer

from agents.domain.check_names import CheckName
from schemas.errors import TidewatchError
from schemas.severity import Status, worst
from streams.cli.frame import example, new_app
from streams.cli.output import Format, FormatOption, plain, print_json, print_line

if TYPE_CHECKING:
    from agents.checks.provenance.signatures import Trust
    from agents.domain.detection import Outcome
    from schemas.assessments import Check
    from schemas.events import Card

app = new_app("Verify the provenance of a model or a package.")

DISTRIBUTIONS = (".whl", ".tar.gz", ".zip")
EXIT_FAILED = 1
EXIT_INCOMPLETE = 2


@app.command(
    epilog=example(
        "tidewatch verify model/ --expected-hashes SHA256SUMS --key signer.pem",
        "tidewatch verify model/ --source huggingface/org/name --actual-source hf://org/name@main",
        "tidewatch verify --identity ci@acme.example --issuer https://idp.example dist.whl",
    )
)
def verify(
    path: Annotated[Path, typer.Argument(help="a model's folder or file, or a distribution")],
    *,
    expected_hashes: Annotated[
        Path | None,
        typer.Option(help="SHA-256 by file: JSON object, or the output of sha256sum"),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="the expected origin: registry/organisation/name")
    ] = None,
    actual_source: Annotated[
        str | None, typer.Option(help="the actual origin; compared with --source")
    ] = None,
    signature: Annotated[
        Path | None, typer.Option(help="the signature, if it is not among the files")
    ] = None,
    key: Annotated[list[Path] | None, typer.Option(help="PEM public key to trust")] = None,
    certificate: Annotated[
        list[Path] | None, typer.Option(help="PEM certificate of an authority to trust")
    ] = None,
    identity: Annotated[
        str | None, typer.Option(help="Sigstore identity to trust: a mail address or workflow")
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(help="OpenID Connect issuer of that identity")
    ] = None,
    trusted_root: Annotated[
        Path | None, typer.Option(help="pinned Sigstore trusted_root.json; default: bundled")
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="JSON of the model card's claims, as in events")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="a warning is a failure too")] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Check formats, digests, source, signatures and claims; everything offline.

    Exit code 0: all passed, possibly with warnings; 1: a check failed; 2: one was not completed.
    """
    if not path.exists():
        raise TidewatchError("no such file", where=str(path), remedy="name a model or distribution")
    if bool(identity) != bool(issuer):
        raise TidewatchError(
            "an identity and its issuer must be given together",
            where="--identity, --issuer",
            remedy="give both",
        )
    if path.is_file() and path.name.endswith(DISTRIBUTIONS) and identity and issuer:
        checks: tuple[Check, ...] = (
            _distribution(path, identity, issuer, signature, trusted_root),
        )
    else:
        trust = _trust(key or [], certificate or [], identity, issuer, trusted_root)
        checks = _model(
            path,
            expected=_read_hashes(expected_hashes) if expected_hashes else None,
            source=source,
            actual_source=actual_source,
            signature=signature,
            trust=trust,
            card=_read_card(card) if card else None,
        ).checks
    overall = worst(check.status for check in checks)
    if form is Format.JSON:
        print_json({"checks": msgspec.to_builtins(checks), "overall_status": str(overall)})
    else:
        for check in checks:
            print_line(_line(check))
        print_line(f"overall: {overall}")
    if overall is Status.FAIL or (strict and overall is Status.WARN):
        raise typer.Exit(EXIT_FAILED)
    if overall is Status.INCOMPLETE:
        raise typer.Exit(EXIT_INCOMPLETE)


def _line(check: Check) -> str:
    parts = [f"{check.status!s:<10} {plain(check.name)}"]
    if check.status is not Status.PASS:
        if check.expected is not None:
            parts.append(f"expected {plain(str(check.expected), 120)}")
        if check.actual is not None:
            parts.append(f"actual {plain(str(check.actual), 120)}")
    if check.detail:
        parts.append(plain(check.detail, 300))
    return "  ".join(parts)


def _model(
    path: Path,
    *,
    expected: dict[str, str] | None,
    source: str | None,
    actual_source: str | None,
    signature: Path | None,
    trust: Trust,
    card: Card | None,
) -> Outcome:
    from agents.checks.provenance.verify import (  # noqa: PLC0415 -- --help needs no libraries
        local_files,
        verify_model,
    )

    bundles = {signature.name: _read(signature)} if signature else None
    return verify_model(
        local_files(path),
        expected_hashes=expected,
        expected_source=source,
        actual_source=actual_source,
        signatures=bundles,
        trust=trust,
        card=card,
    )


def _distribution(
    path: Path, identity: str, issuer: str, signature: Path | None, trusted_root: Path | None
) -> Check:
    from agents.checks.packages.attestations import (  # noqa: PLC0415 -- --help needs no libraries
        UnfinishedVerificationError,
        verify_distribution,
    )
    from schemas.assessments import Check  # noqa: PLC0415 -- the same

    try:
        verify_distribution(path, identity, issuer, signature, trusted_root=trusted_root)
    except UnfinishedVerificationError as error:
        return Check(
            name=CheckName.SIGNATURE, status=Status.INCOMPLETE, detail=error.explain()[:500]
        )
    except TidewatchError as error:
        return Check(name=CheckName.SIGNATURE, status=Status.FAIL, detail=error.explain()[:500])
    return Check(name=CheckName.SIGNATURE, status=Status.PASS, detail=f"signed by {identity}")


def _trust(
    keys: list[Path],
    certificates: list[Path],
    identity: str | None,
    issuer: str | None,
    trusted_root: Path | None,
) -> Trust:
    from agents.checks.provenance.signatures import Trust  # noqa: PLC0415 -- --help is quick

    return Trust(
        keys=tuple(_read(key).decode("ascii", "replace") for key in keys),
        certificates=tuple(
            _read(certificate).decode("ascii", "replace") for certificate in certificates
        ),
        identities=((identity, issuer),) if identity and issuer else (),
        trusted_root=trusted_root,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TidewatchError(f"can't be read ({error.strerror})", where=str(path)) from error


def _read_hashes(path: Path) -> dict[str, str]:
    """Return SHA-256 by file from a JSON object or from lines as `sha256sum` prints them."""
    text = _read(path).decode("utf-8", "replace")
    if text.lstrip().startswith("{"):
        try:
            return msgspec.convert(orjson.loads(text), dict[str, str])
        except (orjson.JSONDecodeError, msgspec.ValidationError) as error:
            raise TidewatchError(
                "not an object of digests by file", where=str(path), remedy=str(error)
            ) from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        digest, _, name = line.strip().partition(" ")
        if not name.strip():
            raise TidewatchError(
                "a line without digest and file", where=f"{path}:{number}", remedy="see sha256sum"
            )
        found[name.strip().removeprefix("*")] = digest
    return found


def _read_card(path: Path) -> Card:
    from schemas.events import Card  # noqa: PLC0415 -- --help is quick

    try:
        return msgspec.json.decode(_read(path), type=Card)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TidewatchError("not a card", where=str(path), remedy=str(error)) from error
