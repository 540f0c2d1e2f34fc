"""The documentation is true: its commands run as written, and what it names exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from streams.cli import COMMANDS
from streams.settings import NOT_SETTINGS, PREFIX, Settings
from tests.docs.conftest import Reader
from tests.docs.reading import PAGES, ROOT, inline_commands, languages, steps
from tests.docs.shell import Saved, Step, run_in_order, shows
from tests.each import each
from tests.installed import TIDEWATCH

SECONDS = 240

NOT_RUN = {
    "make run": "sets up an environment and runs until it is interrupted",
    "make setup": "installs from an index; a fresh clone tries it",
    "make setup-dev": "the same, for development",
    "make test": "is what runs this",
    "make test-fast": "the same",
    "make lint": "runs beside the tests in continuous integration",
}
"""Commands of console blocks that no test runs, each with the reason."""

ON_KAFKA = re.compile(
    r"tidewatch (broker|up|worker|watch|incidents|intel|dead-letters|doctor|send (?!--check)"
    r"|policy (set|show)|topics (list|create)|respond run|(gateway|admit|index) --config|gate"
    r"|baseline (?!.*--check))"
)
OWN_KAFKA = "tidewatch broker start"
"""A page that starts the embedded Kafka speaks to that one."""

MODULES = re.compile(
    r"`(?:\.venv/bin/)?python -m ((?:agents|schemas|streams|tests)\.[\w.]+)([^`]*)`"
)
"""Modules that a reader of the text is told to run, with what follows."""

WRITTEN = {page: steps(page.read_text()) for page in PAGES}


def name_of(page: Path) -> str:
    """Name a page in the list of tests."""
    return str(page.relative_to(ROOT))


def pages_with_commands() -> list[object]:
    """Return the pages with something to run, those that need Kafka marked."""
    found = []
    for page, written in WRITTEN.items():
        commands = [step.command for step in written if isinstance(step, Step)]
        if set(commands) - set(NOT_RUN):
            marks = [pytest.mark.kafka] if any(map(ON_KAFKA.search, commands)) else []
            found.append(pytest.param(page, marks=marks, id=name_of(page)))
    return found


@pytest.mark.parametrize("page", pages_with_commands())
def test_the_commands_of_a_page_do_what_it_shows(
    page: Path, reader: Reader, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    written = [
        step for step in WRITTEN[page] if isinstance(step, Saved) or step.command not in NOT_RUN
    ]
    commands = [step for step in written if isinstance(step, Step)]
    starts_kafka = any(step.command.startswith(OWN_KAFKA) for step in commands)
    needs_kafka = any(ON_KAFKA.search(step.command) for step in commands)
    kafka, prefixes = None, {}
    if needs_kafka and not starts_kafka:
        kafka = request.getfixturevalue("kafka")
        # nothing of other pages and tests may be on its topics
        prefixes = {"topic_prefix": f"page-{page.stem}.", "group_prefix": f"page-{page.stem}"}
    environment = reader(kafka, **prefixes)
    folder = tmp_path / "reader"
    folder.mkdir()
    try:
        ran = run_in_order(written, folder, environment, seconds=SECONDS)
    finally:
        if starts_kafka:
            subprocess.run([TIDEWATCH, "broker", "stop"], env=environment, check=False)
    for step, did, following in zip(commands, ran, [*commands[1:], None], strict=True):
        printed = "\n".join(did.printed)
        assert "Traceback" not in printed
        if following is None or following.command != "echo $?":
            assert did.code == 0, f"{step.command}: exit code {did.code}\n{printed}"
        if step.shown:
            assert shows(step.shown, did.printed), f"{step.command} printed:\n{printed}"


@each("page", PAGES)
def test_commands_are_in_console_blocks(page: Path) -> None:
    assert not languages(page.read_text()) & {"sh", "bash", "shell", "zsh", "shell-session"}


def test_each_command_that_is_not_run_is_on_a_page() -> None:
    quoted = {
        step.command for written in WRITTEN.values() for step in written if isinstance(step, Step)
    }
    assert {"make run", "make test"} <= quoted
    assert set(NOT_RUN) - quoted == set(), "a reason for a command that no page has"


def parsed(words: list[str]) -> None:
    """Let a command read its arguments, without running it.

    Raises:
        click.UsageError: It would refuse them.
    """
    name, *rest = words
    assert name in COMMANDS, f"no command {name}"
    command = get_command(import_module(COMMANDS[name][0]).app)
    while isinstance(command, typer.core.TyperGroup) and rest and not rest[0].startswith("-"):
        context = command.make_context(name, list(rest), resilient_parsing=True)
        found = command.get_command(context, rest[0])
        assert found is not None, f"no command {name} {rest[0]}"
        name, command, rest = f"{name} {rest[0]}", found, rest[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {option for parameter in command.params for option in parameter.secondary_opts}
    known |= {"--help", "-h", "-"}
    for word in rest:
        assert not word.startswith("-") or word.partition("=")[0] in known, f"{name}: no {word}"


@each("page", PAGES)
def test_commands_in_the_text_exist_with_their_options(page: Path) -> None:
    for text in inline_commands(page.read_text()):
        for part in text.split("|"):
            words = shlex.split(part)
            if words[:1] == ["tidewatch"] and not words[1].startswith("-") and words[1].isascii():
                parsed(words[1:])


@each("page", PAGES)
def test_modules_that_the_text_runs_exist_with_their_options(page: Path) -> None:
    for module, rest in MODULES.findall(page.read_text()):
        path = ROOT.joinpath(*module.split("."))
        file = path.with_suffix(".py") if not path.is_dir() else path / "__main__.py"
        source = file.read_text()
        for option in re.findall(r"(?<!\S)--[a-z-]+", rest):
            field = option.strip("-").replace("-", "_")
            known = f'"{option}"' in source or re.search(rf"^    {field}: ", source, re.MULTILINE)
            assert known, f"{module}: no {option}"


@each("page", PAGES)
def test_extras_that_are_named_exist(page: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for named in re.findall(r"\btidewatch\[([a-z, ]+)\]", page.read_text()):
        assert set(map(str.strip, named.split(","))) <= set(extras), named


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for name in re.findall(r"(?:`|^\$ )make ([a-z-]+)", page.read_text(), re.MULTILINE):
            assert name in targets, (page.name, name)


def test_every_make_target_is_in_its_help() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert {"run", "test", "test-fast", "lint", "bench", "fuzz", "lock", "help"} <= listed
    assert "bench-scale" in listed


def test_commands_that_are_named_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`tidewatch ([a-z][a-z-]+)", page.read_text()):
            assert name in COMMANDS, (page.name, name)


def test_every_command_is_in_the_readme() -> None:
    named = set(re.findall(r"`tidewatch ([a-z][a-z-]+)", (ROOT / "README.md").read_text()))
    assert set(COMMANDS) - named == set()


def test_settings_that_are_named_exist() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | NOT_SETTINGS
    for page in PAGES:
        for name in re.findall(rf"`({PREFIX}[A-Z_]+)\b", page.read_text()):
            assert name in known, (page.name, name)


ROOMS = ("agents", "schemas", "streams", "tests", "deploy", "docs", "locks")


@each("page", PAGES)
def test_files_that_are_named_exist(page: Path) -> None:
    """Paths from the root of the repository, in the text."""
    for name in re.findall(rf"[` ]((?:{'|'.join(ROOMS)})/[\w./-]+)", page.read_text()):
        assert (ROOT / name.rstrip(".")).exists(), name


def test_files_that_are_linked_exist() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


def test_every_page_is_reached_from_the_readme() -> None:
    reached, pending = set(), [ROOT / "README.md"]
    while pending:
        page = pending.pop()
        if page in reached:
            continue
        reached.add(page)
        linked = re.findall(r"\]\((?!https?:)([^)#]+\.md)(?:#[^)]*)?\)", page.read_text())
        pending.extend((page.parent / target).resolve() for target in linked)
    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - reached == set()
