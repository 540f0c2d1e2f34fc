"""Messages leave as signed webhooks that a receiver's library verifies, and through Apprise."""

from __future__ import annotations

import base64
import email
import email.policy
import logging
import socket
from datetime import UTC, datetime, timedelta

import pytest
import standardwebhooks
from aiosmtpd.controller import Controller

from agents.notification import services, webhook
from agents.notification.config import Destination
from agents.notification.services import ServiceError, open_service
from agents.notification.webhook import WebhookSecretError, load_secrets, seconds_of
from schemas.notifications import Notification, NotificationEvent
from schemas.severity import Severity
from tests.agents.notification.making import NOW
from tests.agents.notification.web import receiving

# Apprise loads modules of the standard library that a later Python leaves out
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(32)).decode()
MESSAGE = Notification(
    id="ntf-1",
    event=NotificationEvent.OPENED,
    at_ms=NOW,
    route="soc",
    severity=Severity.CRITICAL,
    title="[CRITICAL] Malicious payload",
    body="It runs code.\nNext: quarantine it.",
    tenant="acme",
    incident="inc-1",
    status="new",
)


@pytest.fixture
def web():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n{OTHER}\n")
    return path


def hook(web, secret, **more):
    return Destination(webhook=f"http://{web.host}/t0ken", secret_file=secret, **more)


def test_a_webhook_is_verified_by_the_library_of_its_receiver(web, secret):
    assert webhook.post(MESSAGE, hook(web, secret), datetime.now(UTC)).taken
    ((path, headers, body),) = web.got
    assert path == "/t0ken"
    for key in (SECRET, OTHER):
        document = standardwebhooks.Webhook(key).verify(body, headers)
    assert document["type"] == "tidewatch.notification.opened"
    assert document["data"]["incident"] == "inc-1"
    assert headers["webhook-id"] == "ntf-1"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(SECRET).verify(body + b" ", headers)


def test_the_body_is_the_same_at_every_attempt_and_the_timestamp_is_not(web, secret):
    now = datetime.now(UTC)
    webhook.post(MESSAGE, hook(web, secret), now)
    webhook.post(MESSAGE, hook(web, secret), now + timedelta(seconds=5))
    (_, first, one), (_, second, two) = web.got
    assert one == two
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] != second["webhook-timestamp"]


@pytest.mark.parametrize(
    ("status", "headers", "refused", "wait"),
    [
        (500, {}, False, None),
        (503, {"Retry-After": "7"}, False, 7.0),
        (429, {"Retry-After": "120"}, False, 120.0),
        (400, {}, True, None),
        (401, {}, False, None),
        (302, {"Location": "http://127.0.0.1:1/"}, False, None),
    ],
)
def test_refused_message_states_the_reason(web, secret, status, headers, refused, wait):
    web.answer = lambda _: (status, headers)
    outcome = webhook.post(MESSAGE, hook(web, secret), datetime.now(UTC))
    assert not outcome.taken
    assert (outcome.refused, outcome.retry_after) == (refused, wait)
    assert outcome.detail == f"answered {status}"


def test_a_receiver_that_is_silent_or_gone_is_given_up_and_not_named(web, secret):
    web.answer = lambda _: None
    silent = webhook.post(MESSAGE, hook(web, secret, timeout_seconds=0.3), datetime.now(UTC))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = Destination(
            webhook=f"http://127.0.0.1:{taken.getsockname()[1]}/t0ken", secret_file=secret
        )
        gone = webhook.post(MESSAGE, nobody, datetime.now(UTC))
    for outcome in (silent, gone):
        assert not outcome.taken
        assert outcome.detail.startswith("no answer (")
        assert "t0ken" not in outcome.detail


@pytest.mark.parametrize("text", ["", "hunter2", "whsec_", "whsec_c2hvcnQ=", f"{SECRET}\nx"])
def test_a_file_without_a_secret_that_signs_is_refused(tmp_path, text):
    path = tmp_path / "secret"
    path.write_text(text)
    with pytest.raises(WebhookSecretError) as raised:
        load_secrets(path)
    assert "hunter2" not in raised.value.explain()


def test_a_secret_that_is_missing_is_a_failure_to_be_tried_again(web, tmp_path):
    outcome = webhook.post(MESSAGE, hook(web, tmp_path / "none"), datetime.now(UTC))
    assert not outcome.taken
    assert web.got == []


def test_retry_after_is_seconds_or_a_date():
    now = datetime(2026, 11, 29, 20, 0, tzinfo=UTC)
    assert seconds_of("3", now) == 3
    assert seconds_of("Sun, 29 Nov 2026 20:01:00 GMT", now) == 60
    assert seconds_of("Sun, 29 Nov 2026 19:00:00 GMT", now) == 0
    assert seconds_of("9" * 5000, now) == 999_999_999_999
    for text in (None, "", "soon", "-1", "٣"):
        assert seconds_of(text, now) is None


# -- Apprise ---------------------------------------------------------------------------------------


def test_apprise_posts_a_message_as_text(web):
    outcome = services.notify(MESSAGE, Destination(apprise=f"json://{web.host}/"), "chat")
    assert outcome.taken
    (document,) = web.documents()
    assert document["title"] == MESSAGE.title
    assert document["message"] == MESSAGE.body
    assert document["type"] == "failure"


def test_apprise_says_the_status_and_no_token(web, capfd):
    web.answer = lambda _: (500, {})
    url = f"json://user:t0ken@{web.host}/t0ken?+X-Token=t0ken"
    outcome = services.notify(MESSAGE, Destination(apprise=url), "chat")
    assert not outcome.taken
    assert outcome.detail == "answered 500"
    assert "t0ken" not in "".join(capfd.readouterr())
    # its log has them: nothing of that gets to ours
    assert not logging.getLogger("apprise").propagate


def test_apprise_gives_up_a_service_that_is_silent(web):
    web.answer = lambda _: None
    silent = Destination(apprise=f"json://{web.host}/", timeout_seconds=0.3)
    outcome = services.notify(MESSAGE, silent, "chat")
    assert (outcome.taken, outcome.detail) == (False, "no answer")


@pytest.mark.parametrize("url", ["", "nosuch://t0ken", "json://a json://b", "slack://t0ken"])
def test_a_url_that_apprise_does_not_know_is_refused_without_being_shown(tmp_path, url):
    path = tmp_path / "url"
    path.write_text(url)
    with pytest.raises(ServiceError) as raised:
        open_service(Destination(apprise_file=path), "destinations.chat")
    assert "t0ken" not in raised.value.explain()


def test_mail_is_sent_by_smtp():
    class Box:
        def __init__(self):
            self.mails = []

        async def handle_DATA(self, server, session, envelope):  # noqa: N802 -- aiosmtpd's name
            del server, session
            self.mails.append(envelope)
            return "250 taken"

    box = Box()
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        url = f"mailto://127.0.0.1:{port}?from=tidewatch@acme.example&to=soc@acme.example"
        outcome = services.notify(MESSAGE, Destination(apprise=url), "mail")
    finally:
        controller.stop()
    assert outcome.taken
    (mail,) = box.mails
    assert mail.rcpt_tos == ["soc@acme.example"]
    read = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert read["Subject"] == MESSAGE.title
    body = read.get_body(("plain", "html"))
    assert body is not None
    assert "Next: quarantine it." in body.get_content()
