"""tox.ini and tox.toml: what tox installs into its environments."""

from __future__ import annotations

import re
from typing import Any, Final

from agents.domain.toml_reader import read_toml
from schemas.events import Installer
from streams.adapters.manifests.commands import installs_of, script_commands
from streams.adapters.manifests.found import Found, InstallOptions, table, texts
from streams.adapters.manifests.ini_text import read_ini
from streams.adapters.manifests.pyproject import add_tasks
from streams.adapters.manifests.requirements import declare, declare_files

_FACTOR: Final = re.compile(r"^!?[\w.{},!-]+\s*:\s+|^!?[\w.{},!-]+:(?=[^/])")
"""What a line applies to: `py312,cuda: torch`."""
_FILE: Final = re.compile(r"^-(?:r|-requirement)[\s=]*(\S.*)$")
_OTHER: Final = re.compile(r"^-(?!e\b|-(?:extra-)?index-url|-find-links|f\b|i\b|-trusted-host)")
_COMMANDS: Final = ("commands_pre", "commands", "commands_post")
_POSARGS: Final = re.compile(r"\{posargs(?::[^{}]*)?\}")
_VARIABLE: Final = re.compile(r"\{[^{}]*\}")
_ROOT: Final = ("{toxinidir}", "{tox_root}")


def read_ini_file(raw: bytes, options: InstallOptions) -> Found:
    """Return the requirements of the environments of a tox.ini."""
    found = Found(installer=Installer(name="tox"))
    for name, settings in read_ini(raw, "tox.ini").items():
        if name == "tox":
            _declare(found, settings.get("requires", "").splitlines(), options, "tox.ini")
        elif name.startswith("testenv"):
            _declare(found, settings.get("deps", "").splitlines(), options, "tox.ini")
            _run(found, [settings.get(key, "") for key in _COMMANDS], options)
    return found


def _run(found: Found, scripts: list[str], options: InstallOptions) -> None:
    """Add what the commands of an environment install; `{…}` is a variable of tox."""
    lines = (line.strip() for script in scripts for line in script.splitlines())
    text = "\n".join(_FACTOR.sub("", line) for line in lines)
    for root in _ROOT:
        text = text.replace(f"{root}/", "").replace(root, ".")
    commands = script_commands(_VARIABLE.sub("$variable", _POSARGS.sub("", text)))
    found.add_installed(installs_of(commands, options, "tox.ini"))


def read_toml_file(raw: bytes, options: InstallOptions) -> Found:
    """Return the requirements of the environments of a tox.toml."""
    found = Found(installer=Installer(name="tox"))
    document = read_toml(raw.decode("utf-8-sig"))
    environments: list[Any] = [
        document.get("env_run_base"),
        document.get("env_pkg_base"),
        *table(document.get("env")).values(),
    ]
    _declare(found, texts(document.get("requires")), options, "tox.toml")
    for environment in environments:
        _declare(found, texts(table(environment).get("deps")), options, "tox.toml")
    add_tasks(found, document, options, "tox.toml")
    return found


def _declare(found: Found, lines: list[str], options: InstallOptions, place: str) -> None:
    for line in lines:
        text = _FACTOR.sub("", line.partition(" #")[0].strip())
        for root in _ROOT:
            text = text.replace(f"{root}/", "").replace(root, ".")
        if not text or text.startswith("#") or (_OTHER.match(text) and not _FILE.match(text)):
            continue  # a constraint installs nothing
        named = _FILE.match(text)
        if "{" in text:
            if not text.startswith("{["):  # another section's, which is read by itself
                found.incomplete.append(f"{place}: {text[:100]!r} depends on a variable of tox")
        elif named is not None:
            declare_files(found, [named[1]], options, place)
        else:
            declare(found, [text], place)
