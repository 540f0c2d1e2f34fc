"""The whole way over TLS on a real broker, and doors that stay shut with a reason that helps."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import orjson
import pytest

from schemas.channels import Channel
from schemas.cloudevents import write_structured
from schemas.intel import IntelFact, IntelKind
from streams.demo.story_builder import StoryBuilder, package
from tests.e2e.chain import Chain
from tests.e2e.command import BROKEN, said, tidewatch
from tests.e2e.scenario_run import send_facts
from tests.e2e.tls_kafka import TlsKafka

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

SECONDS = 180
BAD = "tensor-thief"
SECRETS = ("of-nobody-else", "opens-the-key")


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    guarded = TlsKafka(tmp_path_factory.mktemp("tls"))
    with guarded.broker:
        yield guarded


def without(settings, *names):
    return {name: value for name, value in settings.items() if name not in names}


def event_file(folder):
    """Return a file with an event that installs what is known to be bad."""
    story = StoryBuilder("tls", datetime.now(UTC), folder)
    file = folder / "event.json"
    file.write_bytes(write_structured(story.install("acme", "host", [package(BAD, "1.0")])))
    return file


@pytest.mark.parametrize("door", ["certified", "known"])
def test_an_event_sent_over_tls_becomes_an_alert_that_is_watched_over_tls(tls, tmp_path, door):
    """`certified` has a client certificate with a locked key, `known` a password."""
    connection = getattr(tls, door)()
    chain = Chain(connection["kafka"], tmp_path, **without(connection, "kafka"))
    send_facts(chain, [IntelFact(key=f"pypi:{BAD}", kind=IntelKind.MALICIOUS, sources=("osv",))])
    file = event_file(tmp_path)
    chain.start()
    try:
        code, text = tidewatch("send", str(file), **chain.options)
        assert code == 0, text
        chain.settle(SECONDS, until=lambda view: view.alerts)
    finally:
        chain.stop()
    code, text = tidewatch(
        *("watch", Channel.ALERTS, "--from-start", "--no-follow", "--format", "json"),
        **chain.options,
    )
    assert code == 0, text
    reported = [orjson.loads(line) for line in text.splitlines()]
    assert BAD in reported[-1]["value"]["finding_info"]["title"]
    assert not any(secret in chain.logs() for secret in SECRETS)


def refused(words, settings, tmp_path):
    """Return the one line that a command says of a door that stays shut."""
    code, text = tidewatch(*words, state_dir=tmp_path, **settings)
    assert code == BROKEN
    (line,) = said(text)
    assert settings["kafka"] in line
    assert not any(secret in text for secret in SECRETS)
    return line


COMMANDS = [("worker",), ("worker", "--agents", "checks"), ("watch", "alerts"), ("topics", "list")]


@pytest.mark.parametrize("words", COMMANDS)
def test_a_broker_of_another_authority_is_refused_and_the_setting_to_mend_named(
    tls, tmp_path, words
):
    settings = {**tls.known(), "kafka_ca": tls.stranger.certificate}
    line = refused(words, settings, tmp_path)
    assert "certificate is refused" in line
    assert "TIDEWATCH_KAFKA_CA" in line


def test_no_event_goes_to_a_broker_of_another_authority(tls, tmp_path):
    file = event_file(tmp_path)
    settings = {**tls.known(), "kafka_ca": tls.stranger.certificate}
    assert "TIDEWATCH_KAFKA_CA" in refused(("send", str(file)), settings, tmp_path)


def test_a_broker_under_a_name_that_is_not_in_its_certificate_is_refused(tls, tmp_path):
    settings = tls.known()
    settings["kafka"] = settings["kafka"].replace("127.0.0.1", "localhost")
    line = refused(("topics", "list"), settings, tmp_path)
    assert re.search(r"certificate is refused .*localhost", line)
    assert "name the broker in TIDEWATCH_KAFKA as its certificate does" in line


def test_an_untrusted_client_certificate_is_named_as_the_cause(tls, tmp_path):
    certificate, key = tls.stranger.issue("client")
    settings = without(tls.certified(), "kafka_key_password")
    line = refused(
        ("topics", "list"), {**settings, "kafka_cert": certificate, "kafka_key": key}, tmp_path
    )
    assert "refuses the client's certificate" in line
    assert "TIDEWATCH_KAFKA_CERT" in line


def test_a_missing_client_certificate_is_named_as_the_cause(tls, tmp_path):
    settings = without(tls.certified(), "kafka_cert", "kafka_key", "kafka_key_password")
    assert "TIDEWATCH_KAFKA_CERT" in refused(("topics", "list"), settings, tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kafka_password": "wrong"}, "TIDEWATCH_KAFKA_PASSWORD"),
        ({"kafka_sasl_mechanism": "SCRAM-SHA-256"}, "TIDEWATCH_KAFKA_SASL_MECHANISM"),
    ],
)
def test_for_an_unknown_user_the_settings_to_check_are_named(tls, tmp_path, change, named):
    assert named in refused(("topics", "list"), {**tls.known(), **change}, tmp_path)


def test_wrong_port_for_tls_is_reported(tls, tmp_path):
    assert "does not speak TLS" in refused(("topics", "list"), {"kafka": tls.mutual}, tmp_path)
    settings = {"kafka": tls.broker.bootstrap, "kafka_tls": True}
    line = refused(("topics", "list"), settings, tmp_path)
    assert "closed the connection of a client that speaks TLS" in line
