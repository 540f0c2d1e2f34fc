"""The configuration of the console: what contradicts itself is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.console.config import ConsoleConfig, ConsoleConfigError, load_config, read_config

EXAMPLE = Path(__file__).parents[3] / "deploy" / "console.example.toml"


def test_the_example_is_valid():
    assert load_config(EXAMPLE).listen.port == 9420


def test_none_is_needed():
    assert read_config("") == ConsoleConfig()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('url = "ftp://x"', "url does not begin"),
        ("[index]\nincidents = 0", "index.incidents"),
        ("[session]\nidle_seconds = 0.0", "session.idle_seconds"),
        ("[limits]\nconnections = 0", "limits.connections"),
        ('[listen]\nhost = "0.0.0.0"', "loopback"),
        ("[listen]\ncolour = 1", "colour"),
        ("[[", "not TOML"),
    ],
)
def test_what_contradicts_itself_is_refused(text, what):
    with pytest.raises(ConsoleConfigError, match=what):
        read_config(text)
