"""Secrets by reference (`env:NAME`, `file:PATH`), and bearer tokens, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Generic, TypeVar

from schemas.errors import TidewatchError

MAX_SECRET: Final = 16 * 1024
MIN_SECRET: Final = 16
"""Shorter secrets can be guessed."""
MAX_TOKEN: Final = 4096

_Grant = TypeVar("_Grant")


def read_secrets(reference: str, where: str) -> tuple[str, ...]:
    """Return the secrets that a reference names, the newest first.

    A file has one a line, so that a new one can be added before the old one goes.

    Args:
        reference: `env:NAME` or `file:PATH`; a secret itself is refused: settings are copied.
        where: The setting, for errors.

    Raises:
        TidewatchError: It can't be read, is empty, or shorter than `MIN_SECRET` characters. The
            value is never repeated.
    """
    kind, colon, rest = reference.partition(":")
    if not colon or kind not in {"env", "file"} or not rest:
        raise TidewatchError(
            "a secret is named by reference", where=where, remedy="write env:NAME or file:PATH"
        )
    if kind == "env":
        text = os.environ.get(rest)
        if text is None:
            raise TidewatchError(f"variable {rest} is not set", where=where, remedy="set it")
        found: tuple[str, ...] = (text.strip(),)
    else:
        try:
            with Path(rest).open("rb") as opened:
                raw = opened.read(MAX_SECRET)
            lines = raw.decode("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise TidewatchError(
                f"file {rest} can't be read ({reason})", where=where, remedy="name a readable file"
            ) from error
        found = tuple(line.strip() for line in lines if line.strip())
    if not found or any(len(secret) < MIN_SECRET for secret in found):
        raise TidewatchError(
            f"the secret is shorter than {MIN_SECRET} characters",
            where=where,
            remedy="make one with: openssl rand -hex 32",
        )
    return found


def equal(given: str, expected: str) -> bool:
    """Return whether two secrets are equal, in time that does not depend on where they differ."""
    return hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass")
    )


def any_equal(given: str, expected: Iterable[str]) -> bool:
    """Return whether one of several secrets is the given one; all of them are compared."""
    found = False
    for secret in expected:
        found |= equal(given, secret)
    return found


def bearer_token(authorization: str | None) -> str | None:
    """Return the token of an Authorization header of the scheme Bearer, None for any other."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and 0 < len(token) <= MAX_TOKEN else None


class Tokens(Generic[_Grant]):
    """Bearer tokens with their grants; kept as digests, looked up without comparison."""

    def __init__(self) -> None:
        """Begin without any."""
        self._grants: dict[bytes, _Grant] = {}

    def add(self, token: str, grant: _Grant, where: str = "") -> None:
        """Add a token.

        Raises:
            TidewatchError: Another has the same: requests would be ambiguous.
        """
        digest = _digest(token)
        if digest in self._grants:
            raise TidewatchError(
                "two tokens are the same", where=where, remedy="make one for each of them"
            )
        self._grants[digest] = grant

    def grant(self, authorization: str | None) -> _Grant | None:
        """Return the grant of the token in an Authorization header, None if it is unknown.

        The lookup is by the token's SHA-256, so its time does not depend on how close a guess is.
        """
        token = bearer_token(authorization)
        return None if token is None else self._grants.get(_digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
