"""A configuration is read from TOML, and an error names the field and repeats no value."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from schemas.errors import TidewatchError
from schemas.toml_config import ConfigReader


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: str
    file: Path = Path()


class ConfigError(TidewatchError):
    pass


READER = ConfigReader(
    Config,
    what="the thing",
    example="deploy/thing.example.toml",
    error=ConfigError,
    problem=lambda config: "token is empty" if not config.token else None,
)


def test_a_file_is_read_as_the_record(tmp_path):
    path = tmp_path / "thing.toml"
    path.write_text('token = "s3cret"\nfile = "a/b"\n')
    assert READER.load(path) == Config(token="s3cret", file=Path("a/b"))


def test_a_path_may_begin_at_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = READER.read('token = "s3cret"\nfile = "~/a"\n')
    assert config.file == tmp_path / "a"


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        ("token = ", "is not TOML"),
        ('token = "s3cret"\nfile = 5', "file"),
        ('token = ["s3cret"]', "token"),
        ('token = "s3cret"\nother = 1', "other"),
        ('token = ""', "token is empty"),
    ],
)
def test_invalid_field_is_named_without_its_value(raw, what):
    with pytest.raises(ConfigError) as caught:
        READER.read(raw, "thing.toml")
    assert what in caught.value.explain()
    assert "thing.toml" in caught.value.explain()
    assert "s3cret" not in caught.value.explain()


def test_a_file_that_can_not_be_read_is_named(tmp_path):
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    for name, reason in (("none.toml", "No such file"), ("bytes.toml", "not UTF-8")):
        with pytest.raises(ConfigError, match=reason):
            READER.load(tmp_path / name)
