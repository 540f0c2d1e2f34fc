"""A configuration is refused with the field that is wrong, and never repeats a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.notification.config import (
    NotifyConfigError,
    load_config,
    masked,
    read_config,
    unread_files,
    unrouted,
)
from tests.agents.notification.making import CONFIG
from tests.each import each

EXAMPLE = Path(__file__).resolve().parents[3] / "deploy" / "notify.example.toml"

QUIET = '[routes.quiet_hours]\ntime_zone = "{}"\nfrom = "{}"\nuntil = "{}"\n'


@each(
    ("text", "says"),
    [
        (
            CONFIG.replace('["chat"]', '["chatt"]'),
            "send_to names chatt, which is not a destination",
        ),
        (CONFIG.replace('["acme"]', "[]"), "tenants is empty"),
        (CONFIG + 'kinds = ["operator-alert"]', "only a route with tenants"),
        (CONFIG + 'kinds = ["mail"]', "$.routes[0].kinds[0]"),
        (CONFIG + 'colour = "red"', "unknown field `colour`"),
        (CONFIG + QUIET.format("Mars/Olympus", "22:00", "07:00"), "no time zone 'Mars/Olympus'"),
        (CONFIG + QUIET.format("../etc/passwd", "22:00", "07:00"), "no time zone"),
        (CONFIG + QUIET.format("UTC", "25:00", "07:00"), "quiet_hours.from is not a time of day"),
        (CONFIG + QUIET.format("UTC", "07:00", "07:00"), "begin and end at the same time"),
        (CONFIG + QUIET.format("UTC", "00:00", "24:00"), "quiet_hours never end"),
        (
            CONFIG + '[[routes.escalation]]\nafter_seconds = 60\nsend_to = ["phone"]\n' * 2,
            "after_seconds must rise",
        ),
        (
            CONFIG + '[destinations.hook]\nwebhook = "https://soar.example/t0ken"\n',
            "a webhook needs secret_file",
        ),
        (
            CONFIG
            + '[destinations.hook]\nwebhook = "http://soar.example/"\nsecret_file = "/etc/s"\n',
            "not encrypted",
        ),
        (
            CONFIG
            + '[destinations.hook]\nwebhook = "https://soar.example/"\napprise = "json://x"\n',
            "give one of apprise, apprise_file and webhook",
        ),
        ('name = "a|b"\n' + CONFIG, "name may contain"),
        ('incident_url = "https://c.example/{id}"\n' + CONFIG, "incident_url may contain"),
        ('incident_url = "javascript:{incident}"\n' + CONFIG, "incident_url is not an https"),
        ("[retries]\nfirst_seconds = 0\n" + CONFIG, "retries.first_seconds is not above 0"),
        ("routes = 1", "not valid"),
        ("routes = [", "not TOML"),
    ],
)
def test_inconsistent_configuration_is_refused(text, says):
    with pytest.raises(NotifyConfigError) as raised:
        read_config(text, "notify.toml")
    assert says in raised.value.explain()
    assert "t0ken" not in raised.value.explain()


def test_the_example_is_valid_and_sends_everything():
    config = load_config(EXAMPLE)
    assert unrouted(config) == []
    assert unread_files(config)  # the secrets are on another machine


def test_alerts_without_a_receiver_are_named():
    assert len(unrouted(read_config(CONFIG))) == 3


def test_a_destination_is_shown_without_its_token(tmp_path):
    secret = tmp_path / "s"
    text = CONFIG.replace("json://localhost/chat", "slack://T0KEN/B/C") + (
        f'[destinations.hook]\nwebhook = "https://u:T0KEN@h.example/T0KEN?k=T0KEN"\n'
        f'secret_file = "{secret}"\n'
    )
    shown = [masked(destination) for destination in read_config(text).destinations.values()]
    assert shown == ["apprise slack://…", "apprise json://…", "webhook https://h.example/…"]
    assert unread_files(read_config(text)) == [
        f"destinations.hook.secret_file: {secret} can't be read"
    ]
