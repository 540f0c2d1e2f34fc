"""The command line: finds the module of a command, and turns an error into one line.

A command, or group of commands, is a module here with a module-level `app` made by
`streams.cli.frame.new_app`, and a line in `COMMANDS` below. Modules are imported only when their
command is run, so that `tidewatch --help` is instant; keep imports of Kafka and Faust inside the
functions that need them.

In such a module: give every command a help text with an example (`frame.example`); raise
`TidewatchError` for what the user can fix; take `--format` (`output.FormatOption`) where people
read the output; print untrusted text through `output.plain`; end with `typer.Exit(1)` for findings.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agents.uncollected import uncollected
from schemas.errors import TidewatchError
from streams.private_files import PRIVATE_UMASK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    # command: (module, what it does)
    "admit": ("streams.cli.admit", "decide what Kubernetes may run"),
    "baseline": ("streams.cli.baseline", "record what is already in use, without alerts"),
    "broker": ("streams.cli.broker", "start and stop the embedded Kafka, and show its state"),
    "console": ("streams.cli.console", "show incidents and containment in a browser"),
    "dead-letters": ("streams.cli.dead_letters", "show and replay records that could not be read"),
    "doctor": ("streams.cli.doctor", "check settings, disk, broker and topics"),
    "gate": ("streams.cli.gate", "wait for an event's assessment; pass or fail by it"),
    "gateway": ("streams.cli.gateway", "accept events and webhooks over HTTP"),
    "notify": ("streams.cli.notify", "notify people by chat, mail, paging and webhooks"),
    "respond": ("streams.cli.respond", "carry out containment commands"),
    "schema": ("streams.cli.schema", "print the JSON Schema of each topic"),
    "holds": ("streams.cli.holds", "list, show and release containment"),
    "incidents": ("streams.cli.incidents", "list, explain, decide and export incidents"),
    "scan": ("streams.cli.scan", "check models, requirement files and pipeline definitions"),
    "send": ("streams.cli.send", "publish events from a file"),
    "taxii": ("streams.cli.taxii", "serve shared indicators over TAXII 2.1"),
    "topics": ("streams.cli.topics", "list and create topics, print access rules"),
    "up": ("streams.cli.up", "start everything, and show findings live"),
    "verify": ("streams.cli.verify", "verify the provenance of a model or package"),
    "watch": ("streams.cli.watch", "show the records of a topic"),
    "worker": ("streams.cli.worker", "run the apps that read events"),
    "index": ("streams.cli.index", "serve a package index that refuses bad releases"),
    "intel": ("streams.cli.intel", "import feeds of intelligence, show and withdraw facts"),
    "keys": ("streams.cli.keys", "make signing keys, and bind them to rights"),
    "lock": ("streams.cli.lock", "lock requirements with hashes"),
    "policy": ("streams.cli.policy", "set, show and check tenants' policies"),
}

SILENT: Final = frozenset({"scan", "schema"})
"""Commands that set up logs themselves, if at all: setting them up takes longer than a scan."""
FOR_OTHERS: Final = frozenset({"incidents", "lock", "respond", "scan", "schema", "verify"})
"""Commands whose files other users may read, subject to the umask. All others write state, keys and
logs, which are private to the user."""
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, as shells expect."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The command line without the program's name; the process's own by default.

    Returns:
        0 fine, 1 findings, 2 could not do it, or the exit code of the error.
    """
    _open_missing_streams()
    try:
        code = _main(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader of a pipe ended, as in `tidewatch watch … | head`
        _discard_output()
        return 0
    except OSError as error:
        _discard_output()
        return _fail(_explain(error), EXIT_USAGE)
    return code


def _open_missing_streams() -> None:
    """Open /dev/null for closed standard streams (`>&-`): a later file would get their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            mode = "r" if number == 0 else "w"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _discard_output() -> None:
    """Discard buffered output that can't be written; the interpreter would try at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: OSError) -> str:
    """Return an error of the operating system as one line."""
    what = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return f"can't read or write ({what}): check where input and output go, and the disk"
    return f"can't use a file ({what}) at {os.fsdecode(error.filename)}"


def _main(words: list[str]) -> int:
    if not words or words[0] in {"--help", "-h", "help"}:
        print(overview())  # noqa: T201 -- the command's output
        return 0
    if words[0] == "--version":
        from importlib.metadata import version  # noqa: PLC0415 -- no command needs it

        print(f"tidewatch {version('tidewatch')}")  # noqa: T201 -- the command's output
        return 0
    known = COMMANDS.get(words[0])
    if known is None:
        import difflib  # noqa: PLC0415 -- only this error needs it

        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        guess = f"did you mean {near[0]}?" if near else "see: tidewatch --help"
        return _fail(f"no command {words[0]!r}: {guess}", EXIT_USAGE)
    return _run(known[0], words[0], words[1:])


def overview() -> str:
    """Return the help text of the program itself."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {what}" for name, (_, what) in sorted(COMMANDS.items()))
    return (
        "Usage: tidewatch COMMAND [OPTIONS]\n\n"
        "Watches an AI supply chain on Kafka: indicators, incidents, containment.\n\n"
        f"Commands:\n{listed}\n\n"
        "Each has --help with an example: tidewatch watch --help\n"
        "Exit codes: 0 fine, 1 findings, 2 could not do it."
    )


def _command(module: str, name: str, arguments: Sequence[str]) -> Callable[[], int]:
    """Import a command's module; return a function that runs it with its arguments."""
    if name == "scan":
        from streams.cli.scan_run import carry_out, plainly_asked  # noqa: PLC0415 -- of one command

        request = plainly_asked(arguments)
        if request is not None:
            return partial(carry_out, request)
    with uncollected():
        from typer.main import get_command  # noqa: PLC0415 -- the overview needs no typer

        if name not in SILENT:
            from streams.cli.output import quiet_logs  # noqa: PLC0415 -- the same

            quiet_logs()
        command = get_command(import_module(module).app)

    def run() -> int:
        command(args=list(arguments), prog_name=f"tidewatch {name}")
        return 0

    return run


def _run(module: str, name: str, arguments: Sequence[str]) -> int:
    """Import the command's module and run it."""
    command = _command(module, name, arguments)
    umask = os.umask(PRIVATE_UMASK)
    if name in FOR_OTHERS:
        os.umask(umask)
    try:
        return command()
    except TidewatchError as error:
        return _fail(error.explain(), error.exit_code)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None  # typer would have it exit with 1, as with findings
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        return _fail(str(end.code), EXIT_USAGE)
    except OSError:
        raise  # `main` reports it
    except Exception as error:  # noqa: BLE001 -- a traceback says nothing to a user, and exits with 1
        return _unexpected(error)
    finally:
        os.umask(umask)


def _unexpected(error: Exception) -> int:
    """Report an unexpected error with its location in the code, and return the exit code."""
    import traceback  # noqa: PLC0415 -- only such errors need it

    if os.environ.get("TIDEWATCH_LOG_LEVEL") == "debug":
        traceback.print_exception(error)
    kafka = sys.modules.get("aiokafka.errors")  # a command without it has none of its errors
    if kafka is not None and isinstance(error, kafka.KafkaError):
        return _fail(
            f"Kafka did not do what it was asked ({type(error).__name__}): check the broker, and "
            "the rights of the user, with: tidewatch doctor",
            EXIT_USAGE,
        )
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return _fail(
        f"it failed unexpectedly: {type(error).__name__}: {error}{where}: this is a fault of"
        " tidewatch; TIDEWATCH_LOG_LEVEL=debug shows more",
        EXIT_USAGE,
    )


def _fail(text: str, code: int) -> int:
    """Print an error, in one line and without control characters, and return its exit code."""
    from streams.cli.output import plain  # noqa: PLC0415 -- only errors need it

    print(f"tidewatch: {plain(text)}", file=sys.stderr)  # noqa: T201 -- the command's output
    return code
