"""Every command explains itself, and a user's mistake is one line."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError
from typer.main import get_command

from schemas.channels import Channel
from streams.cli import COMMANDS, main
from streams.cli.output import plain, print_table


def leaves() -> list[tuple[str, ...]]:
    """Every command there is, as words."""
    found: list[tuple[str, ...]] = []
    for name, (module, _) in COMMANDS.items():
        command = get_command(import_module(module).app)
        children = getattr(command, "commands", None)
        found += [(name, child) for child in children] if children else [(name,)]
    return found


@pytest.mark.parametrize("words", leaves(), ids=" ".join)
def test_help_has_an_example(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"tidewatch {' '.join(words)}" in shown.split("Example", 1)[1]


def test_the_overview_lists_every_command_without_importing_any() -> None:
    code = (
        "import sys; from streams.cli import main; main(['--help']);"
        "print([m for m in sys.modules if m in ('typer', 'faust', 'aiokafka', 'pydantic')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


def loaded_by(code: str, watched: set[str]) -> set[str]:
    """Return which of some modules a fresh interpreter has loaded after running code."""
    code += f"\nprint(*sorted({watched!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_no_command_loads_what_it_may_never_use() -> None:
    """To read its options; each second of it is spent at every start."""
    code = (
        "from importlib import import_module\n"
        "from typer.main import get_command\n"
        "from streams.cli import COMMANDS\n"
        "from streams.cli.output import quiet_logs\n"
        "quiet_logs()\n"
        "for module, _ in COMMANDS.values(): get_command(import_module(module).app)\n"
    )
    rare = {"structlog", "rich", "stix2", "faust", "aiohttp", "rocksdict", "numpy", "starlette"}
    assert loaded_by(code, rare) == set()


def test_a_worker_loads_no_http_client_and_no_terminal_library() -> None:
    """Faust and structlog import them, for a type and for colours."""
    code = (
        "from streams.apps.supervisor import run_worker\n"
        "from streams.apps.topology import FACTORIES, preload\n"
        "from streams.logs import configure_logs\n"
        "from streams.settings import load_settings\n"
        "preload(list(FACTORIES)); configure_logs(load_settings())\n"
    )
    assert loaded_by(code, {"faust", "structlog", "aiohttp", "rich"}) == {"faust", "structlog"}


def test_checking_events_loads_no_settings_and_no_kafka() -> None:
    event = Path(__file__).parents[2] / "data/events/package-install.json"
    code = f"from streams.cli import main\nassert main(['send', '--check', {str(event)!r}]) == 0\n"
    needless = {"structlog", "rich", "stix2", "faust", "aiokafka", "streams.settings", "yaml"}
    assert loaded_by(code, needless) == set()


@pytest.mark.slow
def test_a_worker_loads_what_is_rare_when_it_is_needed() -> None:
    code = (
        "from streams.apps import supervisor, topology\n"
        "topology.preload(list(topology.FACTORIES))\n"
    )
    # validates what is shared, fetches from one kind of store, signs without a key of ours, …
    rare = {"stix2", "antlr4", "requests", "fsspec", "sigstore", "mlflow", "numpy", "uvicorn"}
    assert loaded_by(code, rare) == set()


def test_a_misspelt_command_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["wach"]) == 2
    assert "did you mean watch?" in capsys.readouterr().err


def test_a_misspelt_option_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--from-strat", "iocs"]) == 2
    assert "--from-start" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "words", "said"),
    [
        ({"TIDEWATCH_KAFKKA": "x"}, ["topics", "list"], "did you mean TIDEWATCH_KAFKA?"),
        ({}, ["topics", "list"], "tidewatch broker start"),
        ({"TIDEWATCH_KAFKA": "127.0.0.1:1"}, ["topics", "list"], "no Kafka broker answers"),
        ({"TIDEWATCH_KAFKA": "127.0.0.1:1"}, ["watch", "iocs"], "no Kafka broker answers"),
        ({"TIDEWATCH_KAFKA": "127.0.0.1:1"}, ["dead-letters", "list"], "no Kafka broker answers"),
        ({"TIDEWATCH_KAFKA": "127.0.0.1:1"}, ["broker", "start"], "TIDEWATCH_KAFKA"),
        ({}, ["dead-letters", "list", "--reason", "odd"], "invalid-json"),
        ({}, ["dead-letters", "replay"], "--reason or --key"),
        ({}, ["worker", "--agents", "chequers"], "choose from"),
        ({}, ["send", "--check", "absent.json"], "No such file"),
    ],
)
def test_a_users_mistake_is_one_line_with_a_remedy(
    environment: dict[str, str],
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("TIDEWATCH_KAFKA", raising=False)
    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert said in printed.err


def test_status_of_a_broker_that_never_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path))
    assert main(["broker", "status", "--format", "json"]) == 0
    reported = json.loads(capsys.readouterr().out)
    assert (reported["running"], reported["bootstrap"]) == (False, None)
    assert main(["broker", "stop"]) == 0
    assert "was not running" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[2Jgone", "\\u001b[2Jgone"),
        ("two\nlines", "two\\u000alines"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("grün 模型", "grün 模型"),
        ("\ud800", "\\ud800"),
    ],
)
def test_nothing_that_drives_a_terminal_is_printed(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_cut_text_is_marked() -> None:
    assert plain("x" * 100, 10) == "x" * 9 + "…"


def test_a_table_aligns_and_disarms(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["a", "b"], [["long cell", "\x1b"], ["x", 1]])
    assert capsys.readouterr().out.splitlines() == [
        "A          B",
        "long cell  \\u001b",
        "x          1",
    ]


def test_a_schema_file_is_written_for_every_channel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", "--directory", str(tmp_path / "out")]) == 0
    written = {path.name.removesuffix(".schema.json") for path in (tmp_path / "out").iterdir()}
    assert written == {channel.value for channel in Channel}
    capsys.readouterr()
    assert main(["schema", "iocs"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out" / "iocs.schema.json").read_text())


PRINTS_NO_TEXT = {"incidents export", "schema", "respond keygen", "respond run", "worker"}
"""They write a document or a key, or logs, whose format a setting chooses."""


def options_of(words: tuple[str, ...]) -> list[str]:
    """Return the options of a command."""
    command = get_command(import_module(COMMANDS[words[0]][0]).app)
    inner = getattr(command, "commands", {}).get(words[-1], command)
    return [option for param in inner.params for option in param.opts]


def test_every_listing_command_supports_json() -> None:
    without = {" ".join(words) for words in leaves() if "--format" not in options_of(words)}
    assert without == PRINTS_NO_TEXT


def test_a_scan_loads_nothing_that_takes_longer_to_load_than_it_does(tmp_path: Path) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(b"\x80\x04N.")
    code = f"from streams.cli import main\nassert main(['scan', '-q', {str(file)!r}]) == 0\n"
    needless = {"typer", "pydantic", "rich", "structlog", "yaml", "numpy", "importlib.metadata"}
    assert loaded_by(code, needless) == set()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KafkaConnectionError("no broker"), "check the broker"),
        (KeyError("x"), "this is a fault of tidewatch"),
    ],
)
def test_only_kafka_errors_are_not_internal_errors(
    error: Exception,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run() -> int:
        raise error

    monkeypatch.setattr("streams.cli._command", lambda *_: run)
    assert main(["topics", "list"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert type(error).__name__ in line
