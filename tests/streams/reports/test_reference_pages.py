"""The reference of settings, policies and responders is current and complete."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from agents.notification.config import load_config
from agents.response.config import read_config
from streams.cli.policy import read_policy
from streams.fetch_credentials import read_credentials
from streams.reports import reference_pages
from streams.reports.reference_pages import EXAMPLES, example_of, references
from streams.settings import Settings
from tests.each import each

DOCS = Path(__file__).resolve().parents[3] / "docs" / "reference"
FIELDS = [
    pytest.param(reference.example, field, id=f"{reference.page}:{field.path}")
    for reference in references()
    for field in reference.fields
]


def test_the_pages_are_current() -> None:
    pages = reference_pages.reference_pages()
    assert {path.name for path in DOCS.iterdir()} == set(pages)
    for name, text in pages.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, f"{name}: run make docs"


@each(("example", "field"), FIELDS)
def test_each_field_has_a_meaning_and_an_example(example, field) -> None:
    assert field.meaning, f"{field.path}: write a docstring below the field"
    document = tomllib.loads((EXAMPLES / example).read_text())
    assert example_of(document, field.path) is not None, (
        f"{field.path}: name it in deploy/{example}"
    )


def test_the_example_of_credentials_is_read_with_what_it_refers_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACME_HUB_TOKEN", "ACME_STORE_ID", "ACME_STORE_SESSION"):
        monkeypatch.setenv(name, f"value of {name}")
    (tmp_path / "acme-mlflow").write_text("a password\n")
    (tmp_path / "acme-store").write_text("a key\n")
    text = (EXAMPLES / "fetch-credentials.example.toml").read_text()
    (tmp_path / "file.toml").write_text(text.replace("/etc/tidewatch", str(tmp_path)))
    found = read_credentials(tmp_path / "file.toml")
    assert found["acme-fetch"].token == "value of ACME_HUB_TOKEN"
    assert found["acme-mlflow"].password == "a password"
    assert found["acme-store"].secret_key == "a key"
    policy = read_policy(EXAMPLES / "policy.example.toml")
    assert policy.credentials in found
    assert policy.tenant in found[policy.credentials].tenants


def test_the_examples_are_read_by_what_reads_such_files() -> None:
    assert Settings(**tomllib.loads((EXAMPLES / "tidewatch.example.toml").read_text())).kafka
    assert read_config((EXAMPLES / "responder.example.toml").read_text()).tenants
    assert read_policy(EXAMPLES / "policy.example.toml").tenant
    assert load_config(EXAMPLES / "notify.example.toml").routes


def test_the_settings_are_those_that_are_read() -> None:
    (page,) = [reference for reference in references() if reference.page == "settings.md"]
    assert [field.path for field in page.fields] == list(Settings.model_fields)
    by_name = {field.path: field for field in page.fields}
    assert by_name["partitions"].type == "integer, at least 1 and at most 4,096"
    assert by_name["watchdog_seconds"].unit == "seconds"
    assert by_name["log_level"].default == "info"
