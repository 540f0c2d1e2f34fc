"""`tidewatch doctor`: check the prerequisites, and suggest fixes."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from schemas.errors import TidewatchError
from schemas.severity import Verdict
from streams.cli.frame import connected_settings, example, new_app
from streams.cli.output import Format, FormatOption, plain, print_json, print_line
from streams.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.settings import Settings

app = new_app("Check settings, disk, broker and topics.")


class DoctorCheck(msgspec.Struct, frozen=True):
    """The outcome of one check."""

    name: str
    ok: bool
    detail: str


@app.command(epilog=example("tidewatch doctor", "tidewatch doctor --broker"))
def doctor(
    *,
    broker_only: Annotated[
        bool, typer.Option("--broker", help="only check that the broker answers (health checks)")
    ] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Check settings, disk, broker and topics; and for the embedded broker: Java, Maven, jars."""
    settings = load_settings()
    checks = [] if broker_only else [DoctorCheck("settings", ok=True, detail=_settings(settings))]
    if not broker_only:
        checks += _machine(settings)
    checks += _broker(with_topics=not broker_only)
    if form is Format.JSON:
        print_json([msgspec.structs.asdict(check) for check in checks])
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            mark = "ok  " if check.ok else "FAIL"
            print_line(f"{mark}  {check.name:<{width}}  {plain(check.detail)}")
    if not all(check.ok for check in checks):
        raise typer.Exit(2)


def _settings(settings: Settings) -> str:
    """Report that the settings are valid, with warnings."""
    if settings.organisations:
        return "read and valid"
    return (
        "read and valid; warning: no organisations are registered, so every tenant that sends "
        f"events counts towards {settings.privacy_k}: set `organisations` in the settings file"
    )


def _attempt(name: str, look: Callable[[], str]) -> DoctorCheck:
    """Run one check; an error becomes a failed check with its explanation."""
    try:
        return DoctorCheck(name, ok=True, detail=look())
    except TidewatchError as error:
        return DoctorCheck(name, ok=False, detail=error.explain())


def _machine(settings: Settings) -> list[DoctorCheck]:
    """Check the disk and, if no Kafka is configured, the needs of the embedded one."""
    checks = [
        _attempt("disk", lambda: _disk(settings)),
        _attempt("sandbox", lambda: _sandbox(settings)),
    ]
    keys = _attempt("keys", lambda: _keys(settings))
    if not keys.ok:
        checks.append(keys)
    if settings.kafka is None:
        checks += [
            _attempt("java", _java),
            _attempt("jars", lambda: _jars(settings)),
        ]
    return checks


def _disk(settings: Settings) -> str:
    """Check that the state folder can be written, and report its free space."""
    from streams.broker.embedded import MIN_FREE_BYTES  # noqa: PLC0415 -- not in other checks
    from streams.broker.errors import NoSpaceError, disk_errors  # noqa: PLC0415 -- the same

    folder = settings.state_dir
    with disk_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".doctor"
        probe.write_bytes(b"\0" * 65536)
        probe.unlink()
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise NoSpaceError(
            f"only {free // 1024**2} MiB are free",
            where=str(folder),
            remedy="free some, or choose another folder with TIDEWATCH_STATE_DIR",
        )
    return f"{free // 1024**3} GiB free in {folder}"


def _sandbox(settings: Settings) -> str:
    """Report the confinement of scanning processes."""
    from agents.checks.artifacts.sandbox.pool import Sandbox  # noqa: PLC0415 -- not in other checks
    from agents.checks.artifacts.sandbox.protocol import Limits  # noqa: PLC0415 -- the same

    with Sandbox(Limits(confined=settings.scan_confined)) as sandbox:
        report = sandbox.scan_bytes("probe.txt", b"probe")
    if report.verdict is not Verdict.CLEAN:
        raise TidewatchError(
            "; ".join(report.reasons),
            where=report.confinement or "scanning process",
            remedy="run on a Linux kernel with seccomp and landlock, in a container that allows "
            "them, or set TIDEWATCH_SCAN_CONFINED=false",
        )
    return report.confinement


def _java() -> str:
    """Report the Java that would run the embedded broker."""
    from streams.broker.java import find_java  # noqa: PLC0415 -- not in other checks

    java = find_java()
    return f"Java {java.version}: {java.program}"


def _jars(settings: Settings) -> str:
    """Check that the embedded broker's jars match their pins, or can be fetched."""
    from streams.broker.errors import NoMavenError  # noqa: PLC0415 -- not in other checks
    from streams.broker.jars import pins_key, read_pins, verify_jars  # noqa: PLC0415 -- the same
    from streams.broker.paths import description_dir, jars_dir  # noqa: PLC0415 -- the same

    pins = read_pins(description_dir())
    folder = jars_dir(settings.state_dir) / pins_key(pins)
    if folder.is_dir():
        verify_jars(folder, pins)
        return f"{len(pins)} jars, each as pinned"
    maven = shutil.which("mvn")
    if maven is None:
        raise NoMavenError(
            "the jars are not fetched yet, and Maven is missing",
            where="PATH",
            remedy="install Maven, or name a Kafka of your own with TIDEWATCH_KAFKA",
        )
    return f"not fetched yet; {maven} will fetch them at the first start"


def _broker(*, with_topics: bool) -> list[DoctorCheck]:
    """Check that the broker answers and, if asked, that its topics are there."""
    try:
        settings = connected_settings()
        missing = asyncio.run(_missing_topics(settings))
    except TidewatchError as error:
        return [DoctorCheck("broker", ok=False, detail=error.explain())]
    checks = [DoctorCheck("broker", ok=True, detail=f"{settings.kafka} answers")]
    if with_topics:
        checks.append(_attempt("topics", lambda: _topics(settings, missing)))
    return checks


def _topics(settings: Settings, missing: list[str]) -> str:
    """Check that topics exist or will be created, and that the broker sets timestamps."""
    if missing and not settings.create_topics:
        raise TidewatchError(
            f"{len(missing)} missing", remedy="create them with: tidewatch topics create"
        )
    _require_times(settings)
    return f"{len(missing)} missing; the first worker creates them" if missing else "all there"


def _require_times(settings: Settings) -> None:
    """Refuse topics where timestamps matter but producers set them."""
    from streams.kafka.topic_times import topics_with_producers_time  # noqa: PLC0415 -- brings Kafka

    wrong = asyncio.run(topics_with_producers_time(settings))
    if wrong:
        raise TidewatchError(
            f"producers set the timestamps on {', '.join(wrong)}",
            where=str(settings.kafka),
            remedy="have the broker set them with: tidewatch topics create",
        )


def _keys(settings: Settings) -> str:
    """Report keys that are trusted for decisions but not bound to an actor."""
    from streams.signing_keys import OPERATOR, keys_dir, load_trusted, trusted_dir  # noqa: PLC0415

    folder = trusted_dir(keys_dir(settings.state_dir), OPERATOR)
    unbound = sorted(kid for kid, key in load_trusted(folder).items() if key.binding is None)
    if unbound:
        raise TidewatchError(
            f"bound to no actor, so they sign nothing: {', '.join(unbound)}",
            where=str(folder),
            remedy="bind them with: tidewatch keys bind",
        )
    return "all bound"


async def _missing_topics(settings: Settings) -> list[str]:
    """Return the declared topics that the broker lacks."""
    from streams.kafka.topic_metadata import partition_counts  # noqa: PLC0415 -- the same
    from streams.kafka.topics import TOPICS, input_topics, open_admin  # noqa: PLC0415

    names = [name for channel in TOPICS for name in input_topics(settings, channel)]
    admin = await open_admin(settings)
    try:
        counts = await partition_counts(admin, names)
    finally:
        await admin.close()
    return sorted(set(names) - set(counts))
