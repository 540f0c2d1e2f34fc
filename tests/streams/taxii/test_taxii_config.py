"""The configuration of the TAXII server: safe where nothing is said, refused where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import TidewatchError
from schemas.severity import Tlp
from streams.cli import main
from streams.taxii.config import PORT, TaxiiConfigError, load_config, read_config, read_tokens
from tests.each import each

READER = '[[readers]]\nname = "isac"\ntoken = "env:TRIAL_TOKEN"\ntlp = "green"\n'


def test_without_more_it_listens_on_this_machine_alone() -> None:
    config = read_config(READER)
    assert (config.listen.host, config.listen.port) == ("127.0.0.1", PORT)
    assert config.readers[0].markings == (Tlp.CLEAR, Tlp.GREEN)
    assert read_config("[listen]\nhost = '::1'\n" + READER).listen.port == PORT


@each(
    ("text", "what"),
    [
        ("readers = []", "there is none"),
        ("", "readers"),
        (READER * 2, "same name"),
        (READER.replace("isac", "a b"), "other characters"),
        (READER.replace("green", "white"), "tlp"),
        ("page = 0\n" + READER, "page"),
        ("objects = 0\n" + READER, "objects"),
        ('url = "ftp://x"\n' + READER, "url"),
        ("pages = 1\n" + READER, "pages"),
        (READER + '[listen]\nhost = "0.0.0.0"\n', "not loopback"),
        (READER + 'tenant = " acme"\n', "tenant"),
        (READER + f'tenant = "{"x" * 2000}"\n', "tenant is too long"),
        ("readers", "not TOML"),
    ],
)
def test_invalid_field_is_named(text: str, what: str) -> None:
    with pytest.raises(TaxiiConfigError, match=what):
        read_config(text)


def test_two_readers_with_one_secret_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAL_TOKEN", "t" * 20)
    read_tokens(read_config(READER))
    with pytest.raises(TidewatchError, match="the same"):
        read_tokens(read_config(READER + READER.replace("isac", "other")))


def test_the_example_is_valid_and_check_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    example = Path(__file__).parents[3] / "deploy" / "taxii.example.toml"
    assert load_config(example).listen.port == PORT
    monkeypatch.delenv("TAXII_ISAC_TOKEN", raising=False)
    assert main(["taxii", "--check", str(example)]) == 2
    assert "TAXII_ISAC_TOKEN" in capsys.readouterr().out
    file = tmp_path / "taxii.toml"
    file.write_text(READER)
    monkeypatch.setenv("TRIAL_TOKEN", "t" * 20)
    assert main(["taxii", "--check", str(file)]) == 0
    assert "isac reads TLP clear, green" in capsys.readouterr().out
    file.write_text(READER + 'tenant = "acme"\n')
    assert main(["taxii", "--check", str(file)]) == 0
    assert "clear, green, of what is shared and of acme" in capsys.readouterr().out
    assert main(["taxii"]) == 2
