"""The page of each producer: what to paste, and a test that a gateway answers."""

from __future__ import annotations

import html

import pytest

from streams.console.config import ConsoleConfig
from streams.console.viewer import Role, Viewer
from streams.gateway.config import PRODUCERS, Endpoint, read_config
from streams.gateway.delivery import RecordWriter
from streams.gateway.handlers import Gateway
from streams.gateway.pasting import steps
from streams.settings import load_settings
from tests.each import each
from tests.streams.console.routes.test_changes import field
from tests.streams.console.site import ACME, GLOBEX, OPERATOR, site
from tests.streams.console.test_pages import check_page
from tests.streams.gateway.requests import SECRET
from tests.streams.http.serving import serving

APPROVER = Viewer(name="amy@acme.example", role=Role.APPROVER, tenants=("acme",))


@pytest.fixture
def producers(index, tmp_path):
    """A console that knows of a gateway, which runs without a broker."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    text = "".join(
        f'[endpoints.{name}]\ntenant = "{tenant}"\nproducer = "{kind}"\nsecret = "file:{secret}"\n'
        for name, tenant, kind in [
            ("hub", "acme", "huggingface"),
            ("lab", "globex", "mlflow"),
            ("ci", "acme", "cloudevents"),
        ]
    )
    settings = load_settings(kafka="127.0.0.1:1", state_dir=tmp_path)
    gateway = Gateway(settings, read_config(text), RecordWriter(settings, (), 1))
    file = tmp_path / "gateway.toml"
    with serving(gateway.routes()) as server:
        file.write_text(f"[listen]\nport = {server.port}\n{text}")
        with site(index, config=ConsoleConfig(gateway=file)) as made:
            made.gateway_url, made.secret = server.url, secret
            yield made


def tried(browser, name: str):
    return browser.post("/producer", {"csrf": browser.csrf(), "name": name})


def test_a_page_has_the_address_to_paste_and_no_secret(producers):
    text = producers.browser(ACME).get("/producer?name=hub").text
    check_page("/producer", text)
    plain = html.unescape(text).replace("<wbr>", "")
    assert f"{producers.gateway_url}/v1/hooks/hub" in plain
    assert "Webhook URL" in plain
    assert "X-Webhook-Secret" in plain
    assert SECRET not in text


def test_the_button_tries_the_gateway_with_the_endpoints_proof(producers):
    browser = producers.browser(OPERATOR)
    for name in ("hub", "lab", "ci"):
        answer = tried(browser, name)
        assert (answer.status_code, "It works" in answer.text) == (200, True), answer.text
        check_page("/producer", answer.text)
    producers.secret.write_text("another-secret-of-acme")
    answer = tried(browser, "hub")
    assert (answer.status_code, "Answer 401" in answer.text) == (502, True)
    assert "another-secret" not in answer.text
    producers.secret.unlink()
    assert "It does not work" in tried(browser, "hub").text


def test_an_endpoint_of_another_tenant_is_not_there(producers):
    browser = producers.browser(GLOBEX)
    assert ">lab<" in browser.get("/producers").text
    assert "hub" not in browser.get("/producers").text
    for name in ("hub", "nothing", ""):
        assert browser.get(f"/producer?name={name}").status_code == 404
        assert tried(browser, name).status_code == 404


def test_only_an_admin_sees_or_tries_producers(producers):
    browser = producers.browser(APPROVER)
    assert 'href="/producers"' not in browser.get("/").text
    assert browser.get("/producers").status_code == 403
    assert tried(browser, "hub").status_code == 403


def test_a_form_of_another_session_tries_nothing(producers):
    page = producers.browser(OPERATOR).get("/producer?name=hub").text
    fields = {"csrf": field(page, "csrf"), "name": "hub"}
    assert producers.browser(OPERATOR).post("/producer", fields).status_code == 403


@each("producer", PRODUCERS)
def test_each_producer_has_steps_that_fit_how_it_is_proved(producer):
    endpoint = Endpoint(tenant="acme", producer=producer, secret="file:x")
    assert all(step.endswith(".") for step in steps(endpoint))
    path = Endpoint(tenant="acme", producer=producer, proof="path", secret="file:x")
    assert "SECRET" in " ".join(steps(path))
    assert "SECRET" not in " ".join(steps(endpoint))
