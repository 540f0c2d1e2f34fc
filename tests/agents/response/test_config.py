"""The shipped configuration is valid, and contradictions are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.response.config import ResponderConfigError, load_config, read_config, unmet
from tests.each import each

EXAMPLE = Path(__file__).resolve().parents[3] / "deploy/responder.example.toml"


def test_the_example_is_valid_and_says_what_it_needs() -> None:
    config = load_config(EXAMPLE)
    site = config.tenants["acme"]
    assert all((site.store, site.evidence, site.blocklist, site.mlflow, site.hooks))
    assert any("hooks.revoke.secret_file" in problem for problem in unmet(config))


@each(
    ("change", "said"),
    [
        (("quarantine = ", "quarantyne = "), "quarantyne"),
        (('"/evidence/quarantine"', '"/models/quarantine"'), "must be separate folders"),
        (('folder = "/evidence"', 'folder = "/var/log/model-server/e"'), "capture itself"),
        (('"/var/log/model-server", "/var/cache', '"../logs", "/var/cache'), "absolute"),
        (('topics = "operator"', 'topics = "all"'), "topics"),
        (('name = "responder"', 'name = "a/b"'), "letters, digits"),
        (("attempts = 4", "attempts = 99"), "1 to 10"),
        (("hooks.revoke]", "hooks.destroy]"), "no action 'destroy'"),
        (('"dataset:acme/reviews"', '"acme/reviews"'), "not a component key"),
        (("https://secrets.example", "http://secrets.example"), "plain_http"),
    ],
)
def test_invalid_field_is_named(change: tuple[str, str], said: str) -> None:
    text = EXAMPLE.read_text()
    assert change[0] in text
    with pytest.raises(ResponderConfigError) as error:
        read_config(text.replace(*change))
    assert said in str(error.value)


def test_a_tenants_own_topic_is_for_that_tenant_alone() -> None:
    with pytest.raises(ResponderConfigError, match="that tenant alone"):
        read_config('state_dir = "/s"\ntopics = "tenant"\n[tenants.a]\n[tenants.b]\n')
