"""The configuration of the console: what contradicts itself is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.console.config import ConsoleConfig, ConsoleConfigError, load_config, read_config
from streams.console.viewer import Role
from tests.each import each

OIDC = """
[oidc]
issuer = "{issuer}"
client_id = "tidewatch"
client_secret = "file:secret"
roles = {{ {roles} }}
tenants = {{ a = ["acme"] }}
"""
PROVIDER = OIDC.format(issuer="https://id.example", roles='a = "admin"')
EXAMPLE = Path(__file__).parents[3] / "deploy" / "console.example.toml"


def test_the_example_is_valid():
    assert load_config(EXAMPLE).listen.port == 9420


def test_sign_in_through_a_provider_allows_remote_addresses():
    text = (
        'url = "https://console.example"\n[listen]\nhost = "0.0.0.0"\nplain_http = true\n'
        + OIDC.format(issuer="https://id.example", roles='a = "admin"')
    )
    assert read_config(text).oidc.roles == {"a": Role.ADMIN}


def test_configuration_is_optional():
    assert read_config("") == ConsoleConfig()


@each(
    ("text", "what"),
    [
        ('url = "ftp://x"', "url does not begin"),
        ("[index]\nincidents = 0", "index.incidents"),
        ("[session]\nidle_seconds = 0.0", "session.idle_seconds"),
        ("[limits]\nconnections = 0", "limits.connections"),
        ('[listen]\nhost = "0.0.0.0"', "loopback"),
        ("[listen]\ncolour = 1", "colour"),
        ("[[", "not TOML"),
        (OIDC.format(issuer="http://id.example", roles='a = "admin"'), "oidc.issuer is not https"),
        (OIDC.format(issuer="https://id.example", roles=""), "oidc.roles"),
        (OIDC.format(issuer="https://id.example", roles='a = "owner"'), "owner"),
        ('url = "http://console.example"\n' + PROVIDER, "url is not https"),
        ("[listen]\nport = 0\n" + PROVIDER, "oidc needs url"),
    ],
)
def test_inconsistent_configuration_is_refused(text, what):
    with pytest.raises(ConsoleConfigError, match=what):
        read_config(text)
