"""The operator's rules and secrets of fetching."""

from __future__ import annotations

import pytest

from agents.fetching.errors import RefusedError
from schemas.policy import Policy
from streams.fetch_credentials import (
    credentials_problem,
    open_fetcher,
    read_credentials,
    read_tables,
)
from streams.settings import SettingsError, load_settings


def secrets_file(tmp_path, text):
    path = tmp_path / "secrets.toml"
    path.write_text(text)
    return path


def test_secrets_are_read_by_reference_and_resolved(tmp_path, monkeypatch):
    monkeypatch.setenv("HUB_TOKEN_OF_A", "t1")
    (tmp_path / "key").write_text("k1\n")
    path = secrets_file(
        tmp_path,
        '[secrets."ref:a"]\ntenants = ["tenant-a"]\nhosts = ["h.example"]\n'
        'token = "env:HUB_TOKEN_OF_A"\n'
        f'[secrets."ref:s3"]\ntenants = ["tenant-a"]\nendpoint = "https://s3.example:9000"\n'
        f'access_key = "A"\nsecret_key = "file:{tmp_path}/key"\n',
    )
    found = read_credentials(path)
    assert found["ref:a"].token == "t1"
    assert found["ref:s3"].secret_key == "k1"
    assert found["ref:s3"].hosts == ("s3.example:9000",)
    assert read_credentials(None) == {}


@pytest.mark.parametrize(
    "text",
    ["not toml s3cret", '[secrets."r"]\ntoken = "s3cret"\n', '[secrets."r"]\ntenants = "s3cret"\n',
     '[secrets."r"]\ntenants = ["a"]\ntoken = "env:NOT_SET_ANYWHERE"\n'],
)  # fmt: skip
def test_unreadable_secrets_are_refused_without_quoting_them(tmp_path, text):
    with pytest.raises(SettingsError) as error:
        read_credentials(secrets_file(tmp_path, text))
    assert "s3cret" not in str(error.value)


def test_fetcher_of_a_tenant_reaches_its_roots_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "m").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"y")
    opened = open_fetcher(load_settings())
    with opened(Policy(tenant="tenant-a", roots=((tmp_path / "a").as_uri(),))) as fetcher:
        with fetcher.open((tmp_path / "a" / "m").as_uri()) as source:
            assert source.read(0, 1) == b"x"
        with pytest.raises(RefusedError):
            fetcher.open((tmp_path / "b").as_uri())


def test_a_misspelt_setting_of_a_table_is_refused_with_the_known_names(tmp_path):
    path = secrets_file(tmp_path, '[secrets."r"]\ntenants = ["a"]\ntokn = "s3cret"\n')
    with pytest.raises(SettingsError) as error:
        read_credentials(path)
    assert "r.tokn" in error.value.explain()
    assert "session_token" in error.value.explain()
    assert "s3cret" not in error.value.explain()


def test_a_reference_to_no_table_of_the_tenant_is_said_with_those_that_it_has(tmp_path, capsys):
    text = '[secrets."r"]\ntenants = ["a"]\ntoken = "x"\n[secrets."s"]\ntenants = ["b"]\n'
    known = read_tables(secrets_file(tmp_path, text))
    assert credentials_problem(Policy(tenant="a"), known) is None
    assert credentials_problem(Policy(tenant="a", credentials="r"), known) is None
    for name in ("rr", "s"):
        said = credentials_problem(Policy(tenant="a", credentials=name), known)
        assert f"'{name}'" in said
        assert said.endswith("those for a are: r")
    open_for = open_fetcher(load_settings({}), known)
    for _ in range(2):
        open_for(Policy(tenant="a", credentials="rr"))
    assert capsys.readouterr().out.count("no table of the file of secrets") == 1
