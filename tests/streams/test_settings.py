"""Settings: environment over file over defaults, and mistakes that explain themselves."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import TidewatchError
from streams.kafka.client import client_options
from streams.settings import Settings, SettingsError, load_settings, operators_trust_roots


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    import os  # noqa: PLC0415

    for name in list(os.environ):
        if name.startswith("TIDEWATCH_"):
            monkeypatch.delenv(name)


def test_environment_wins_over_file_and_arguments_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tidewatch.toml"
    file.write_text('partitions = 6\nkafka = "file:9092"\nprivacy_k = 5\n')
    monkeypatch.setenv("TIDEWATCH_CONFIG", str(file))
    monkeypatch.setenv("TIDEWATCH_KAFKA", "env:9092")
    settings = load_settings(privacy_k=4)
    assert (settings.partitions, settings.kafka, settings.privacy_k) == (6, "env:9092", 4)


def test_an_argument_wins_over_the_same_setting_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIDEWATCH_PARTITIONS", "3")
    monkeypatch.setenv("TIDEWATCH_KAFKA", "environment:9092")
    settings = load_settings(partitions=5)
    assert (settings.partitions, settings.kafka) == (5, "environment:9092")


def test_what_the_environment_says_is_read_as_its_setting_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tidewatch.toml"
    file.write_text('[organisations]\nacme = "group"\nglobex = "globex"\n')
    for name, text in {
        "TIDEWATCH_FETCH_PRIVATE_HOSTS": '["10.0.0.0/8", "hub:8080"]',
        "TIDEWATCH_ORGANISATIONS": '{"globex": "group", "umbra": "umbra"}',
        "TIDEWATCH_BOUND_TOPICS": '{"a.push": {"channel": "registry-push", "tenant": "a"}}',
        "TIDEWATCH_KAFKA_TLS": "yes",
        "tidewatch_partitions": "6",
        "TIDEWATCH_STATE_DIR": "/var/lib/tidewatch",
        # text stays text, also where it looks like a number
        "TIDEWATCH_INSTANCE": "7",
    }.items():
        monkeypatch.setenv(name, text)
    settings = load_settings(file)
    assert settings.fetch_private_hosts == ("10.0.0.0/8", "hub:8080")
    # the entries of a table stand beside those of the file, and win over the same
    assert settings.organisations == {"acme": "group", "globex": "group", "umbra": "umbra"}
    assert settings.bound_topics["a.push"].tenant == "a"
    assert (settings.kafka_tls, settings.partitions, settings.instance) == (True, 6, "7")
    assert settings.state_dir == Path("/var/lib/tidewatch")


@pytest.mark.parametrize("name", ["PARTITIONS", "EMBEDDED_PORT"])
@pytest.mark.parametrize("text", ["", "many", "-1", "9999999"])
def test_a_number_out_of_range_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(f"TIDEWATCH_{name}", text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert f"TIDEWATCH_{name}" in str(caught.value)


def tables_and_lists() -> list[str]:
    """Return the names of settings that are written as JSON, by their schema."""
    shapes = Settings.model_json_schema()["properties"]
    return [name for name, shape in shapes.items() if shape.get("type") in {"array", "object"}]


@pytest.mark.parametrize("name", tables_and_lists())
def test_each_table_and_list_is_read_as_json(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    default = Settings.model_fields[name].get_default(call_default_factory=True)
    empty = "{}" if isinstance(default, dict) else "[]"
    monkeypatch.setenv(f"TIDEWATCH_{name.upper()}", empty)
    assert not getattr(load_settings(), name)
    monkeypatch.setenv(f"TIDEWATCH_{name.upper()}", "no JSON")
    with pytest.raises(SettingsError, match=f"TIDEWATCH_{name.upper()}.*JSON"):
        load_settings()


@pytest.mark.parametrize("name", ["FETCH_PRIVATE_HOSTS", "BOUND_TOPICS", "TRUST_ROOTS"])
def test_a_list_that_is_no_json_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TIDEWATCH_KAFKA", "kafka.example:9092")
    monkeypatch.setenv(f"TIDEWATCH_{name}", "models.acme.example:8443")
    with pytest.raises(SettingsError, match=f"TIDEWATCH_{name}.*JSON") as caught:
        load_settings()
    assert caught.value.exit_code == 2
    assert "models.acme.example" not in str(caught.value.explain())


def test_a_misspelt_variable_names_the_nearest_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEWATCH_PARTITONS", "3")
    with pytest.raises(SettingsError, match="did you mean TIDEWATCH_PARTITIONS") as caught:
        load_settings()
    assert caught.value.exit_code == 2


def test_a_misspelt_key_of_the_file_names_the_nearest_setting(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text("replicaton = 3\n")
    with pytest.raises(SettingsError, match="did you mean replication"):
        load_settings(file)


@pytest.mark.parametrize("text", ["partitions = ", "\xff", "partitions = 'many'", "partitions = 0"])
def test_a_bad_file_is_one_clear_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "t.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError):
        load_settings(file)


def test_the_operators_trust_roots_are_read_by_name(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    signer = "sigstore:builder@acme.example https://accounts.acme.example"
    table = "[trust_roots.{}]\nsigner = '{}'\nnamespaces = ['model:hub/acme/*']\n"
    file.write_text(table.format("b", signer) + table.format("a", f"{signer}/other"))
    roots = operators_trust_roots(load_settings(file))
    assert [root.signer for root in roots] == [f"{signer}/other", signer]
    assert {root.namespaces for root in roots} == {("model:hub/acme/*",)}
    file.write_text(table.format("a", "builder@acme.example"))
    with pytest.raises(SettingsError, match="not a PEM key or certificate"):
        load_settings(file)


def test_an_absent_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read"):
        load_settings(tmp_path / "none.toml")


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEWATCH_KAFKA_PASSWORD", "hunter2")
    monkeypatch.setenv("TIDEWATCH_KAFKA_USERNAME", "tide")
    monkeypatch.setenv("TIDEWATCH_KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
    settings = load_settings(kafka="b:9092")
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.model_dump(mode="json"))
    options = client_options(settings)
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert options["sasl_plain_password"] == "hunter2"
    assert options["security_protocol"] == "SASL_PLAINTEXT"


def test_an_invalid_secret_is_not_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEWATCH_KAFKA_SASL_MECHANISM", "hunter2")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_tls_reaches_the_client(tmp_path: Path) -> None:
    options = client_options(load_settings(kafka="a:1,b:2", kafka_tls=True))
    assert options["bootstrap_servers"] == ["a:1", "b:2"]
    assert options["security_protocol"] == "SSL"
    assert options["ssl_context"].verify_mode is ssl.CERT_REQUIRED
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    with pytest.raises(TidewatchError, match="PEM"):
        client_options(load_settings(kafka="a:1", kafka_ca=broken))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kafka_sasl_mechanism": "PLAIN"}, "KAFKA_USERNAME"),
        ({"kafka_cert": Path("c.pem")}, "both or neither"),
        ({"kafka_ca": Path("/nonexistent/ca.pem")}, "does not exist"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        load_settings(**options)


def test_no_broker_named_is_an_error_with_a_remedy() -> None:
    with pytest.raises(TidewatchError, match="tidewatch up"):
        client_options(load_settings())


@pytest.mark.parametrize(
    "kafka", ["a:b:c", "host:port", ":9092", "host:99999", "a:1,b:x", "::1:9092"]
)
def test_an_address_that_no_client_can_read_is_refused(kafka):
    with pytest.raises(TidewatchError, match="host:port"):
        load_settings(kafka=kafka)


@pytest.mark.parametrize("kafka", ["host", "host:9092", "a:1, b:2", "[::1]:9092", "[::1]"])
def test_addresses_as_clients_read_them_are_taken(kafka):
    assert load_settings(kafka=kafka).kafka == kafka
