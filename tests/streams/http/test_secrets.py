"""Secrets by reference, and the tokens that requests bear."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import TidewatchError
from streams.http.secrets import Tokens, any_equal, bearer_token, read_secrets
from tests.each import each

SECRET = "0123456789abcdef-newest"
OLDER = "0123456789abcdef-older"


def test_a_file_has_the_newest_secret_first_and_the_older_ones_still_hold(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n\n  {OLDER}\n")
    found = read_secrets(f"file:{file}", "x")
    assert found == (SECRET, OLDER)
    assert all(any_equal(secret, found) for secret in found)
    assert not any_equal(OLDER[:-1], found)


def test_a_variable_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", f" {SECRET} ")
    assert read_secrets("env:HOOK", "x") == (SECRET,)


@pytest.mark.parametrize(
    "reference", [SECRET, "env:", "env:UNSET_HERE", "file:/nowhere", "https:x", "short"]
)
def test_invalid_secret_reference_is_refused(reference: str) -> None:
    with pytest.raises(TidewatchError) as caught:
        read_secrets(reference, "endpoints.hub.secret")
    assert "endpoints.hub.secret" in caught.value.explain()
    assert SECRET not in caught.value.explain()


@pytest.mark.parametrize("content", [b"", b"\n", b"short\n", SECRET.encode() + b"\nshort", b"\xff"])
def test_weak_or_ambiguous_secret_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(TidewatchError) as caught:
        read_secrets(f"file:{file}", "x")
    assert "0123" not in caught.value.explain()


@each(
    ("header", "token"),
    [
        (f"Bearer {SECRET}", SECRET),
        (f"bearer  {SECRET} ", SECRET),
        (f"Basic {SECRET}", None),
        (SECRET, None),
        ("Bearer", None),
        ("Bearer ", None),
        (None, None),
        (f"Bearer {'x' * 5000}", None),
    ],
)
def test_the_token_of_a_header(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token


def test_a_token_grants_what_it_was_added_with_and_belongs_to_one() -> None:
    tokens: Tokens[str] = Tokens()
    tokens.add(SECRET, "acme")
    tokens.add(OLDER, "globex")
    assert tokens.grant(f"Bearer {SECRET}") == "acme"
    assert tokens.grant(f"Bearer {OLDER}") == "globex"
    assert tokens.grant(f"Bearer {SECRET}x") is None
    with pytest.raises(TidewatchError, match="the same"):
        tokens.add(OLDER, "acme")
